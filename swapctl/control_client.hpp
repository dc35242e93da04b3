// The client's end of the control protocol.
#pragma once

#include <chrono>
#include <filesystem>
#include <functional>
#include <string>
#include <utility>
#include <variant>

#include "daemon/base/error.hpp"
#include "daemon/base/unique_fd.hpp"
#include "daemon/control/protocol.hpp"

namespace vramswap::swapctl {

// How to wait for replies.
struct WaitOptions {
  // When it becomes readable, waiting ends with an error of code EINTR; -1: there is none.
  int interrupt_fd = -1;
  // The longest time without a reply; negative: no limit.
  std::chrono::milliseconds limit{-1};
  std::function<void(const control::Progress&)> on_progress = {};
};

class ControlClient {
 public:
  static Result<ControlClient> connect(const std::filesystem::path& socket);

  Result<void> send(const control::Request& request);
  // The next reply, of any kind. ECONNRESET: the daemon has ended.
  Result<control::Reply> next(const WaitOptions& options = {});
  int fd() const { return socket_.get(); }
  // Ends the connection and waits until the daemon has closed its end, too.
  Result<void> finish(std::chrono::milliseconds limit);

 private:
  explicit ControlClient(UniqueFd socket) : socket_(std::move(socket)) {}
  Result<void> wait(const WaitOptions& options) const;
  Result<void> receive();

  UniqueFd socket_;
  std::string received_;  // not yet a whole line
};

// Whether connect() failed because no daemon runs: the socket does not exist, or its daemon is
// gone.
bool no_daemon(const Error& error);

// Whether a daemon died and left its workers, and so its swap. The next daemon takes it over.
bool has_orphans(const std::filesystem::path& socket);

// Sends `request` and waits for the last reply. Returns a Failure as an error.
Result<control::Reply> exchange(ControlClient& client, const control::Request& request,
                                const WaitOptions& options);

// The same; the last reply must be a `Final`.
template <class Final>
Result<Final> ask(ControlClient& client, const control::Request& request,
                  const WaitOptions& options = {}) {
  auto reply = exchange(client, request, options);
  if (!reply) return reply.error();
  if (auto* final = std::get_if<Final>(&*reply)) return std::move(*final);
  return fail("vramswapd gave an answer that does not belong to the request");
}

}  // namespace vramswap::swapctl
