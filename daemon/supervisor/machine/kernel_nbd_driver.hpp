// The running kernel's nbd driver.
#pragma once

#include <optional>

#include "daemon/supervisor/machine/nbd_driver.hpp"

namespace vramswap {

class KernelNbdDriver : public NbdDriver {
 public:
  KernelNbdDriver(asio::io_context& io, std::string block_directory)
      : io_(io), block_directory_(std::move(block_directory)) {}

  awaitable<Result<void>> open() override;
  Result<SocketPairs> make_socket_pairs(unsigned count) override;
  Result<std::uint32_t> connect(const netlink::ConnectRequest& request) override;
  Result<void> reconfigure(const netlink::ReconfigureRequest& request) override;
  Result<void> disconnect(std::uint32_t index) override;
  Result<std::uint64_t> set_queue(std::uint32_t index, std::uint64_t max_request_bytes,
                                  std::chrono::milliseconds request_timeout) override;
  awaitable<Result<void>> set_request_limit(std::uint32_t index,
                                            std::uint64_t max_request_bytes) override;
  std::vector<NbdDevice> find_devices(std::string_view prefix) const override;

 private:
  asio::io_context& io_;
  const std::string block_directory_;  // /sys/block
  std::optional<netlink::NbdClient> client_;
};

}  // namespace vramswap
