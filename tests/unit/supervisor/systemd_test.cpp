#include "daemon/supervisor/machine/systemd.hpp"

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <array>
#include <cstdlib>
#include <string>

#include "daemon/base/unix_address.hpp"
#include "tests/support/temp_directory.hpp"

namespace vramswap {
namespace {

TEST(Systemd, TellsARestartFromAStop) {
  EXPECT_TRUE(lists_restart("1204 vramswap.service restart running\n"));
  EXPECT_TRUE(lists_restart("7 vramswap.service try-restart waiting\n"));
  EXPECT_FALSE(lists_restart("1204 vramswap.service stop running\n"));
  EXPECT_FALSE(lists_restart("No jobs running.\n"));
  EXPECT_FALSE(lists_restart(""));
}

TEST(Systemd, TellsJobsFromNone) {
  EXPECT_TRUE(lists_job("1204 vramswap.service start running\n"));
  EXPECT_FALSE(lists_job("No jobs running.\n"));
  EXPECT_FALSE(lists_job(""));
}

// A service manager of the test's own.
class SystemdStatusTest : public testing::Test {
 protected:
  SystemdStatusTest() {
    const auto address = unix_address(path_, "bind");
    EXPECT_EQ(bind(socket_.get(), as_sockaddr(*address), sizeof *address), 0);
    setenv("NOTIFY_SOCKET", path_.c_str(), 1);
  }
  ~SystemdStatusTest() override { unsetenv("NOTIFY_SOCKET"); }

  // The waiting data, without waiting for more.
  std::string receive() {
    std::array<char, 256> buffer{};
    const ssize_t length = recv(socket_.get(), buffer.data(), buffer.size(), MSG_DONTWAIT);
    return {buffer.data(), length < 0 ? 0 : static_cast<std::size_t>(length)};
  }

  TempDirectory directory_;
  const std::string path_ = directory_ / "notify";
  UniqueFd socket_{::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0)};
  asio::io_context io_;
  Systemd systemd_{io_};
};

TEST_F(SystemdStatusTest, DescribesThePoolInWords) {
  EXPECT_TRUE(systemd_.notify_status("1G of swap on 1 GPU, 1 segment"));
  EXPECT_EQ(receive(), "STATUS=1G of swap on 1 GPU, 1 segment");
}

// It would hang here if it waited.
TEST_F(SystemdStatusTest, AManagerThatReadsNothingIsNotWaitedFor) {
  while (systemd_.notify_status("so it is")) {
  }
  EXPECT_EQ(receive(), "STATUS=so it is");
  EXPECT_TRUE(systemd_.notify_status("so it is"));
}

TEST_F(SystemdStatusTest, WithoutAServiceManagerNothingIsSent) {
  unsetenv("NOTIFY_SOCKET");
  EXPECT_TRUE(systemd_.notify_status("so it is"));
  EXPECT_EQ(receive(), "");
}

}  // namespace
}  // namespace vramswap
