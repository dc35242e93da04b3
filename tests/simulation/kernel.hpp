// The simulated kernel: nbd devices with their sockets, the swap on them, and the pages in it.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "daemon/handover/connection_end.hpp"
#include "daemon/supervisor/machine/nbd_driver.hpp"
#include "daemon/system/proc.hpp"
#include "tests/simulation/machine_state.hpp"
#include "tests/simulation/store.hpp"

namespace vramswap::simulation {

class World;
class SimWorker;
struct HeldSegment;

struct KernelConnection {
  UniqueFd socket;  // the kernel's end
  std::uint64_t pair = 0;
  bool is_dead = false;  // and the kernel has noticed
};

inline constexpr std::uint64_t kUsualRequestLimit = 128 << 10;

struct Device {
  std::uint32_t index = 0;
  std::string identifier;
  std::uint64_t page_count = 0;
  std::vector<KernelConnection> connections;
  std::chrono::seconds dead_timeout{0};
  bool is_connected = true;  // false: somebody else has disconnected it while it was swap
  bool is_scanned = false;   // for partitions: an open before waits for reads
  bool has_signature = false;
  bool is_swap = false;
  int priority = 0;
  std::uint64_t request_limit = kUsualRequestLimit;
  std::map<std::uint64_t, std::uint64_t> pages;  // that are swapped out, with their content
  // Those of them whose bytes went by an event that may destroy bytes.
  std::set<std::uint64_t> destroyed;
  std::shared_ptr<Store> store;  // that served it last
  bool is_served = false;        // when it was looked at last
  TimePoint unserved_since{};

  std::string path() const { return device_path(index); }
};

// A swapoff(2) under way, in a process of its own.
struct SwapOffCall {
  std::uint32_t device = 0;
  std::chrono::nanoseconds page_time{};
  bool is_killed = false;
  bool is_orphaned = false;  // the supervisor that began it is dead
  std::optional<Result<void>> result;
  std::function<void()> on_end = [] {};
};

class Kernel {
 public:
  explicit Kernel(World& world) : world_(world) {}

  Result<SocketPairs> make_socket_pairs(unsigned count);
  std::uint64_t pair_of(int socket) const;

  Result<std::uint32_t> connect(const netlink::ConnectRequest& request);
  Result<void> reconfigure(const netlink::ReconfigureRequest& request);
  Result<void> disconnect(std::uint32_t index);
  std::vector<NbdDevice> find_devices(std::string_view prefix) const;

  Device* find(const std::string& path);
  const std::map<std::uint32_t, Device>& devices() const { return devices_; }
  bool has_swap() const;
  std::vector<SwapArea> areas() const;
  void swap_on(Device& device, int priority);
  std::shared_ptr<SwapOffCall> swap_off(Device& device);
  void kill_swap_off(SwapOffCall& call);
  // Those of a supervisor that has died.
  void kill_all_swap_offs();
  // The OOM killer chooses a caller of swapoff first. False: there is none.
  bool kill_a_swap_off();

  // Which worker serves the device, if any does now.
  HeldSegment* server_of(const Device& device);
  // Swaps pages out, or in again; nothing happens on a device that is not served. `choice` says
  // which ones.
  void write_pages(std::uint64_t choice);
  void read_pages(std::uint64_t choice);
  // The bytes of a page change in the store of a device.
  void corrupt_page(std::uint64_t choice);
  // Every page of every device that is served.
  void verify_all();
  // A segment's pages are in another store from now on.
  void note_move(const std::shared_ptr<Store>& from, const std::shared_ptr<Store>& to);
  // All pages in this store, for its bytes are gone.
  void destroy_pages(const Store& store);

  void on_worker_end(const SimWorker& worker);
  void drop_connection(std::uint64_t choice);
  void drop_slow_connections(const SimWorker& worker);
  void disconnect_by_hand(std::uint64_t choice);
  void swap_off_by_hand(std::uint64_t choice);
  bool was_touched_by_others() const { return was_touched_by_others_; }

  // Sockets have been closed somewhere: workers see the end of those that the kernel has not taken.
  void note_sockets_changed() { sockets_changed_ = true; }

  // Notes which devices are served, and reports pages that nobody can bring back.
  void check();

 private:
  void end_refused_connections();
  void drop(Device& device, KernelConnection& connection, ConnectionEnd end);
  Device* choose(std::uint64_t choice, bool is_swap);
  void read_page(Device& device, std::uint64_t page);
  void tell_of_lost_pages(const HeldSegment& segment);
  bool is_past_dead_timeout(const Device& device) const;
  void go_on_swapping_off(const std::shared_ptr<SwapOffCall>& call);
  void lose_all_pages(Device& device);
  void end(SwapOffCall& call, Result<void> result);

  World& world_;
  std::map<std::uint32_t, Device> devices_;
  std::map<ino_t, std::uint64_t> pairs_;  // by either end
  std::uint64_t last_pair_ = 0;
  std::vector<std::shared_ptr<SwapOffCall>> swap_offs_;
  bool sockets_changed_ = false;
  std::uint64_t last_content_ = 0;
  bool was_touched_by_others_ = false;
};

}  // namespace vramswap::simulation
