#include "daemon/supervisor/machine/kernel_last_resort.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <charconv>
#include <optional>
#include <string_view>

#include "daemon/base/unique_fd.hpp"
#include "daemon/system/log.hpp"
#include "daemon/system/small_thread.hpp"

namespace vramswap {
namespace {

// What is available varies by less than this while nothing happens.
constexpr std::uint64_t kNoiseBytes = 1 << 20;
// After a kill, what is available is looked at this often within an interval: other programs may
// take the memory of the killed one within milliseconds.
constexpr unsigned kLooks = 1000;

// MemAvailable in bytes, without an allocation: the kernel keeps the buffer of an open file in
// /proc, and read_memory_info() would allocate.
std::optional<std::uint64_t> read_available(int memory_info) {
  char text[2048];
  const ssize_t bytes = pread(memory_info, text, sizeof text, 0);
  if (bytes <= 0) return std::nullopt;
  const std::string_view all(text, static_cast<std::size_t>(bytes));
  constexpr std::string_view kKey = "MemAvailable:";
  const std::size_t key = all.find(kKey);
  if (key == all.npos) return std::nullopt;
  const std::size_t number = all.find_first_not_of(' ', key + kKey.size());
  if (number == all.npos) return std::nullopt;
  std::uint64_t kilobytes = 0;
  const auto parsed = std::from_chars(all.data() + number, all.data() + all.size(), kilobytes);
  if (parsed.ec != std::errc{}) return std::nullopt;
  return kilobytes * 1024;
}

}  // namespace

void KillDecision::observe(std::uint64_t available_bytes) {
  const auto [least, most] = std::minmax(available_bytes, at_last_kill_);
  has_changed_ |= most - least >= kNoiseBytes;
}

bool KillDecision::is_kill_due(std::uint64_t available_bytes) {
  observe(available_bytes);
  if (available_bytes >= needed_bytes_ || !has_changed_) return false;
  at_last_kill_ = available_bytes;
  has_changed_ = false;
  return true;
}

class KernelLastResort::Thread {
 public:
  Thread(const KernelPaths& paths, std::chrono::milliseconds interval)
      : trigger_path_(paths.sysrq_trigger),
        interval_(interval),
        memory_info_(open(paths.memory_info.c_str(), O_RDONLY | O_CLOEXEC)),
        trigger_(open(paths.sysrq_trigger.c_str(), O_WRONLY | O_CLOEXEC)),
        woken_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
    (void)read_available(memory_info_.get());  // the kernel allocates its buffer at the first read
    thread_.emplace([this] { run(); });
  }
  ~Thread() {
    is_over_ = true;
    wake();
    thread_.reset();
  }

  void set_needed(std::uint64_t bytes) {
    needed_bytes_ = bytes;
    wake();
  }

 private:
  void wake() {
    const std::uint64_t one = 1;
    (void)!write(woken_.get(), &one, sizeof one);  // fails only if the count overflows
  }

  void run() {
    // The kernel lets a realtime task run and allocate where others wait.
    const sched_param priority{.sched_priority = 1};
    sched_setscheduler(0, SCHED_RR | SCHED_RESET_ON_FORK, &priority);
    while (!is_over_) {
      const std::uint64_t needed = needed_bytes_;
      if (needed == 0) {
        (void)is_woken_within(std::nullopt);
      } else {
        watch(needed);
      }
    }
  }

  // Until it is woken.
  void watch(std::uint64_t needed) {
    KillDecision decision(needed);
    auto due = std::chrono::steady_clock::now() + interval_;
    for (;;) {
      const auto left = std::max(due - std::chrono::steady_clock::now(),
                                 std::chrono::steady_clock::duration::zero());
      const auto pause = decision.awaits_change() ? std::min(left, interval_ / kLooks) : left;
      if (is_woken_within(pause)) return;
      const auto available = read_available(memory_info_.get());
      if (available) decision.observe(*available);
      if (std::chrono::steady_clock::now() < due) continue;
      due += interval_;
      if (available && decision.is_kill_due(*available)) kill();
    }
  }

  // False: the time is over.
  bool is_woken_within(std::optional<std::chrono::steady_clock::duration> time) {
    pollfd event{woken_.get(), POLLIN, 0};
    timespec timeout{};
    if (time) {
      const auto seconds = std::chrono::floor<std::chrono::seconds>(*time);
      timeout.tv_sec = seconds.count();
      timeout.tv_nsec = std::chrono::nanoseconds(*time - seconds).count();
    }
    if (ppoll(&event, 1, time ? &timeout : nullptr, nullptr) != 1) return false;
    std::uint64_t count = 0;
    (void)!read(woken_.get(), &count, sizeof count);
    return true;
  }

  void kill() {
    if (!trigger_) trigger_ = UniqueFd(open(trigger_path_.c_str(), O_WRONLY | O_CLOEXEC));
    log_error(trigger_ && write(trigger_.get(), "f", 1) == 1
                  ? "no memory for a worker: called the kernel's OOM killer, which could not act"
                  : "no memory for a worker, and the kernel's OOM killer cannot be called");
  }

  const std::string trigger_path_;
  const std::chrono::steady_clock::duration interval_;
  const UniqueFd memory_info_;
  UniqueFd trigger_;
  const UniqueFd woken_;
  std::atomic<std::uint64_t> needed_bytes_ = 0;  // 0: nothing has begun
  std::atomic<bool> is_over_ = false;
  std::optional<SmallThread> thread_;
};

KernelLastResort::KernelLastResort(const KernelPaths& paths, std::chrono::milliseconds interval)
    : thread_(std::make_unique<Thread>(paths, interval)) {}

KernelLastResort::~KernelLastResort() = default;

void KernelLastResort::begin(std::uint64_t needed_bytes) {
  thread_->set_needed(needed_bytes);
}

void KernelLastResort::end() {
  thread_->set_needed(0);
}

}  // namespace vramswap
