// Messages to a journal of the test's own: its stream is stderr, and its socket takes entries.
#include "daemon/system/log.hpp"

#include <gmock/gmock.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <array>
#include <cstdlib>

#include "daemon/base/unique_fd.hpp"
#include "daemon/base/unix_address.hpp"
#include "tests/support/temp_directory.hpp"

namespace vramswap {
namespace {

using testing::EndsWith;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

// The waiting data, without waiting for more.
std::string receive(const UniqueFd& socket) {
  std::array<char, 4096> buffer{};
  const ssize_t length = recv(socket.get(), buffer.data(), buffer.size(), MSG_DONTWAIT);
  return {buffer.data(), length < 0 ? 0 : static_cast<std::size_t>(length)};
}

class LogTest : public testing::Test {
 protected:
  LogTest() {
    std::array<int, 2> ends{};
    socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data());
    stream_ = UniqueFd(ends[0]);
    const UniqueFd theirs(ends[1]);
    real_stderr_ = duplicate(STDERR_FILENO);
    dup2(theirs.get(), STDERR_FILENO);
    struct stat status {};
    fstat(STDERR_FILENO, &status);
    const auto name = std::to_string(status.st_dev) + ':' + std::to_string(status.st_ino);
    setenv("JOURNAL_STREAM", name.c_str(), 1);
  }
  ~LogTest() override {
    dup2(real_stderr_.get(), STDERR_FILENO);
    unsetenv("JOURNAL_STREAM");
    prepare_log(path_);
  }

  void start_journald() {
    journal_ = UniqueFd(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    const auto address = unix_address(path_, "bind");
    ASSERT_EQ(bind(journal_.get(), as_sockaddr(*address), sizeof *address), 0);
  }
  void stop_journald() {
    journal_.reset();
    unlink(path_.c_str());
  }
  std::string entry() { return receive(journal_); }
  std::string line() { return receive(stream_); }

  TempDirectory directory_;
  const std::string path_ = directory_ / "socket";
  UniqueFd stream_;  // the journal's end of stderr
  UniqueFd journal_;
  UniqueFd real_stderr_;
};

const LogFields kFields{.message_id = message_ids::kPagesLost, .device = "/dev/nbd1000"};

TEST_F(LogTest, AMessageWithANumberIsAnEntryOfTheJournalAlone) {
  start_journald();
  prepare_log(path_);
  log_error("pages are lost", kFields);
  const std::string said = entry();
  EXPECT_THAT(said, HasSubstr("MESSAGE_ID=280c75fe9c4b407ca4728efef44b9497\n"));
  EXPECT_THAT(said, HasSubstr("PRIORITY=3\n"));
  EXPECT_THAT(said, HasSubstr("VRAMSWAP_DEVICE=/dev/nbd1000\n"));
  EXPECT_THAT(said, HasSubstr("MESSAGE=pages are lost\n"));
  EXPECT_THAT(line(), IsEmpty());
}

TEST_F(LogTest, AMessageWithoutOneIsALine) {
  start_journald();
  prepare_log(path_);
  log_info("a detail");
  EXPECT_EQ(line(), "<6>vramswapd: a detail\n");
  EXPECT_THAT(entry(), IsEmpty());
}

TEST_F(LogTest, WhereStderrIsNotTheJournalAllAreLines) {
  start_journald();
  setenv("JOURNAL_STREAM", "1:2", 1);
  prepare_log(path_);
  log_error("pages are lost", kFields);
  EXPECT_EQ(line(), "<3>vramswapd: pages are lost\n");
  unsetenv("JOURNAL_STREAM");
  prepare_log(path_);
  log_error("pages are lost", kFields);
  EXPECT_EQ(line(), "<3>vramswapd: pages are lost\n");
  EXPECT_THAT(entry(), IsEmpty());
}

// It would hang here if it waited.
TEST_F(LogTest, AJournaldThatReadsNothingIsNotWaitedFor) {
  start_journald();
  prepare_log(path_);
  int entries = 0;
  while (log_error("pages are lost", kFields), line().empty()) ++entries;
  EXPECT_GT(entries, 0);
  // Nor where it does not read the stream either.
  for (int i = 0; i < 100'000; ++i) log_error("pages are lost", kFields);
  while (!entry().empty()) --entries;
  EXPECT_EQ(entries, 0);
}

TEST_F(LogTest, AnotherJournaldTakesEntriesAgain) {
  start_journald();
  prepare_log(path_);
  stop_journald();
  log_error("pages are lost", kFields);
  EXPECT_EQ(line(), "<3>vramswapd: pages are lost\n");
  start_journald();
  log_error("pages are lost", kFields);
  EXPECT_THAT(entry(), HasSubstr("MESSAGE=pages are lost\n"));
  EXPECT_THAT(line(), IsEmpty());
}

TEST(LogFields, AreALineEach) {
  std::array<char, 1024> buffer{};
  const auto length = write_entry(buffer, 6, "it serves again",
                                  {.message_id = message_ids::kWorkerReplaced,
                                   .device = "/dev/nbd1000",
                                   .segment = 0,
                                   .page = 18'446'744'073'709'551'615U,
                                   .lost_pages = 3,
                                   .store = "NVIDIA H200",
                                   .gpu = "GPU-1",
                                   .worker = 12,
                                   .pause_ms = -9'223'372'036'854'775'807});
  EXPECT_EQ(std::string_view(buffer.data(), length),
            "MESSAGE_ID=bfceb4dd25dd457c99f1ee2d14afbd17\nPRIORITY=6\n"
            "SYSLOG_IDENTIFIER=vramswapd\nVRAMSWAP_DEVICE=/dev/nbd1000\nVRAMSWAP_SEGMENT=0\n"
            "VRAMSWAP_PAGE=18446744073709551615\nVRAMSWAP_LOST_PAGES=3\nVRAMSWAP_PID=12\n"
            "VRAMSWAP_STORE=NVIDIA H200\nVRAMSWAP_GPU=GPU-1\n"
            "VRAMSWAP_PAUSE_MS=-9223372036854775807\nMESSAGE=it serves again\n");
}

// Otherwise a message could bring fields of its own.
TEST(LogFields, OfSeveralLinesAreOne) {
  std::array<char, 1024> buffer{};
  const auto length = write_entry(buffer, 6, "one\nPRIORITY=0", {.store = "a\nb"});
  EXPECT_EQ(std::string_view(buffer.data(), length),
            "PRIORITY=6\nSYSLOG_IDENTIFIER=vramswapd\nVRAMSWAP_STORE=a b\n"
            "MESSAGE=one PRIORITY=0\n");
}

TEST(LogFields, AreCutWhereThereIsNoMoreRoom) {
  const std::string message(100, 'x');
  std::array<char, 256> buffer{};
  const auto entry_of = [&](std::size_t size) {
    const auto length = write_entry(std::span(buffer).first(size), 6, message, {.store = "ram"});
    return std::string(buffer.data(), length);
  };
  for (std::size_t size = 0; size <= buffer.size(); ++size) {
    const std::string entry = entry_of(size);
    ASSERT_LE(entry.size(), size);
    ASSERT_TRUE(entry.empty() || entry.ends_with('\n')) << entry;
    EXPECT_THAT(entry, Not(HasSubstr("\n\n")));
  }
  EXPECT_THAT(entry_of(69), EndsWith("\nVRAMSWAP_STORE=ram\nMESSAGE=xx\n"));
}

}  // namespace
}  // namespace vramswap
