#include "daemon/worker/worker.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/prctl.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <map>
#include <memory>
#include <span>
#include <vector>

#include "daemon/base/unique_fd.hpp"
#include "daemon/system/hardening.hpp"
#include "daemon/system/log.hpp"
#include "daemon/worker/channel.hpp"
#include "daemon/worker/io_thread.hpp"
#include "daemon/worker/messages.hpp"
#include "daemon/worker/ram_store.hpp"
#include "daemon/worker/segment.hpp"
#include "daemon/worker/vram_store.hpp"

namespace vramswap {
namespace {

using messages::Connect;
using messages::ConnectionEnded;
using messages::Create;
using messages::Done;
using messages::Failed;
using messages::Import;
using messages::Message;
using messages::Remove;
using messages::Start;
using messages::Started;

// For the I/O threads to close connections they were told to drop: a few system calls.
constexpr std::chrono::seconds kDropTimeout{10};

struct Answer {
  Message message;
  UniqueFd fd;
};

class Worker {
 public:
  Worker(UniqueFd channel, WorkerOptions options)
      : options_(options), channel_(std::move(channel)) {}

  Result<void> run();

 private:
  Result<Answer> handle(const Start& start, std::vector<UniqueFd> fds);
  Result<Answer> handle(const Create& create, std::vector<UniqueFd> fds);
  Result<Answer> handle(const Import& import, std::vector<UniqueFd> fds);
  Result<Answer> handle(const Connect& connect, std::vector<UniqueFd> fds);
  Result<Answer> handle(const Remove& remove, std::vector<UniqueFd> fds);

  Result<Answer> answer_to(Packet packet);
  bool handle_packet();
  void tell(const Message& message, std::span<const int> fds = {});
  Result<void> handle_report();
  Result<void> add_segment(std::uint32_t id, std::unique_ptr<Store> store, const UniqueFd& map);
  Result<void> drop_connections(Segment& segment);
  unsigned open_connections() const;

  const WorkerOptions options_;
  UniqueFd channel_;  // empty once the supervisor has gone
  UniqueFd report_read_;
  UniqueFd report_write_;
  std::unique_ptr<StoreDevice> device_;
  // Before the threads, which use them.
  std::map<std::uint32_t, Segment> segments_;
  std::vector<std::unique_ptr<IoThread>> threads_;
};

Result<void> expect_fds(const std::vector<UniqueFd>& fds, std::size_t count) {
  if (fds.size() == count) return {};
  return fail(fmt::format("expected {} descriptors, got {}", count, fds.size()));
}

Result<void> Worker::run() {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return fail_errno("worker", "pipe2", errno);
  report_read_ = UniqueFd(ends[0]);
  report_write_ = UniqueFd(ends[1]);
  while (channel_ || open_connections() > 0) {
    pollfd waits[] = {{report_read_.get(), POLLIN, 0}, {channel_.get(), POLLIN, 0}};
    if (poll(waits, 2, -1) < 0 && errno != EINTR) return fail_errno("worker", "poll", errno);
    if (waits[0].revents != 0) {
      if (auto result = handle_report(); !result) return result;
    }
    // Without a supervisor the swap is served on.
    if (channel_ && waits[1].revents != 0 && !handle_packet()) channel_.reset();
  }
  // Nothing is scrubbed: that all connections have ended says "reconnect me". The next worker may
  // serve these stores already.
  return {};
}

// False: the supervisor has gone.
bool Worker::handle_packet() {
  auto packet = receive_packet(channel_.get());
  if (packet && !*packet) return false;
  if (!packet && packet.error().code != EMSGSIZE) {
    log_error(packet.error().message);
    return false;
  }
  const auto answer = packet ? answer_to(*std::move(*packet)) : std::unexpected(packet.error());
  const Message message = answer ? answer->message : Message{Failed{answer.error().message}};
  std::vector<int> fds;
  if (answer && answer->fd) fds.push_back(answer->fd.get());
  tell(message, fds);
  return true;
}

// Closes the channel where the supervisor can not be told: better none than one that misses things.
void Worker::tell(const Message& message, std::span<const int> fds) {
  if (!channel_) return;
  const auto sent = send_packet(channel_.get(), encode(message), fds);
  if (sent) return;
  log_error(sent.error().message);
  channel_.reset();
}

Result<Answer> Worker::answer_to(Packet packet) {
  const auto request = messages::decode_request(packet.text);
  if (!request) return std::unexpected(request.error());
  return std::visit([&](const auto& known) { return handle(known, std::move(packet.fds)); },
                    *request);
}

Result<void> Worker::handle_report() {
  ConnectionReport report;
  if (read(report_read_.get(), &report, sizeof report) != sizeof report) {
    return fail_errno("worker", "read report", errno);
  }
  tell(ConnectionEnded{report.segment_id, report.slot, report.end});
  return {};
}

Result<Answer> Worker::handle(const Start& start, std::vector<UniqueFd>) {
  if (device_) return fail("started already");
  if (start.backend == control::Backend::ram) {
    device_ = make_ram_device();
  } else {
    auto device = make_vram_device(start.gpu);
    if (!device) return std::unexpected(device.error());
    device_ = *std::move(device);
  }
  for (unsigned i = 0; i < start.io_threads; ++i) {
    auto thread = IoThread::start(*device_, report_write_.get(), {.realtime = options_.hardened});
    if (!thread) return std::unexpected(thread.error());
    threads_.push_back(*std::move(thread));
  }
  if (options_.hardened) {
    if (auto result = verify_every_thread_is_io_flusher(); !result) {
      return std::unexpected(result.error());
    }
  }
  auto info = device_->info();
  if (!info) return std::unexpected(info.error());
  return Answer{Started{*std::move(info)}, {}};
}

Result<void> Worker::add_segment(std::uint32_t id, std::unique_ptr<Store> store,
                                 const UniqueFd& map) {
  auto pages = PageMap::map(map.get(), store->size_bytes() / transmission::kPageBytes);
  if (!pages) return std::unexpected(pages.error());
  const auto [entry, fresh] = segments_.try_emplace(id);
  if (!fresh) return fail(fmt::format("segment {} is here already", id));
  entry->second.id = id;
  entry->second.store = std::move(store);
  entry->second.pages = *std::move(pages);
  return {};
}

Result<Answer> Worker::handle(const Create& create, std::vector<UniqueFd> fds) {
  if (auto result = expect_fds(fds, 1); !result) return std::unexpected(result.error());
  if (!device_) return fail("not started");
  auto store = device_->create(create.size_bytes);
  if (!store) return std::unexpected(store.error());
  auto exported = (*store)->export_fd();
  if (!exported) return std::unexpected(exported.error());
  if (auto result = add_segment(create.segment, *std::move(store), fds[0]); !result) {
    return std::unexpected(result.error());
  }
  return Answer{Done{}, *std::move(exported)};
}

Result<Answer> Worker::handle(const Import& import, std::vector<UniqueFd> fds) {
  if (auto result = expect_fds(fds, 2); !result) return std::unexpected(result.error());
  if (!device_) return fail("not started");
  auto store = device_->import(std::move(fds[1]), import.size_bytes);
  if (!store) return std::unexpected(store.error());
  if (auto result = add_segment(import.segment, *std::move(store), fds[0]); !result) {
    return std::unexpected(result.error());
  }
  return Answer{Done{}, {}};
}

Result<Answer> Worker::handle(const Connect& connect, std::vector<UniqueFd> fds) {
  if (auto result = expect_fds(fds, connect.threads.size()); !result) {
    return std::unexpected(result.error());
  }
  const auto found = segments_.find(connect.segment);
  if (found == segments_.end()) return fail(fmt::format("no segment {}", connect.segment));
  for (const unsigned thread : connect.threads) {
    if (thread >= threads_.size()) return fail(fmt::format("no I/O thread {}", thread));
  }
  for (std::size_t i = 0; i < fds.size(); ++i) {
    auto connection =
        std::make_unique<Connection>(std::move(fds[i]), found->second, connect.threads[i]);
    if (auto result = threads_[connect.threads[i]]->add(std::move(connection)); !result) {
      return std::unexpected(result.error());
    }
  }
  return Answer{Done{}, {}};
}

Result<void> Worker::drop_connections(Segment& segment) {
  for (const auto& thread : threads_) {
    if (auto result = thread->drop(segment); !result) return result;
  }
  const auto deadline = std::chrono::steady_clock::now() + kDropTimeout;
  while (segment.open_connections.load(std::memory_order_acquire) > 0) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
        deadline - std::chrono::steady_clock::now());
    pollfd wait{report_read_.get(), POLLIN, 0};
    if (left.count() <= 0 || poll(&wait, 1, static_cast<int>(left.count())) == 0) {
      return fail(fmt::format("segment {}: its connections do not end", segment.id));
    }
    if (auto result = handle_report(); !result) return result;
  }
  return {};
}

Result<Answer> Worker::handle(const Remove& remove, std::vector<UniqueFd>) {
  const auto found = segments_.find(remove.segment);
  if (found == segments_.end()) return fail(fmt::format("no segment {}", remove.segment));
  if (auto result = drop_connections(found->second); !result) {
    return std::unexpected(result.error());
  }
  const auto scrubbed = found->second.store->scrub();
  segments_.erase(found);
  if (!scrubbed) return std::unexpected(scrubbed.error());
  return Answer{Done{}, {}};
}

unsigned Worker::open_connections() const {
  unsigned count = 0;
  for (const auto& [id, segment] : segments_) {
    count += segment.open_connections.load(std::memory_order_acquire);
  }
  return count;
}

}  // namespace

int run_worker(int channel, WorkerOptions options) {
  UniqueFd owned(channel);
  fcntl(channel, F_SETFD, FD_CLOEXEC);
  prctl(PR_SET_NAME, "vramswap-worker");  // it was exec'd as /proc/self/exe
  // It ends when the supervisor says so; a terminal's Ctrl-C or a stop of the whole control group
  // is the supervisor's to handle.
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGPIPE}) std::signal(signal, SIG_IGN);
  // Before CUDA is loaded, so that its memory is locked and its threads inherit IO_FLUSHER.
  if (options.hardened) {
    if (auto hardened = harden_process(); !hardened) {
      (void)send_packet(channel, encode(Message{Failed{hardened.error().message}}));
      return 1;
    }
  }
  Worker worker(std::move(owned), options);
  if (auto result = worker.run(); !result) {
    log_error(result.error().message);
    return 1;
  }
  return 0;
}

}  // namespace vramswap
