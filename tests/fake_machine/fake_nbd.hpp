// The kernel's nbd driver: keeps its ends of the sockets, and drops those it is told to drop.
#pragma once

#include <functional>
#include <map>

#include "daemon/supervisor/machine/nbd_driver.hpp"
#include "tests/fake_machine/steps.hpp"

namespace vramswap::fake {

class FakeNbd : public NbdDriver {
 public:
  struct Device {
    std::string identifier;
    std::uint64_t size_bytes = 0;
    std::vector<UniqueFd> sockets;  // the kernel's ends
    std::chrono::milliseconds request_timeout{30'000};
    std::chrono::seconds dead_timeout{0};
  };

  explicit FakeNbd(Steps& steps) : steps_(steps) {}

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

  std::map<std::uint32_t, Device> devices;
  std::map<std::uint32_t, std::uint64_t> request_limits;  // a queue outlives its connections
  // That many RECONFIGUREs succeed, and the kernel keeps no socket of theirs.
  unsigned drop_silently = 0;
  unsigned reconfigures = 0;
  // Called in each DISCONNECT, with the device that goes. True: it stays, because somebody has it
  // open.
  std::function<bool(std::uint32_t)> stays = [](std::uint32_t) { return false; };
  // That many CONNECTs and RECONFIGUREs take effect, but their answer is lost (ENOBUFS).
  unsigned lose_answers = 0;
  // That many RECONFIGUREs have no effect and fail so.
  unsigned refuse_reconfigures = 0;
  // That many calls get no sockets (EMFILE).
  unsigned refuse_sockets = 0;
  bool refuses_disconnect = false;

 private:
  Steps& steps_;
};

}  // namespace vramswap::fake
