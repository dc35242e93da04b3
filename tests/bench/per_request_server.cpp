#include "tests/bench/per_request_server.hpp"

#include <fcntl.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <future>
#include <optional>
#include <span>

#include "daemon/worker/io/transmission.hpp"
#include "tests/support/kernel_peer.hpp"

namespace vramswap::bench {
namespace {

using transmission::Request;

constexpr std::size_t kBatch = 32;
constexpr std::size_t kSlotBytes = 64 << 10;
constexpr std::size_t kLongBytes = transmission::kMaxTransferBytes;

struct alignas(4096) HostPage {
  std::array<std::byte, 4096> bytes;
};

class Session {
 public:
  Session(int socket, const Store& store)
      : socket_(socket), store_(store), memory_((kBatch * kSlotBytes + kLongBytes) / 4096) {}

  Result<void> prepare(StoreAccess& access) {
    auto queue = access.make_queue(std::as_writable_bytes(std::span(memory_)));
    if (!queue) return queue.error();
    queue_ = *std::move(queue);
    return {};
  }

  // Returns when the other side has closed the connection.
  Result<void> serve() {
    while (auto request = receive_request(0)) {
      if (request->length <= kSlotBytes) {
        if (!admit(*request)) return broken();
        // A request that the batch may not hold is served right after it.
        request = take_queued();
        if (!serve_batch()) return broken();
      }
      if (request && !serve_long(*request)) return broken();
    }
    return ended_ ? Result<void>{} : broken();
  }

 private:
  std::byte* slot(std::size_t index) { return memory_.front().bytes.data() + index * kSlotBytes; }
  std::byte* long_buffer() { return slot(kBatch); }

  Result<void> broken() const {
    if (!error_.empty()) return fail("per-request server: " + error_);
    return fail_errno("per-request server", "connection", errno);
  }

  bool receive(std::byte* target, std::size_t bytes) {
    while (bytes > 0) {
      const ssize_t received = recv(socket_, target, bytes, MSG_WAITALL);
      if (received < 0 && errno == EINTR) continue;
      if (received <= 0) return false;
      target += received;
      bytes -= static_cast<std::size_t>(received);
    }
    return true;
  }

  bool send_all(const std::byte* data, std::size_t bytes) {
    while (bytes > 0) {
      const ssize_t sent = send(socket_, data, bytes, MSG_NOSIGNAL);
      if (sent < 0 && errno == EINTR) continue;
      if (sent <= 0) return false;
      data += sent;
      bytes -= static_cast<std::size_t>(sent);
    }
    return true;
  }

  // Nothing: none is queued (MSG_DONTWAIT), the connection has ended, or this is no request.
  std::optional<Request> receive_request(int flags) {
    std::array<std::byte, transmission::kRequestBytes> header;
    const ssize_t received = recv(socket_, header.data(), header.size(), flags);
    if (received <= 0) {
      ended_ = received == 0;
      return std::nullopt;
    }
    const auto begun = static_cast<std::size_t>(received);
    if (!receive(header.data() + begun, header.size() - begun)) return std::nullopt;
    const auto request = transmission::decode_request(header);
    if (!request || transmission::validate_request(*request, store_.size_bytes()).action !=
                        transmission::Action::serve) {
      error_ = "a request that it does not know";
      return std::nullopt;
    }
    return request;
  }

  bool admit(const Request& request) {
    if (request.has_payload() && !receive(slot(batch_size_), request.length)) return false;
    batch_[batch_size_++] = request;
    return true;
  }

  // A request that is too long for the batch, if one came.
  std::optional<Request> take_queued() {
    while (batch_size_ < kBatch) {
      const auto request = receive_request(MSG_DONTWAIT);
      if (!request || request->length > kSlotBytes) return request;
      if (!admit(*request)) return std::nullopt;
    }
    return std::nullopt;
  }

  bool serve_batch() {
    for (std::size_t i = 0; i < batch_size_; ++i) {
      if (!copy(batch_[i], slot(i))) return false;
    }
    if (!done(queue_->wait())) return false;
    for (std::size_t i = 0; i < batch_size_; ++i) {
      if (!reply(batch_[i], slot(i))) return false;
    }
    batch_size_ = 0;
    return error_.empty();
  }

  bool serve_long(const Request& request) {
    if (request.has_payload() && !receive(long_buffer(), request.length)) return false;
    return copy(request, long_buffer()) && done(queue_->wait()) && reply(request, long_buffer());
  }

  bool copy(const Request& request, std::byte* host) {
    const std::uint64_t address = store_.address() + request.offset;
    if (request.command == NBD_CMD_READ) {
      return done(queue_->to_host(host, address, request.length));
    }
    if (request.has_payload()) return done(queue_->from_host(host, address, request.length));
    return true;
  }

  bool done(const Result<void>& result) {
    if (!result) error_ = result.error().message;
    return result.has_value();
  }

  bool reply(const Request& request, const std::byte* data) {
    std::array<std::byte, transmission::kReplyBytes> header;
    transmission::encode_reply(request.cookie, 0, header);
    return send_all(header.data(), header.size()) &&
           (request.command != NBD_CMD_READ || send_all(data, request.length));
  }

  const int socket_;
  const Store& store_;
  std::vector<HostPage> memory_;  // a slot for each request of a batch, and one long buffer
  std::unique_ptr<CopyQueue> queue_;
  std::array<Request, kBatch> batch_;
  std::size_t batch_size_ = 0;
  bool ended_ = false;
  std::string error_;
};

}  // namespace

Result<std::unique_ptr<PerRequestServer>> PerRequestServer::start(StoreAccess& access,
                                                                  std::uint64_t segment_bytes) {
  auto store = access.device().create(segment_bytes);
  if (!store) return store.error();
  return std::unique_ptr<PerRequestServer>(new PerRequestServer(access, *std::move(store)));
}

PerRequestServer::~PerRequestServer() {
  for (const auto& connection : connections_) shutdown(connection->socket.get(), SHUT_RDWR);
  (void)join_all();
}

Result<std::vector<UniqueFd>> PerRequestServer::connect(unsigned count) {
  std::vector<UniqueFd> sockets;
  std::vector<std::future<Result<void>>> prepared;
  for (unsigned i = 0; i < count; ++i) {
    auto [ours, theirs] = load::make_connection();
    const int socket = theirs.get();
    fcntl(socket, F_SETFL, fcntl(socket, F_GETFL) & ~O_NONBLOCK);
    auto& connection = *connections_.emplace_back(std::make_unique<Connection>());
    connection.socket = std::move(theirs);
    std::promise<Result<void>> ready;
    prepared.push_back(ready.get_future());
    connection.thread =
        std::thread([this, &connection, socket, ready = std::move(ready)]() mutable {
          Session session(socket, *store_);
          connection.result = session.prepare(access_);
          ready.set_value(connection.result);
          if (connection.result) connection.result = session.serve();
          shutdown(socket, SHUT_RDWR);
        });
    sockets.push_back(std::move(ours));
  }
  for (auto& each : prepared) {
    if (auto result = each.get(); !result) return result.error();
  }
  return sockets;
}

Result<void> PerRequestServer::disconnect(std::vector<UniqueFd> sockets) {
  sockets.clear();
  return join_all();
}

Result<void> PerRequestServer::join_all() {
  Result<void> result;
  for (const auto& connection : connections_) {
    connection->thread.join();
    if (!connection->result) result = connection->result;
  }
  connections_.clear();
  return result;
}

}  // namespace vramswap::bench
