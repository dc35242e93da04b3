// What the import of a store says when it fails: only evidence makes a store a lost one.
#include "daemon/worker/store/vram_store.hpp"

#include <gtest/gtest.h>
#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>

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

  // An import of what is no VRAM, by a driver that is ordered to fail, ends with the code.
  void expect_import_error(int code, const char* fail = nullptr) {
    SCOPED_TRACE(fail == nullptr ? "all calls work" : fail);
    if (fail != nullptr) setenv("FAKE_CUDA_FAIL", fail, 1);
    test::in_child([&] {
      // A library that is loaded is found by its name afterwards.
      ASSERT_TRUE(load());
      DriverFiles files;
      const auto device = make_vram_device("", files, HostMemory::swappable, directory());
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
    const auto device = make_vram_device("", files, HostMemory::swappable, directory());
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
    const auto device = make_vram_device("", files, HostMemory::swappable, directory());
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
    const auto device = make_vram_device("", kept, HostMemory::swappable, directory());
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
    ASSERT_TRUE(make_vram_device("", files, HostMemory::swappable, directory()));
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
    ASSERT_TRUE(make_vram_device("", files, HostMemory::unswappable, directory()));
    struct statfs about {};
    ASSERT_EQ(fstatfs(files.page_kernel.get(), &about), 0);
    EXPECT_EQ(about.f_type, RAMFS_MAGIC);
  });
}

TEST_F(VramStoreTest, TheComputeModeIsAskedFor) {
  setenv("FAKE_CUDA_COMPUTE_MODE", "3", 1);
  test::in_child([&] {
    ASSERT_TRUE(load());
    DriverFiles files;
    const auto device = make_vram_device("", files, HostMemory::swappable, directory());
    ASSERT_TRUE(device) << device.error().message;
    EXPECT_TRUE((*device)->info().value().is_exclusive);
  });
  setenv("FAKE_CUDA_COMPUTE_MODE", "2", 1);
  test::in_child([&] {
    ASSERT_TRUE(load());
    DriverFiles files;
    const auto device = make_vram_device("", files, HostMemory::swappable, directory());
    ASSERT_FALSE(device);
    EXPECT_NE(device.error().message.find("its compute mode is prohibited"), std::string::npos)
        << device.error().message;
  });
}

}  // namespace
}  // namespace vramswap
