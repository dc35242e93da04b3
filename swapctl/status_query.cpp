#include "swapctl/status_query.hpp"

#include <cerrno>
#include <chrono>
#include <thread>

#include "swapctl/commands.hpp"

namespace vramswap::swapctl {
namespace {

// A daemon that is being killed still accepts connections. More than this many in a row are not
// expected.
constexpr int kAttempts = 3;
constexpr std::chrono::milliseconds kPause{100};

Result<std::optional<control::Status>> ask_once(const Environment& environment, int interrupt_fd) {
  auto client = connect_to_swap(environment);
  if (!client) {
    if (no_daemon(client.error())) return std::nullopt;
    return client.error();
  }
  const WaitOptions options{
      .interrupt_fd = interrupt_fd, .limit = environment.status_limit, .on_progress = {}};
  auto answer = ask<control::Status>(*client, control::StatusRequest{}, options);
  if (!answer) return answer.error();
  return *std::move(answer);
}

}  // namespace

Result<std::optional<control::Status>> ask_status(const Environment& environment,
                                                  int interrupt_fd) {
  auto answer = ask_once(environment, interrupt_fd);
  for (int attempt = 1; attempt < kAttempts; ++attempt) {
    const int code = answer ? 0 : answer.error().code;
    const bool has_died = code == ECONNRESET || code == EPIPE;
    if (!has_died || !has_orphans(environment.socket)) break;
    std::this_thread::sleep_for(kPause);
    answer = ask_once(environment, interrupt_fd);
  }
  return answer;
}

}  // namespace vramswap::swapctl
