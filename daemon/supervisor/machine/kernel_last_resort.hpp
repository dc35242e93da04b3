// The last resort of the running kernel: a thread of its own writes "f" to sysrq-trigger.
#pragma once

#include <chrono>
#include <memory>

#include "daemon/supervisor/machine/kernel_paths.hpp"
#include "daemon/supervisor/machine/last_resort.hpp"

namespace vramswap {

// Decides when the OOM killer is called.
class KillDecision {
 public:
  explicit KillDecision(std::uint64_t needed_bytes) : needed_bytes_(needed_bytes) {}

  // Notes what is available, between two kills.
  void observe(std::uint64_t available_bytes);
  // Whether a kill has changed nothing yet.
  bool awaits_change() const { return !has_changed_; }
  // Another interval has passed. True: the OOM killer is to be called now.
  bool is_kill_due(std::uint64_t available_bytes);

 private:
  const std::uint64_t needed_bytes_;
  std::uint64_t at_last_kill_ = 0;
  // Also before the first kill. A kill that changes nothing is not worth a second process.
  bool has_changed_ = true;
};

class KernelLastResort : public LastResort {
 public:
  // All that the thread needs is made here: it allocates nothing afterwards. The thread is a
  // realtime one where the process may have one.
  explicit KernelLastResort(const KernelPaths& paths,
                            std::chrono::milliseconds interval = std::chrono::seconds(10));
  ~KernelLastResort() override;

  void begin(std::uint64_t needed_bytes) override;
  void end() override;

 private:
  class Thread;
  const std::unique_ptr<Thread> thread_;
};

}  // namespace vramswap
