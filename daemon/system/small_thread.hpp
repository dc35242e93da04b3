// A thread beside those that serve, such as for a call that may wait in the kernel.
#pragma once

#include <pthread.h>

#include <functional>

namespace vramswap {

// Its stack is small, because the process is locked in memory. It receives no signals, so that the
// thread that made it handles them all. It is marked IO_FLUSHER before the constructor returns,
// where the process has the privilege: supervisor and worker check that of all their threads.
class SmallThread {
 public:
  // Throws std::system_error if there is no thread to be had.
  explicit SmallThread(std::function<void()> body);
  SmallThread(const SmallThread&) = delete;
  // Waits for the end of `body`.
  ~SmallThread();

 private:
  pthread_t thread_{};
};

}  // namespace vramswap
