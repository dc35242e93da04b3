#include "daemon/worker/io/io_loop.hpp"

#include <linux/sockios.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "daemon/system/cpu.hpp"
#include "daemon/system/log.hpp"
#include "daemon/worker/store/noting_copier.hpp"

namespace vramswap {
namespace {

constexpr std::size_t kMaxConnections = 1024;
constexpr int kMaxEvents = 64;
// How often to check whether the peer has read its socket while READs wait for staging memory:
// about the transfer time of a page. No event reports it, because the send buffer is so large that
// EPOLLOUT is always true.
constexpr timespec kStagingPoll{.tv_sec = 0, .tv_nsec = 50'000};
constexpr timespec kNow{};

bool peer_has_read_all(int socket) {
  int unread = 0;
  return ioctl(socket, SIOCOUTQ, &unread) == 0 && unread == 0;
}

}  // namespace

IoLoop::IoLoop(IoThreadLink& link, bool realtime)
    : link_(link), spin_(count_allowed_cpus(), realtime) {}

Result<std::unique_ptr<IoLoop>> IoLoop::create(const StoreDevices& devices, IoThreadLink& link,
                                               bool realtime) {
  std::unique_ptr<IoLoop> loop(new IoLoop(link, realtime));
  if (auto result = loop->prepare(devices); !result) return result.error();
  return loop;
}

// Only one of a thread's copiers is in use at a time, so they share the timer and the notes.
Result<std::unique_ptr<Copier>> IoLoop::make_copier(StoreDevice& device) {
  auto made = device.make_copier(staging_->memory());
  if (!made) return made.error();
  auto copier = *std::move(made);
  if (link_.copy_notes != nullptr) {
    copier = std::make_unique<NotingCopier>(std::move(copier), *link_.copy_notes, link_.number);
  }
  return std::make_unique<WatchdogCopier>(std::move(copier), link_.copy_timer);
}

Result<void> IoLoop::prepare(const StoreDevices& devices) {
  auto staging = Staging::create();
  if (!staging) return staging.error();
  staging_ = std::make_unique<Staging>(*std::move(staging));
  for (const StorePlace place : {StorePlace::card, StorePlace::host}) {
    StoreDevice* device = devices.at(place);
    if (device == nullptr) continue;
    auto copier = make_copier(*device);
    if (!copier) return copier.error();
    copiers_[static_cast<std::size_t>(place)] = *std::move(copier);
  }
  auto pipeline = Pipeline::create(*staging_, copiers_, link_.requests_served, link_.counters);
  if (!pipeline) return pipeline.error();
  pipeline_ = *std::move(pipeline);
  connections_.reserve(kMaxConnections);
  retired_.reserve(kMaxConnections);
  link_.parked.reserve(kMaxConnections);

  epoll_ = UniqueFd(epoll_create1(EPOLL_CLOEXEC));
  if (!epoll_) return fail_errno("I/O thread", "epoll_create1", errno);
  epoll_event event{.events = EPOLLIN, .data = {.ptr = nullptr}};
  if (epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, link_.command_read.get(), &event) != 0) {
    return fail_errno("I/O thread", "epoll_ctl", errno);
  }
  epoll_event first_events[1];
  // Checked here, because the loop would repeat forever without sleeping.
  if (look(first_events, &kNow) < 0) {
    return fail_errno("I/O thread", "epoll_pwait2 (it needs Linux 5.11)", errno);
  }
  return {};
}

int IoLoop::look(std::span<epoll_event> events, const timespec* timeout) {
  return epoll_pwait2(epoll_.get(), events.data(), static_cast<int>(events.size()), timeout,
                      nullptr);
}

void IoLoop::run() {
  epoll_event events[kMaxEvents];
  for (;;) {
    const int count = wait(events);
    bool commands = false;
    for (int i = 0; i < count; ++i) {
      auto* connection = static_cast<Connection*>(events[i].data.ptr);
      if (connection == nullptr) {
        commands = true;
      } else if (connection->parked) {
        // It hung up. The loop sees that again after resume().
      } else if ((events[i].events & (EPOLLHUP | EPOLLRDHUP | EPOLLERR)) != 0) {
        hang_up(*connection);
      } else {
        serve(*connection);
      }
    }
    serve_waiting_reads();
    // Last, because a command may close connections that events of this round point to.
    if (commands && !handle_command()) return;
    if (pause_ != 0) advance_pause();
  }
}

int IoLoop::wait(std::span<epoll_event> events) {
  if (has_waiting_reads()) return look(events, &kStagingPoll);
  const auto began = AdaptiveSpin::Clock::now();
  const auto spin = spin_.begin(began);
  int count = 0;
  auto now = began;
  while (count == 0 && now - began < spin) {
    count = look(events, &kNow);
    now = AdaptiveSpin::Clock::now();
  }
  const bool sleeps = count == 0;
  if (sleeps) count = look(events, nullptr);
  spin_.end(sleeps ? AdaptiveSpin::Clock::now() : now, sleeps);
  return count;
}

bool IoLoop::handle_command() {
  IoCommand command;
  if (read(link_.command_read.get(), &command, sizeof command) != sizeof command) return false;
  switch (command.kind) {
    case IoCommand::Kind::stop:
      return false;
    case IoCommand::Kind::add: {
      auto& connection =
          *connections_.emplace_back(std::unique_ptr<Connection>(command.connection));
      connection.parked = pause_ != 0;
      if (!watch(connection, EPOLL_CTL_ADD)) {
        log_error(errno_error("connection", "epoll_ctl", errno).message);
        close(connection, ConnectionEnd::broken);
      }
      return true;
    }
    case IoCommand::Kind::drop:
      for (std::size_t i = connections_.size(); i > 0; --i) {
        Connection& connection = *connections_[i - 1];
        if (&connection.segment == command.segment) close(connection, ConnectionEnd::dropped);
      }
      return true;
    case IoCommand::Kind::pause:
      pause_ = command.pause;
      return true;
    case IoCommand::Kind::resume:
      end_pause();
      return true;
  }
  return true;
}

// A parked connection stays in the epoll set, because adding it again would allocate. Its end can
// not be masked; EPOLLONESHOT makes epoll report it only once.
bool IoLoop::watch(Connection& connection, int operation) {
  const std::uint32_t events = connection.parked ? EPOLLONESHOT : EPOLLIN | EPOLLRDHUP;
  epoll_event event{.events = events, .data = {.ptr = &connection}};
  return epoll_ctl(epoll_.get(), operation, connection.socket.get(), &event) == 0;
}

// Parks every connection that is between two messages. Answers when all are parked.
void IoLoop::advance_pause() {
  if (link_.paused.load(std::memory_order_relaxed) == pause_) return;
  bool all = true;
  for (const auto& connection : connections_) {
    if (!connection->parked && connection->missing_bytes() == 0) {
      connection->parked = true;
      watch(*connection, EPOLL_CTL_MOD);
    }
    all &= connection->parked && connection->waiting_reads.empty();
  }
  if (!all) return;
  link_.parked.clear();
  for (const auto& connection : connections_) {
    link_.parked.push_back({connection->segment.id, connection->id, connection->socket.get()});
  }
  link_.paused.store(pause_, std::memory_order_release);
  eventfd_write(link_.answered.get(), 1);
}

void IoLoop::end_pause() {
  pause_ = 0;
  for (const auto& connection : connections_) {
    if (!std::exchange(connection->parked, false)) continue;
    watch(*connection, EPOLL_CTL_MOD);
  }
}

// While a pause is wanted, no byte of the next message is received, or the pause would have to wait
// for the rest of that message too. A connection between two messages is parked already.
void IoLoop::serve(Connection& connection) {
  const auto end = pipeline_->serve(connection, pause_ != 0);
  report_lost_pages(connection.segment);
  if (end) close(connection, *end);
}

bool IoLoop::has_waiting_reads() const {
  return std::ranges::any_of(connections_,
                             [](const auto& owned) { return !owned->waiting_reads.empty(); });
}

void IoLoop::serve_waiting_reads() {
  if (!has_waiting_reads()) return;
  reclaim_staging();
  for (std::size_t i = connections_.size(); i > 0; --i) {
    Connection& connection = *connections_[i - 1];
    if (connection.waiting_reads.empty()) continue;
    const auto end = pipeline_->serve_waiting_reads(connection);
    report_lost_pages(connection.segment);
    if (end) close(connection, *end);
  }
}

// Serves no request that is left in the socket. The kernel shuts a slow connection down and sends
// its requests again over another one, so a WRITE that is found here may be older than the content
// of its page.
void IoLoop::hang_up(Connection& connection) {
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

void IoLoop::reclaim_staging() {
  for (const auto& connection : connections_) release_read_chunks(*connection, *staging_);
  std::erase_if(retired_, [this](const Retired& retired) {
    if (!peer_has_read_all(retired.socket.get())) return false;
    for (const auto& lent : retired.lent) staging_->release(lent.chunk);
    return true;
  });
}

void IoLoop::report_lost_pages(ServedSegment& segment) {
  if (!segment.has_urgent_news.load(std::memory_order_relaxed)) return;
  if (!segment.has_urgent_news.exchange(false)) return;
  report({.kind = IoReport::Kind::lost_pages_changed, .segment_id = segment.id});
}

void IoLoop::report(const IoReport& report) {
  if (write(link_.report_pipe, &report, sizeof report) != sizeof report) {
    log_error(errno_error("I/O thread", "write report", errno).message);
  }
}

void IoLoop::close(Connection& connection, ConnectionEnd end) {
  // The peer still reads what was sent before, lent pages too. Their chunks are free only when it
  // has read everything.
  shutdown(connection.socket.get(), SHUT_RDWR);
  epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, connection.socket.get(), nullptr);
  if (!connection.lent.empty()) {
    retired_.push_back({std::move(connection.socket), std::move(connection.lent)});
  }
  ServedSegment& segment = connection.segment;
  const std::uint32_t connection_id = connection.id;
  std::erase_if(connections_, [&](const auto& owned) { return owned.get() == &connection; });
  reclaim_staging();
  const std::uint32_t segment_id = segment.id;
  // The last use of the segment: the control thread may free it as soon as the count is 0.
  segment.open_connections.fetch_sub(1, std::memory_order_release);
  report({IoReport::Kind::connection_ended, segment_id, connection_id, end});
}

}  // namespace vramswap
