#include "swapctl/bench/scratch_segments.hpp"

#include <fmt/format.h>

#include <chrono>

namespace vramswap::swapctl {
namespace {

// Clearing runs at the speed of memory, but an `up` that is under way is finished first.
constexpr std::chrono::seconds kRemoveTimeout{120};

Result<void> await_end(ControlClient& client) {
  if (client.finish(kRemoveTimeout)) return {};
  return fail(
      fmt::format("the scratch segment is still there after {} s: see the daemon's log in "
                  "dmesg",
                  kRemoveTimeout.count()));
}

}  // namespace

Result<ScratchSegments> ScratchSegments::create(const control::UpRequest& request, int interrupt_fd,
                                                const Environment& environment) {
  auto client = ControlClient::connect(environment.scratch_socket);
  if (!client && no_daemon(client.error())) {
    client = environment.start_scratch_daemon(environment.scratch_socket);
  }
  if (!client) return client.error();
  auto made = ask<control::Status>(*client, request, {.interrupt_fd = interrupt_fd});
  if (made) return ScratchSegments(*std::move(client), std::move(made->segments));
  if (auto ended = await_end(*client); !ended) return ended.error();
  return made.error();
}

Result<void> ScratchSegments::remove(const Environment& environment) {
  if (auto ended = await_end(client_); !ended) return ended;
  if (!has_orphans(environment.scratch_socket)) return {};
  // The daemon has died. The next one takes over the segments, which carry no swap, frees them, and
  // ends after the request below.
  auto client = environment.start_scratch_daemon(environment.scratch_socket);
  if (!client) return client.error();
  (void)ask<control::Done>(*client, control::DownRequest{});  // fails: nothing is up by then
  return await_end(*client);
}

}  // namespace vramswap::swapctl
