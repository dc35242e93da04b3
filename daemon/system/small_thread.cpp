#include "daemon/system/small_thread.hpp"

#include <signal.h>
#include <unistd.h>

#include <semaphore>
#include <system_error>

#include "daemon/system/hardening.hpp"

namespace vramswap {
namespace {

constexpr std::size_t kStackBytes = 64 << 10;

struct Start {
  std::function<void()> body;
  std::binary_semaphore is_marked{0};
};

void* run(void* argument) {
  auto* start = static_cast<Start*>(argument);
  set_io_flusher();
  const auto body = std::move(start->body);
  start->is_marked.release();  // `start` may be gone from here on
  body();
  return nullptr;
}

}  // namespace

SmallThread::SmallThread(std::function<void()> body) {
  Start start{.body = std::move(body)};
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  const auto smallest = static_cast<std::size_t>(sysconf(_SC_THREAD_STACK_MIN));
  pthread_attr_setstacksize(&attributes, kStackBytes + smallest);
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  const int error = pthread_create(&thread_, &attributes, run, &start);
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  pthread_attr_destroy(&attributes);
  if (error != 0) throw std::system_error(error, std::generic_category(), "pthread_create");
  start.is_marked.acquire();
}

SmallThread::~SmallThread() {
  pthread_join(thread_, nullptr);
}

}  // namespace vramswap
