// The files of the CUDA driver, from the first worker to the later ones.
#include <fcntl.h>
#include <sys/stat.h>

#include <filesystem>

#include "tests/support/temp_directory.hpp"
#include "tests/unit/supervisor/pool_fixture.hpp"

namespace vramswap {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

class PoolDriverTest : public PoolTest {
 protected:
  PoolDriverTest() { install("the first"); }

  // Puts another file there, as a package manager does.
  void install(const std::string& text) {
    std::filesystem::rename(directory_.write("new", text), path());
    machine_.launcher.driver_path = path();
  }
  std::string path() const { return directory_ / "libcuda.so.1"; }

  Result<void> up_vram() {
    auto wanted = request(1);
    wanted.backend = control::Backend::vram;
    return machine_.run(pool_->up(wanted));
  }
  // The content of the driver that the latest worker was given.
  std::string given() {
    const auto& fds = machine_.launcher.latest().start_fds;
    if (fds.empty()) return "";
    char text[100] = {};
    return pread(fds.front().get(), text, sizeof text - 1, 0) < 0 ? "?" : text;
  }
  const messages::Start& start() { return machine_.launcher.latest().start; }
  bool is_kept() const { return machine_.service_manager.fdstore.contains("libcuda-0"); }

  TempDirectory directory_;
};

TEST_F(PoolDriverTest, TheNextWorkerLoadsTheFilesOfTheFirst) {
  ASSERT_TRUE(up_vram());
  EXPECT_THAT(machine_.launcher.latest().start_fds, IsEmpty());
  EXPECT_EQ(start().driver_path, "");
  install("the second");
  for (int i = 0; i < 2; ++i) {
    kill_worker();
    recover();
    EXPECT_EQ(given(), "the first");
    EXPECT_EQ(start().driver_path, path());
    EXPECT_FALSE(start().has_page_kernel);
  }
}

TEST_F(PoolDriverTest, ThePageKernelGoesWithIt) {
  machine_.launcher.has_page_kernel = true;
  ASSERT_TRUE(up_vram());
  EXPECT_TRUE(machine_.service_manager.fdstore.contains("cubin-0"));
  kill_worker();
  recover();
  EXPECT_TRUE(start().has_page_kernel);
  EXPECT_THAT(machine_.launcher.latest().start_fds, SizeIs(2));
}

// The kernel module may be a new one, too, which wants the new driver.
TEST_F(PoolDriverTest, ADriverThatDoesNotStartIsLookedForByItsName) {
  ASSERT_TRUE(up_vram());
  install("the second");
  machine_.launcher.fails_with_kept_driver = true;
  kill_worker();
  recover();
  EXPECT_NE(worker_status().state, "dead");
  EXPECT_EQ(given(), "");
  machine_.launcher.fails_with_kept_driver = false;
  kill_worker();
  recover();
  EXPECT_EQ(given(), "the second");
}

TEST_F(PoolDriverTest, StatusSaysThatTheDriverOnDiskIsAnotherOne) {
  ASSERT_TRUE(up_vram());
  EXPECT_THAT(worker_status().notes, IsEmpty());
  install("the second");
  ASSERT_THAT(worker_status().notes, SizeIs(1));
  EXPECT_THAT(worker_status().notes[0], HasSubstr("the driver on disk is not the one that runs"));
  std::filesystem::remove(path());
  EXPECT_THAT(worker_status().notes, SizeIs(1));
}

TEST_F(PoolDriverTest, TheServiceManagerKeepsItForTheNextSupervisor) {
  ASSERT_TRUE(up_vram());
  EXPECT_TRUE(is_kept());
  end_supervisor();
  kill_worker();
  install("the second");
  begin_supervisor();
  ASSERT_TRUE(adopt(machine_.service_manager.receive_fdstore()));
  recover();
  EXPECT_EQ(given(), "the first");
  EXPECT_THAT(worker_status().notes, SizeIs(1));
  EXPECT_TRUE(is_kept());
  ASSERT_TRUE(down());
  expect_nothing_left();
}

// Without a service manager the worker has it.
TEST_F(PoolDriverTest, AnAdoptedWorkerSharesIt) {
  ASSERT_TRUE(up_vram());
  end_supervisor();
  machine_.service_manager.fdstore.clear();
  install("the second");
  begin_supervisor();
  ASSERT_TRUE(adopt());
  kill_worker();
  recover();
  EXPECT_EQ(given(), "the first");
}

TEST_F(PoolDriverTest, TheNextProgramInheritsIt) {
  ASSERT_TRUE(up_vram());
  const auto fds = pool_->handover_fds();
  ASSERT_TRUE(fds);
  EXPECT_TRUE(fds->contains("libcuda-0"));
}

TEST_F(PoolDriverTest, HostMemoryNeedsNone) {
  ASSERT_TRUE(up(1));
  EXPECT_FALSE(is_kept());
}

TEST_F(PoolDriverTest, StatusSaysWhyAWorkerDoesNotDoze) {
  machine_.launcher.is_exclusive = true;
  ASSERT_TRUE(up_vram());
  ASSERT_THAT(worker_status().notes, SizeIs(1));
  EXPECT_THAT(worker_status().notes[0], HasSubstr("does not doze"));
}

}  // namespace
}  // namespace vramswap
