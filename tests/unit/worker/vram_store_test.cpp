// The error of a failed import of a store: only evidence makes a store a lost one.
#include "daemon/worker/store/vram_store.hpp"

#include <gtest/gtest.h>
#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <filesystem>

#include "cuda/vram.hpp"
#include "tests/unit/cuda/fake_cuda_test.hpp"
#include "tests/unit/cuda/processes.hpp"

namespace vramswap {
namespace {

ino_t inode_of(const UniqueFd& fd) {
  struct stat about {};
  return fstat(fd.get(), &about) == 0 ? about.st_ino : 0;
}

class VramStoreTest : public test::FakeCudaTest {
 protected:
  static constexpr std::uint64_t kBytes = 4 << 20;

  // An import of a descriptor that is not VRAM, by a driver that is ordered to fail, ends with the
  // code.
  void expect_import_error(int code, const char* fail = nullptr) {
    SCOPED_TRACE(fail == nullptr ? "all calls work" : fail);
    if (fail != nullptr) setenv("FAKE_CUDA_FAIL", fail, 1);
    test::in_child([&] {
      // A library that is loaded is found by its name afterwards.
      ASSERT_TRUE(load());
      DriverFiles files;
      ContextRoom room;
      const auto device = make_vram_device("", files, HostMemory::swappable, room, directory());
      ASSERT_TRUE(device) << device.error().message;
      UniqueFd gone(memfd_create("gone", MFD_CLOEXEC));
      const auto store = (*device)->import(std::move(gone), kBytes);
      ASSERT_FALSE(store);
      EXPECT_EQ(store.error().code, code) << store.error().message;
    });
  }
};

TEST_F(VramStoreTest, AStoreThatFailsWhileFreshMemoryWorksIsStale) {
  expect_import_error(ESTALE);
}

TEST_F(VramStoreTest, AStoreThatFailsLikeFreshMemoryIsNotStale) {
  expect_import_error(0, "cuMemImportFromShareableHandle=999");
  expect_import_error(0, "cuMemCreate=2");
  expect_import_error(0, "cuMemExportToShareableHandle=999");
  expect_import_error(0, "cuMemMap=999");
}

TEST_F(VramStoreTest, CodesThatPassAreNoEvidence) {
  for (const int code : {2, 46, 304, 700, 709, 801, 802, 803}) {
    const auto fail = "cuMemImportFromShareableHandle=" + std::to_string(code);
    expect_import_error(0, fail.c_str());
  }
}

// Not the driver's word at all.
TEST_F(VramStoreTest, AWrongSizeIsNoEvidence) {
  test::in_child([&] {
    ASSERT_TRUE(load());
    DriverFiles files;
    ContextRoom room;
    const auto device = make_vram_device("", files, HostMemory::swappable, room, directory());
    ASSERT_TRUE(device) << device.error().message;
    const auto store =
        (*device)->import(UniqueFd(memfd_create("gone", MFD_CLOEXEC)), kBytes + 4096);
    ASSERT_FALSE(store);
    EXPECT_EQ(store.error().code, 0);
  });
}

// As by a package manager that has replaced the driver and its compiler.
TEST_F(VramStoreTest, ALaterWorkerLoadsTheFilesOfTheFirst) {
  const auto file = directory() / "libcuda.so.1";
  std::filesystem::copy_file(FAKE_LIBCUDA, file);
  test::SocketPair sockets;
  test::in_child([&] {
    ASSERT_TRUE(load(file.c_str()));
    DriverFiles files;
    ContextRoom room;
    const auto device = make_vram_device("", files, HostMemory::swappable, room, directory());
    ASSERT_TRUE(device) << device.error().message;
    // This one, unless the test program has loaded another one before.
    EXPECT_TRUE(files.path.ends_with("/libcuda.so.1")) << files.path;
    ASSERT_TRUE(files.library);
    ASSERT_TRUE(files.page_kernel);
    test::send_fd(sockets.child(), files.library.get());
    test::send_fd(sockets.child(), files.page_kernel.get());
  });
  DriverFiles kept{.path = file,
                   .library = UniqueFd(test::receive_fd(sockets.parent())),
                   .page_kernel = UniqueFd(test::receive_fd(sockets.parent()))};
  std::filesystem::remove(file);
  setenv("FAKE_CUDA_JIT", "0", 1);
  test::in_child([&] {
    ContextRoom room;
    const auto device = make_vram_device("", kept, HostMemory::swappable, room, directory());
    ASSERT_TRUE(device) << device.error().message;
    EXPECT_TRUE(kept.page_kernel);  // it is still good
    EXPECT_TRUE((*device)->create(kBytes));
  });
}

TEST_F(VramStoreTest, APageKernelThatCannotBeLoadedIsCompiledAgain) {
  test::in_child([&] {
    ASSERT_TRUE(load());
    DriverFiles files;
    files.page_kernel = UniqueFd(memfd_create("garbage", MFD_CLOEXEC));
    const ino_t garbage = inode_of(files.page_kernel);
    ASSERT_EQ(write(files.page_kernel.get(), "garbage", 7), 7);
    ContextRoom room;
    ASSERT_TRUE(make_vram_device("", files, HostMemory::swappable, room, directory()));
    ASSERT_TRUE(files.page_kernel);
    EXPECT_NE(inode_of(files.page_kernel), garbage);
  });
}

// Its pages could be in the very swap that waits for the worker which reads it.
TEST_F(VramStoreTest, ThePageKernelIsInMemoryThatIsNotSwappedOut) {
  if (!create_host_memory("test", 4096, HostMemory::unswappable)) {
    GTEST_SKIP() << "memory that is never swapped out needs CAP_SYS_ADMIN";
  }
  test::in_child([&] {
    ASSERT_TRUE(load());
    DriverFiles files;
    ContextRoom room;
    ASSERT_TRUE(make_vram_device("", files, HostMemory::unswappable, room, directory()));
    struct statfs about {};
    ASSERT_EQ(fstatfs(files.page_kernel.get(), &about), 0);
    EXPECT_EQ(about.f_type, RAMFS_MAGIC);
  });
}

// A card of 512 MiB, of which hardly any is used.
class ContextRoomTest : public VramStoreTest {
 protected:
  static constexpr std::uint64_t kContextBytes = 128 << 20;
  static constexpr std::uint64_t kMarginBytes = 32 << 20;

  ContextRoomTest() {
    setenv("FAKE_CUDA_MEMORY_MIB", "512", 1);
    setenv("FAKE_CUDA_CONTEXT_MIB", "128", 1);
  }
  ~ContextRoomTest() override {
    if (hog_ > 0) kill(hog_, SIGKILL);
    if (hog_ > 0) waitpid(hog_, nullptr, 0);
  }

  // By another program, which goes with the test.
  void fill_card() {
    test::SocketPair sockets;
    hog_ = fork();
    if (hog_ == 0) {
      const auto context = open().value();
      for (std::uint64_t bytes = 32 << 20; bytes >= 2 << 20;) {
        if (!cuda::VramMemory::create_fd(context, bytes)) bytes /= 2;
      }
      if (write(sockets.child(), "f", 1) == 1) pause();
      _exit(1);
    }
    char full = 0;
    ASSERT_EQ(read(sockets.parent(), &full, 1), 1);
  }

  // A reserve whose only holder is the caller that takes it out of reserve_.
  void set_aside() {
    test::in_child([&] {
      ContextRoom room;
      const auto device = make_device(room);
      ASSERT_TRUE(device) << device.error().message;
      const auto reserve = (*device)->set_aside(kContextBytes + kMarginBytes);
      ASSERT_TRUE(reserve) << reserve.error().message;
      test::send_fd(reserve_.child(), reserve->get());
    });
  }

  // Makes a device with that reserve, which must be given up or not.
  void expect_given_up(bool expected) {
    test::in_child([&] {
      bool is_given_up = false;
      ContextRoom room{.context_bytes = kContextBytes,
                       .reserve = UniqueFd(test::receive_fd(reserve_.parent())),
                       .on_given_up = [&] { is_given_up = true; }};
      const auto device = make_device(room);
      ASSERT_TRUE(device) << device.error().message;
      EXPECT_EQ(is_given_up, expected);
      EXPECT_NE(static_cast<bool>(room.reserve), expected);
    });
  }

  Result<std::unique_ptr<StoreDevice>> make_device(ContextRoom& room) {
    EXPECT_TRUE(load());
    DriverFiles files;
    return make_vram_device("", files, HostMemory::swappable, room, directory());
  }

 private:
  pid_t hog_ = 0;
  test::SocketPair reserve_;
};

TEST_F(ContextRoomTest, TheSizeOfAContextIsMeasured) {
  test::in_child([&] {
    ContextRoom room;
    const auto device = make_device(room);
    ASSERT_TRUE(device) << device.error().message;
    const auto info = (*device)->info();
    ASSERT_TRUE(info);
    EXPECT_EQ(info->context_bytes, kContextBytes + kMarginBytes);
    EXPECT_EQ(room.context_bytes, info->context_bytes);
  });
}

TEST_F(ContextRoomTest, AContextThatTakesNothingNeedsNone) {
  setenv("FAKE_CUDA_CONTEXT_MIB", "0", 1);
  test::in_child([&] {
    ContextRoom room;
    const auto device = make_device(room);
    ASSERT_TRUE(device) << device.error().message;
    EXPECT_EQ((*device)->info().value().context_bytes, 0U);
  });
}

// Such as by other programs that freed memory at that moment.
TEST_F(ContextRoomTest, AnImplausibleMeasurementIsNotBelieved) {
  setenv("FAKE_CUDA_CONTEXT_MIB", "64", 1);
  test::in_child([&] {
    ContextRoom room;
    const auto device = make_device(room);
    ASSERT_TRUE(device) << device.error().message;
    EXPECT_EQ((*device)->info().value().context_bytes, 608U << 20);
  });
}

TEST_F(ContextRoomTest, AnEarlierWorkersMeasurementIsNotRepeated) {
  test::in_child([&] {
    ContextRoom room;
    room.context_bytes = 10 << 20;
    const auto device = make_device(room);
    ASSERT_TRUE(device) << device.error().message;
    EXPECT_EQ((*device)->info().value().context_bytes, 10U << 20);
  });
}

TEST_F(ContextRoomTest, AFullCardRefusesAContext) {
  fill_card();
  test::in_child([&] {
    ContextRoom none;
    none.context_bytes = kContextBytes;
    const auto device = make_device(none);
    ASSERT_FALSE(device);
    EXPECT_NE(device.error().message.find("OUT_OF_MEMORY"), std::string::npos)
        << device.error().message;
  });
}

TEST_F(ContextRoomTest, AFullCardHasRoomWhereTheReserveWas) {
  set_aside();
  fill_card();
  expect_given_up(true);
}

TEST_F(ContextRoomTest, WhereThereIsRoomTheReserveIsKept) {
  set_aside();
  expect_given_up(false);
}

TEST_F(VramStoreTest, TheComputeModeIsAskedFor) {
  setenv("FAKE_CUDA_COMPUTE_MODE", "3", 1);
  test::in_child([&] {
    ASSERT_TRUE(load());
    DriverFiles files;
    ContextRoom room;
    const auto device = make_vram_device("", files, HostMemory::swappable, room, directory());
    ASSERT_TRUE(device) << device.error().message;
    EXPECT_TRUE((*device)->info().value().is_exclusive);
  });
  setenv("FAKE_CUDA_COMPUTE_MODE", "2", 1);
  test::in_child([&] {
    ASSERT_TRUE(load());
    DriverFiles files;
    ContextRoom room;
    const auto device = make_vram_device("", files, HostMemory::swappable, room, directory());
    ASSERT_FALSE(device);
    EXPECT_NE(device.error().message.find("its compute mode is prohibited"), std::string::npos)
        << device.error().message;
  });
}

}  // namespace
}  // namespace vramswap
