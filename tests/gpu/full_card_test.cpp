// Workers on a card that another program has filled: a dead one is replaced, and one that dozes
// wakes up, since room for a context is set aside.
#include <fcntl.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <optional>
#include <stdexcept>

#include "tests/gpu/test_gpu.hpp"

namespace vramswap::load {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::seconds;

constexpr seconds kStateLimit{30};
const std::uint64_t kPages = segment_bytes() / sizeof(Page);

// The program card_hog, until the end of this object.
class CardHog {
 public:
  // Returns when there is nothing left on the card.
  CardHog() {
    const std::string path =
        std::filesystem::read_symlink("/proc/self/exe").parent_path() / "card_hog";
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) throw std::runtime_error("pipe2");
    output_ = UniqueFd(ends[0]);
    UniqueFd write_end(ends[1]);
    pid_ = fork();
    if (pid_ == 0) {
      dup2(write_end.get(), STDOUT_FILENO);
      execl(path.c_str(), path.c_str(), nullptr);
      _exit(1);
    }
    write_end.reset();
    wait_until_full();
  }
  ~CardHog() {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
  CardHog(const CardHog&) = delete;

  void take_what_is_free() {
    kill(pid_, SIGUSR1);
    wait_until_full();
  }

 private:
  void wait_until_full() {
    char line[5];
    if (read(output_.get(), line, sizeof line) != sizeof line) {
      throw std::runtime_error("card_hog cannot fill the card");
    }
  }

  UniqueFd output_;
  pid_t pid_ = -1;
};

class FullCard : public testing::Test {
 protected:
  void SetUp() override {
    auto gpu = find_gpu();
    ASSERT_TRUE(gpu) << gpu.error().message;
    segment_ = std::make_unique<TestSegment>(gpu->uuid);
    segment_->start_worker(seconds(1));
    if (segment_->context_bytes() == 0) GTEST_SKIP() << "a context takes no memory there";
    ASSERT_TRUE(segment_->write_everything());
  }

  void fill_card() { hog_.emplace(); }

  int socket() const { return segment_->sockets().front(); }

  void read_page(std::uint64_t page) {
    ASSERT_TRUE(send_header(socket(), {.offset = page * sizeof(Page), .length = sizeof(Page)}));
    // As a supervisor, which hears that the reserve is given up.
    ASSERT_TRUE(segment_->worker().wait_for_state(WorkerState::serving, kStateLimit));
    const auto reply = receive_reply(socket());
    ASSERT_TRUE(reply && reply->error == 0);
    Page content;
    ASSERT_TRUE(receive_page(socket(), content));
    EXPECT_EQ(count_wrong_words(content, page, 1), 0U) << "page " << page;
  }

  void read_everything() {
    for (std::uint64_t page = 0; page < kPages; ++page) ASSERT_NO_FATAL_FAILURE(read_page(page));
  }

  void doze() { ASSERT_TRUE(segment_->worker().wait_for_state(WorkerState::dozing, kStateLimit)); }

  double first_read_ms(Clock::time_point since) {
    read_page(next_page_ = (next_page_ + 7919) % kPages);
    return std::chrono::duration<double, std::milli>(Clock::now() - since).count();
  }

  std::unique_ptr<TestSegment> segment_;
  std::optional<CardHog> hog_;
  std::uint64_t next_page_ = 0;
};

TEST_F(FullCard, WorkersComeBack) {
  fill_card();
  const auto rounds = number_from_environment("VRAMSWAP_RECOVERY_ROUNDS", 20) / 2;
  std::vector<double> restart_ms;
  std::vector<double> wake_ms;
  for (std::uint64_t round = 0; round < std::min<std::uint64_t>(rounds, 20); ++round) {
    auto since = Clock::now();
    segment_->worker().kill();
    segment_->start_worker(seconds(1));
    restart_ms.push_back(first_read_ms(since));
    ASSERT_NO_FATAL_FAILURE(doze());
    since = Clock::now();
    wake_ms.push_back(first_read_ms(since));
  }
  read_everything();
  say(fmt::format("full_card context_mib={} rounds={} restart_ms {} wake_ms {}",
                  segment_->context_bytes() >> 20, rounds, p50_and_max(restart_ms),
                  p50_and_max(wake_ms)));
}

// Then the reserve is all that is left for the context.
TEST_F(FullCard, AnotherProgramTakesWhatADozeFrees) {
  fill_card();
  ASSERT_NO_FATAL_FAILURE(doze());
  ASSERT_TRUE(segment_->worker().context_reserve);
  hog_->take_what_is_free();
  const auto since = Clock::now();
  say(fmt::format("full_card wake by the reserve: {:.1f} ms", first_read_ms(since)));
  EXPECT_FALSE(segment_->worker().context_reserve);
  // It does not doze again: it could not come back.
  EXPECT_FALSE(segment_->worker().wait_for_state(WorkerState::dozing, seconds(4)));
  read_everything();
  // Until there is room for another reserve.
  hog_.reset();
  ASSERT_NO_FATAL_FAILURE(doze());
  EXPECT_TRUE(segment_->worker().context_reserve);
  read_everything();
}

}  // namespace
}  // namespace vramswap::load
