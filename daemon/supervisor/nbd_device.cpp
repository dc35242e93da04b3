#include "daemon/supervisor/nbd_device.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

#include "daemon/supervisor/child.hpp"
#include "daemon/system/block_queue.hpp"
#include "daemon/system/log.hpp"
#include "daemon/system/proc.hpp"

namespace vramswap {
namespace {

// Room for all replies that a connection can have lent, so that sending them does not wait.
constexpr int kSendBufferBytes = 8 << 20;

}  // namespace

awaitable<Result<netlink::NbdClient>> open_nbd(asio::io_context& io) {
  auto client = netlink::NbdClient::open();
  if (!client && client.error().code == ENOENT) {
    // The kernel could load it by the family's name, but the module of Linux 6.1 lacks the alias.
    std::vector<std::string> arguments{"modprobe", "nbd"};
    const auto loaded = co_await run_program(io, std::move(arguments));
    if (!loaded) {
      co_return fail(fmt::format(
          "the kernel's nbd module cannot be loaded ({}); install the kernel's extra modules",
          loaded.error().message));
    }
    client = netlink::NbdClient::open();
  }
  if (!client) co_return client.error();
  co_return *std::move(client);
}

Result<SocketPairs> make_socket_pairs(unsigned count) {
  SocketPairs pairs;
  for (unsigned i = 0; i < count; ++i) {
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) {
      return fail_errno("nbd socket", "socketpair", errno);
    }
    pairs.kernel_ends.emplace_back(ends[0]);
    pairs.worker_ends.emplace_back(ends[1]);
    fcntl(ends[1], F_SETFL, O_NONBLOCK);
    if (setsockopt(ends[1], SOL_SOCKET, SO_SNDBUFFORCE, &kSendBufferBytes,
                   sizeof kSendBufferBytes) != 0) {
      return fail_errno("nbd socket", "SO_SNDBUFFORCE", errno);
    }
  }
  return pairs;
}

std::vector<int> raw(const std::vector<UniqueFd>& fds) {
  std::vector<int> numbers;
  for (const UniqueFd& fd : fds) numbers.push_back(fd.get());
  return numbers;
}

Result<void> disconnect_device(netlink::NbdClient& nbd, std::uint32_t index) {
  const auto areas = read_swap_areas();
  if (!areas) return areas.error();
  const std::string path = device_path(index);
  if (std::ranges::any_of(*areas, [&](const SwapArea& area) { return area.path == path; })) {
    return fail(fmt::format("{}: is a swap area still, so it stays connected", path));
  }
  if (auto result = nbd.disconnect(index); !result) return result.error();
  // It is disconnected all the same.
  if (auto restored = restore_request_timeout(device_name(index)); !restored) {
    log_error(restored.error().message);
  }
  return {};
}

}  // namespace vramswap
