#include "daemon/worker/io/io_thread.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>

#include <cerrno>
#include <csignal>
#include <utility>

#include "daemon/system/hardening.hpp"

namespace vramswap {
namespace {

// mlockall makes the whole stack resident, so the default of 8 MiB would cost that much per thread.
constexpr std::size_t kStackBytes = 512 << 10;

Result<void> prepare_thread(bool realtime) {
  pthread_setname_np(pthread_self(), "vramswap-io");
  // splice(2) into a socket that the peer has closed raises SIGPIPE.
  sigset_t all;
  sigfillset(&all);
  pthread_sigmask(SIG_BLOCK, &all, nullptr);
  return realtime ? make_realtime("I/O thread") : Result<void>{};
}

}  // namespace

Result<std::unique_ptr<IoThread>> IoThread::start(StoreDevices devices, int report_pipe,
                                                  IoThreadOptions options) {
  std::unique_ptr<IoThread> self(new IoThread(devices, options));
  IoThreadLink& link = self->link_;
  link.report_pipe = report_pipe;
  link.copy_notes = options.copy_notes;
  link.number = options.number;
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return fail_errno("I/O thread", "pipe2", errno);
  link.command_read = UniqueFd(ends[0]);
  link.command_write = UniqueFd(ends[1]);
  link.answered = UniqueFd(eventfd(0, EFD_CLOEXEC));
  if (!link.answered) return fail_errno("I/O thread", "eventfd", errno);

  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, kStackBytes);
  const int error = pthread_create(&self->thread_, &attributes, entry, self.get());
  pthread_attr_destroy(&attributes);
  if (error != 0) return fail_errno("I/O thread", "pthread_create", error);
  self->started_ = true;
  eventfd_t answers = 0;
  eventfd_read(link.answered.get(), &answers);
  if (!self->prepared_) return self->prepared_.error();
  return self;
}

IoThread::~IoThread() {
  if (!started_) return;
  if (prepared_) (void)send_command({.kind = IoCommand::Kind::stop});
  pthread_join(thread_, nullptr);
}

Result<void> IoThread::send_command(const IoCommand& command) {
  const ssize_t written = write(link_.command_write.get(), &command, sizeof command);
  if (written != sizeof command) return fail_errno("I/O thread", "write command", errno);
  return {};
}

Result<void> IoThread::add(std::unique_ptr<Connection> connection) {
  ServedSegment& segment = connection->segment;
  if (!segment.fence) segment.fence.emplace(segment.pages->page_count());
  segment.open_connections.fetch_add(1, std::memory_order_relaxed);
  auto result = send_command({.kind = IoCommand::Kind::add, .connection = connection.get()});
  if (result) {
    (void)connection.release();  // the I/O thread owns it now
  } else {
    segment.open_connections.fetch_sub(1, std::memory_order_relaxed);
  }
  return result;
}

Result<void> IoThread::drop(const ServedSegment& segment) {
  return send_command({.kind = IoCommand::Kind::drop, .segment = &segment});
}

Result<bool> IoThread::pause(std::chrono::milliseconds limit) {
  const auto deadline = std::chrono::steady_clock::now() + limit;
  const std::uint32_t number = ++last_pause_;
  if (auto result = send_command({.kind = IoCommand::Kind::pause, .pause = number}); !result) {
    return result.error();
  }
  // The number tells the answer to this pause from a late answer to an earlier, cancelled one.
  while (link_.paused.load(std::memory_order_acquire) != number) {
    const auto left =
        std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
    pollfd wait{link_.answered.get(), POLLIN, 0};
    const int ready = left.count() > 0 ? poll(&wait, 1, static_cast<int>(left.count())) : 0;
    if (ready < 0 && errno != EINTR) return fail_errno("I/O thread", "poll", errno);
    if (ready == 0) {
      if (auto result = resume(); !result) return result.error();
      return false;
    }
    eventfd_t answers = 0;
    if (ready > 0) eventfd_read(link_.answered.get(), &answers);
  }
  return true;
}

Result<void> IoThread::resume() {
  return send_command({.kind = IoCommand::Kind::resume});
}

void* IoThread::entry(void* self_pointer) {
  auto& self = *static_cast<IoThread*>(self_pointer);
  std::unique_ptr<IoLoop> loop;
  self.prepared_ = prepare_thread(self.options_.realtime);
  if (self.prepared_) {
    auto created = IoLoop::create(self.devices_, self.link_, self.options_.realtime);
    if (created) {
      loop = *std::move(created);
    } else {
      self.prepared_ = created.error();
    }
  }
  eventfd_write(self.link_.answered.get(), 1);
  if (loop) loop->run();
  return nullptr;
}

}  // namespace vramswap
