#include "daemon/worker/io/io_thread.hpp"

#include <fcntl.h>
#include <linux/sockios.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <thread>
#include <utility>

#include "daemon/system/hardening.hpp"
#include "daemon/system/log.hpp"

namespace vramswap {
namespace {

// Under mlockall the whole stack is resident, so the 8 MiB default would cost that much a thread.
constexpr std::size_t kStackBytes = 512 << 10;
constexpr std::size_t kMaxConnections = 1024;
constexpr int kMaxEvents = 64;
// How often an unread socket is looked at while READs wait for it: about the time a page takes on
// its way. Nothing else tells: the send buffer is so large that EPOLLOUT is always true.
constexpr timespec kStagingPoll{.tv_sec = 0, .tv_nsec = 50'000};

bool read_empty(int socket) {
  int unread = 0;
  return ioctl(socket, SIOCOUTQ, &unread) == 0 && unread == 0;
}

}  // namespace

// Pointers through a pipe: the thread takes no lock that the control thread could hold.
struct IoThread::Command {
  enum class Kind { add, drop, pause, resume, stop } kind;
  Connection* connection = nullptr;
  const Segment* segment = nullptr;
  std::uint32_t pause = 0;
};

IoThread::IoThread(int report_pipe, IoThreadOptions options)
    : report_pipe_(report_pipe),
      options_(options),
      spin_(std::thread::hardware_concurrency(), options.realtime) {}

Result<std::unique_ptr<IoThread>> IoThread::start(StoreDevice& device, int report_pipe,
                                                  IoThreadOptions options) {
  std::unique_ptr<IoThread> self(new IoThread(report_pipe, options));
  self->device_ = &device;
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return fail_errno("I/O thread", "pipe2", errno);
  self->command_read_ = UniqueFd(ends[0]);
  self->command_write_ = UniqueFd(ends[1]);
  self->answered_ = UniqueFd(eventfd(0, EFD_CLOEXEC));
  if (!self->answered_) return fail_errno("I/O thread", "eventfd", errno);

  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, kStackBytes);
  const int error = pthread_create(&self->thread_, &attributes, entry, self.get());
  pthread_attr_destroy(&attributes);
  if (error != 0) return fail_errno("I/O thread", "pthread_create", error);
  self->started_ = true;
  eventfd_t answers = 0;
  eventfd_read(self->answered_.get(), &answers);
  if (!self->prepared_) return self->prepared_.error();
  return self;
}

IoThread::~IoThread() {
  if (!started_) return;
  if (prepared_) (void)send_command({.kind = Command::Kind::stop});
  pthread_join(thread_, nullptr);
}

Result<void> IoThread::send_command(const Command& command) {
  const ssize_t written = write(command_write_.get(), &command, sizeof command);
  if (written != sizeof command) return fail_errno("I/O thread", "write command", errno);
  return {};
}

Result<void> IoThread::add(std::unique_ptr<Connection> connection) {
  Segment& segment = connection->segment;
  if (!segment.fence) segment.fence.emplace(segment.pages->page_count());
  segment.open_connections.fetch_add(1, std::memory_order_relaxed);
  auto result = send_command({.kind = Command::Kind::add, .connection = connection.get()});
  if (result) {
    (void)connection.release();  // the thread's now
  } else {
    segment.open_connections.fetch_sub(1, std::memory_order_relaxed);
  }
  return result;
}

Result<void> IoThread::drop(const Segment& segment) {
  return send_command({.kind = Command::Kind::drop, .segment = &segment});
}

Result<bool> IoThread::pause(std::chrono::milliseconds limit) {
  const auto deadline = std::chrono::steady_clock::now() + limit;
  const std::uint32_t number = ++last_pause_;
  if (auto result = send_command({.kind = Command::Kind::pause, .pause = number}); !result) {
    return result.error();
  }
  // The number tells this pause's answer from a late one to a pause that was called off.
  while (paused_.load(std::memory_order_acquire) != number) {
    const auto left =
        std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
    pollfd wait{answered_.get(), POLLIN, 0};
    const int ready = left.count() > 0 ? poll(&wait, 1, static_cast<int>(left.count())) : 0;
    if (ready < 0 && errno != EINTR) return fail_errno("I/O thread", "poll", errno);
    if (ready == 0) {
      if (auto result = resume(); !result) return result.error();
      return false;
    }
    eventfd_t answers = 0;
    if (ready > 0) eventfd_read(answered_.get(), &answers);
  }
  return true;
}

Result<void> IoThread::resume() {
  return send_command({.kind = Command::Kind::resume});
}

void* IoThread::entry(void* self_pointer) {
  auto& self = *static_cast<IoThread*>(self_pointer);
  self.prepared_ = self.prepare();
  const bool serves = self.prepared_.has_value();
  eventfd_write(self.answered_.get(), 1);
  if (serves) self.run();
  // The copier's streams belong to this thread's context, so it goes with the thread.
  self.pipeline_.reset();
  self.copier_.reset();
  return nullptr;
}

Result<void> IoThread::prepare() {
  // splice(2) into a socket that the other side has closed raises SIGPIPE.
  pthread_setname_np(pthread_self(), "vramswap-io");
  sigset_t all;
  sigfillset(&all);
  pthread_sigmask(SIG_BLOCK, &all, nullptr);
  if (options_.realtime) {
    if (auto result = make_realtime(); !result) return result;
  }
  auto staging = Staging::create();
  if (!staging) return staging.error();
  staging_ = std::make_unique<Staging>(*std::move(staging));
  auto copier = device_->make_copier(staging_->memory());
  if (!copier) return copier.error();
  copier_ = std::make_unique<WatchdogCopier>(*std::move(copier), copy_timer_);
  auto pipeline = Pipeline::create(*staging_, *copier_, requests_served_, counters_);
  if (!pipeline) return pipeline.error();
  pipeline_ = *std::move(pipeline);
  connections_.reserve(kMaxConnections);
  retired_.reserve(kMaxConnections);
  parked_.reserve(kMaxConnections);

  epoll_ = UniqueFd(epoll_create1(EPOLL_CLOEXEC));
  if (!epoll_) return fail_errno("I/O thread", "epoll_create1", errno);
  epoll_event event{.events = EPOLLIN, .data = {.ptr = nullptr}};
  if (epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, command_read_.get(), &event) != 0) {
    return fail_errno("I/O thread", "epoll_ctl", errno);
  }
  return {};
}

void IoThread::run() {
  epoll_event events[kMaxEvents];
  for (;;) {
    const int count = wait(events);
    bool commands = false;
    for (int i = 0; i < count; ++i) {
      auto* connection = static_cast<Connection*>(events[i].data.ptr);
      if (connection == nullptr) {
        commands = true;
      } else if (connection->parked) {
        // It hung up. resume() finds it so.
      } else if ((events[i].events & (EPOLLHUP | EPOLLRDHUP | EPOLLERR)) != 0) {
        hang_up(*connection);
      } else {
        serve(*connection);
      }
    }
    serve_waiting_reads();
    // Last, because a command may close connections that this round's events point to.
    if (commands && !handle_commands()) return;
    if (pause_ != 0) advance_pause();
  }
}

int IoThread::wait(std::span<epoll_event> events) {
  const auto look = [&](const timespec* timeout) {
    return epoll_pwait2(epoll_.get(), events.data(), static_cast<int>(events.size()), timeout,
                        nullptr);
  };
  if (has_waiting_reads()) return look(&kStagingPoll);
  constexpr timespec kNow{};
  const auto began = AdaptiveSpin::Clock::now();
  const auto spin = spin_.begin(began);
  int count = 0;
  auto now = began;
  while (count == 0 && now - began < spin) {
    count = look(&kNow);
    now = AdaptiveSpin::Clock::now();
  }
  const bool sleeps = count == 0;
  if (sleeps) count = look(nullptr);
  spin_.end(sleeps ? AdaptiveSpin::Clock::now() : now, sleeps);
  return count;
}

bool IoThread::handle_commands() {
  Command command;
  if (read(command_read_.get(), &command, sizeof command) != sizeof command) return false;
  switch (command.kind) {
    case Command::Kind::stop:
      return false;
    case Command::Kind::add: {
      auto& connection =
          *connections_.emplace_back(std::unique_ptr<Connection>(command.connection));
      connection.parked = pause_ != 0;
      if (!watch(connection, EPOLL_CTL_ADD)) {
        log_error(errno_error("connection", "epoll_ctl", errno).message);
        close(connection, ConnectionEnd::broken);
      }
      return true;
    }
    case Command::Kind::drop:
      for (std::size_t i = connections_.size(); i > 0; --i) {
        Connection& connection = *connections_[i - 1];
        if (&connection.segment == command.segment) close(connection, ConnectionEnd::dropped);
      }
      return true;
    case Command::Kind::pause:
      pause_ = command.pause;
      return true;
    case Command::Kind::resume:
      end_pause();
      return true;
  }
  return true;
}

// A parked connection stays in the set, since taking it in again would allocate. Its end, which can
// not be masked, is told once.
bool IoThread::watch(Connection& connection, int operation) {
  const std::uint32_t events = connection.parked ? EPOLLONESHOT : EPOLLIN | EPOLLRDHUP;
  epoll_event event{.events = events, .data = {.ptr = &connection}};
  return epoll_ctl(epoll_.get(), operation, connection.socket.get(), &event) == 0;
}

// Parks whoever is between two messages, and answers once all are.
void IoThread::advance_pause() {
  if (paused_.load(std::memory_order_relaxed) == pause_) return;
  bool all = true;
  for (const auto& connection : connections_) {
    if (!connection->parked && connection->missing_bytes() == 0) {
      connection->parked = true;
      watch(*connection, EPOLL_CTL_MOD);
    }
    all &= connection->parked && connection->waiting_reads.empty();
  }
  if (!all) return;
  parked_.clear();
  for (const auto& connection : connections_) {
    parked_.push_back({connection->segment.id, connection->id, connection->socket.get()});
  }
  paused_.store(pause_, std::memory_order_release);
  eventfd_write(answered_.get(), 1);
}

void IoThread::end_pause() {
  pause_ = 0;
  for (const auto& connection : connections_) {
    if (!std::exchange(connection->parked, false)) continue;
    watch(*connection, EPOLL_CTL_MOD);
  }
}

// While a pause is wanted, not a byte of the next message is taken, or it would have to be waited
// for in turn. Who is between two messages then has been parked.
void IoThread::serve(Connection& connection) {
  if (const auto end = pipeline_->serve(connection, pause_ != 0)) close(connection, *end);
}

bool IoThread::has_waiting_reads() const {
  return std::ranges::any_of(connections_,
                             [](const auto& owned) { return !owned->waiting_reads.empty(); });
}

void IoThread::serve_waiting_reads() {
  if (!has_waiting_reads()) return;
  reclaim_staging();
  for (std::size_t i = connections_.size(); i > 0; --i) {
    Connection& connection = *connections_[i - 1];
    if (connection.waiting_reads.empty()) continue;
    if (const auto end = pipeline_->serve_waiting_reads(connection)) close(connection, *end);
  }
}

// Nothing that is left in the socket is served: the kernel gives up a slow connection and sends its
// requests again over another, so a WRITE found here may be older than what the page holds by now.
void IoThread::hang_up(Connection& connection) {
  const auto area = staging_->receive_area(0);
  const ssize_t left = recv(connection.socket.get(), area.data(), area.size(), MSG_DONTWAIT);
  const bool at_start = !connection.pending && connection.carry_bytes == 0;
  if (at_start && left == transmission::kRequestBytes) {
    const auto last = transmission::decode_request(area.first<transmission::kRequestBytes>());
    if (last && last->command == NBD_CMD_DISC) {
      return close(connection, ConnectionEnd::disconnected);
    }
  }
  close(connection, ConnectionEnd::hung_up);
}

void IoThread::reclaim_staging() {
  for (const auto& connection : connections_) release_read_chunks(*connection, *staging_);
  std::erase_if(retired_, [this](const Retired& retired) {
    if (!read_empty(retired.socket.get())) return false;
    for (const auto& lent : retired.lent) staging_->give_back(lent.chunk);
    return true;
  });
}

void IoThread::close(Connection& connection, ConnectionEnd end) {
  // The other side reads to the end what was sent already, lent pages too, so its chunks are free
  // only then.
  shutdown(connection.socket.get(), SHUT_RDWR);
  epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, connection.socket.get(), nullptr);
  if (!connection.lent.empty()) {
    retired_.push_back({std::move(connection.socket), std::move(connection.lent)});
  }
  Segment& segment = connection.segment;
  const std::uint32_t connection_id = connection.id;
  std::erase_if(connections_, [&](const auto& owned) { return owned.get() == &connection; });
  reclaim_staging();
  const ConnectionReport report{segment.id, connection_id, end};
  // Last use of the segment: the control thread may free it as soon as the count is zero.
  segment.open_connections.fetch_sub(1, std::memory_order_release);
  if (write(report_pipe_, &report, sizeof report) != sizeof report) {
    log_error(errno_error("connection", "write report", errno).message);
  }
}

}  // namespace vramswap
