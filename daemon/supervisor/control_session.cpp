#include "daemon/supervisor/control_session.hpp"

#include <fmt/format.h>
#include <sys/socket.h>

#include <algorithm>
#include <vector>

#include "daemon/supervisor/spawn.hpp"

namespace vramswap {

Result<std::shared_ptr<ControlSession>> ControlSession::create(Machine& machine,
                                                               UniqueFd connection, uid_t user,
                                                               std::shared_ptr<const void> place) {
  std::shared_ptr<ControlSession> session(new ControlSession(machine, user, std::move(place)));
  ErrorCode error;
  session->socket_.assign(asio::local::stream_protocol(), connection.get(), error);
  if (error) return fail_errno("control socket", "assign", error.value());
  (void)connection.release();  // it is the socket's
  return session;
}

UniqueFd ControlSession::duplicate() {
  return vramswap::duplicate(socket_.native_handle());
}

bool ControlSession::is_in_group(gid_t group) {
  const int connection = socket_.native_handle();
  ucred peer{};
  socklen_t size = sizeof peer;
  if (getsockopt(connection, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) return false;
  if (peer.gid == group) return true;
  // With no room for the groups, the kernel only says how much they need.
  socklen_t bytes = 0;
  getsockopt(connection, SOL_SOCKET, SO_PEERGROUPS, nullptr, &bytes);
  std::vector<gid_t> groups(bytes / sizeof(gid_t));
  if (getsockopt(connection, SOL_SOCKET, SO_PEERGROUPS, groups.data(), &bytes) != 0) return false;
  return std::ranges::find(groups, group) != groups.end();
}

// Closes the connection when the time is over, which ends all that waits for it, unless the timer
// is cancelled before.
std::shared_ptr<Timer> ControlSession::close_after(std::chrono::nanoseconds time) {
  std::shared_ptr<Timer> timer = machine_.clock.make_timer();
  timer->expires_after(time);
  spawn(machine_.io,
        [](std::shared_ptr<ControlSession> self, std::shared_ptr<Timer> waited) -> awaitable<void> {
          const bool is_over = co_await waited->wait();
          ErrorCode ignored;
          if (is_over) self->socket_.close(ignored);
        }(shared_from_this(), timer));
  return timer;
}

awaitable<Result<control::Request>> ControlSession::receive() {
  const auto deadline = close_after(limits_.request_time);
  std::string line;
  ErrorCode error;
  const std::size_t bytes = co_await asio::async_read_until(
      socket_, asio::dynamic_buffer(line, limits_.request_bytes), '\n', into(error));
  deadline->cancel();
  if (error) co_return fail(fmt::format("control socket: {}", error.message()));
  co_return control::decode_request(std::string_view(line).substr(0, bytes - 1));
}

void ControlSession::send(const control::Reply& reply) {
  if (is_writing_ && std::holds_alternative<control::Progress>(reply)) return;
  outgoing_.push_back(control::encode(reply) + '\n');
  if (is_writing_) return;
  is_writing_ = true;
  spawn(socket_.get_executor(), [](std::shared_ptr<ControlSession> self) -> awaitable<void> {
    co_await self->write_all();
  }(shared_from_this()));
}

awaitable<void> ControlSession::write_all() {
  ErrorCode error;
  while (!outgoing_.empty() && !error) {
    std::shared_ptr<Timer> deadline;
    if (limits_.reply_time) deadline = close_after(*limits_.reply_time);
    co_await asio::async_write(socket_, asio::buffer(outgoing_.front()), into(error));
    if (deadline) deadline->cancel();
    outgoing_.pop_front();
  }
  outgoing_.clear();
  is_writing_ = false;
  drained_.cancel();
}

awaitable<void> ControlSession::flush() {
  ErrorCode ignored;
  drained_.expires_at(asio::steady_timer::time_point::max());
  while (is_writing_) co_await drained_.async_wait(into(ignored));
}

void ControlSession::watch(std::function<void()> closed) {
  socket_.async_wait(Socket::wait_read,
                     [self = shared_from_this(), closed = std::move(closed)](ErrorCode error) {
                       // A client has nothing to say after its request but good-bye. The connection
                       // may also have been closed here, because the client takes no reply.
                       if (!error || !self->socket_.is_open()) closed();
                     });
}

void ControlSession::stop_watching() {
  ErrorCode ignored;
  socket_.cancel(ignored);
}

}  // namespace vramswap
