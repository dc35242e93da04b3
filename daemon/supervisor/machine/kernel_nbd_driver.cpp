#include "daemon/supervisor/machine/kernel_nbd_driver.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/utsname.h>

#include <cerrno>
#include <charconv>

#include "daemon/base/directory.hpp"
#include "daemon/supervisor/machine/child.hpp"
#include "daemon/supervisor/machine/swap_call_child.hpp"
#include "daemon/system/block_queue.hpp"
#include "daemon/system/log.hpp"
#include "daemon/system/module_advice.hpp"

namespace vramswap {
namespace {

// Room for all replies that a worker can have lent to a connection, so that sending them does not
// wait.
constexpr int kSendBufferBytes = 8 << 20;
// Scripts and disk image tools take /dev/nbd0 to 15 for granted, and some disconnect them unasked.
// The kernel makes a device of any number. contrib/60-0-vramswap.rules knows these.
constexpr std::uint32_t kFirstIndex = 1000;
constexpr std::uint32_t kIndices = 1000;

}  // namespace

std::vector<int> raw(const std::vector<UniqueFd>& fds) {
  std::vector<int> numbers;
  for (const UniqueFd& fd : fds) numbers.push_back(fd.get());
  return numbers;
}

awaitable<Result<void>> KernelNbdDriver::open() {
  if (client_) co_return Result<void>{};
  auto client = netlink::NbdClient::open();
  if (!client && client.error().code == ENOENT) {
    // The kernel could load it by the family's name, but the module of Linux 6.1 lacks the alias.
    std::vector<std::string> arguments{"modprobe", "nbd"};
    const auto loaded = co_await run_program(io_, std::move(arguments));
    if (!loaded) {
      utsname kernel{};
      uname(&kernel);
      const std::string& said = loaded.error().message;
      co_return fail(
          fmt::format("the kernel's nbd module cannot be loaded ({}); {}", said,
                      module_advice(said, fmt::format("/lib/modules/{}", kernel.release))));
    }
    client = netlink::NbdClient::open();
    if (!client && client.error().code == ENOENT) {
      co_return fail(fmt::format(
          "the nbd module is loaded, but the kernel does not show it here: {}", kOutsideAdvice));
    }
  }
  if (!client) co_return client.error();
  client_ = *std::move(client);
  co_return Result<void>{};
}

Result<SocketPairs> KernelNbdDriver::make_socket_pairs(unsigned count) {
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

// The first of our numbers that nobody has. A device that somebody else has open is not free
// either.
Result<std::uint32_t> KernelNbdDriver::connect(const netlink::ConnectRequest& request) {
  netlink::ConnectRequest numbered = request;
  for (std::uint32_t index = kFirstIndex; index < kFirstIndex + kIndices; ++index) {
    if (is_nbd_in_use(device_name(index), block_directory_)) continue;
    numbered.index = index;
    const auto connected = client_->connect(numbered);
    if (connected) return *connected;
    const int code = connected.error().code;
    if (code != EBUSY && code != EEXIST) return connected.error();
  }
  return fail(
      fmt::format("no free device among nbd{} to nbd{}", kFirstIndex, kFirstIndex + kIndices - 1));
}

Result<void> KernelNbdDriver::reconfigure(const netlink::ReconfigureRequest& request) {
  if (const auto done = client_->reconfigure(request); !done) return done.error();
  return {};
}

Result<void> KernelNbdDriver::disconnect(std::uint32_t index) {
  if (const auto gone = client_->disconnect(index); !gone) return gone.error();
  // The device is disconnected all the same.
  if (auto restored = restore_request_timeout(device_name(index), block_directory_); !restored) {
    log_error(restored.error().message);
  }
  return {};
}

Result<std::uint64_t> KernelNbdDriver::set_queue(std::uint32_t index,
                                                 std::uint64_t max_request_bytes,
                                                 std::chrono::milliseconds request_timeout) {
  return set_queue_for_swap(device_name(index), max_request_bytes, request_timeout,
                            block_directory_);
}

// By a child: should the worker die meanwhile, the supervisor must not wait in the kernel for what
// only another worker can serve.
awaitable<Result<void>> KernelNbdDriver::set_request_limit(std::uint32_t index,
                                                           std::uint64_t max_request_bytes) {
  const std::string device = device_name(index);
  std::vector<std::string> call{"limit", device, std::to_string(max_request_bytes)};
  auto child = start_swap_call(io_, std::move(call));
  if (!child) co_return child.error();
  const auto status = co_await child->wait();
  co_return swap_call_result(device, "the limit of a request", status);
}

std::vector<NbdDevice> KernelNbdDriver::find_devices(std::string_view prefix) const {
  std::vector<NbdDevice> devices;
  const auto names = list_directory(block_directory_);
  if (!names) return devices;
  for (const std::string& name : *names) {
    if (!name.starts_with("nbd")) continue;
    NbdDevice device{};
    const char* end = name.data() + name.size();
    if (std::from_chars(name.data() + 3, end, device.index).ptr != end) continue;
    device.identifier = read_backend_identifier(name, block_directory_);
    if (device.identifier.starts_with(prefix)) devices.push_back(std::move(device));
  }
  return devices;
}

}  // namespace vramswap
