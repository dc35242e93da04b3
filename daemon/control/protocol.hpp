// The control protocol between vramswap and vramswapd: JSON, one message a line, over the
// SOCK_STREAM socket below. A client sends one request and reads replies: any number of Progress,
// then exactly one of Status, Done or Failure. Anyone may ask for status; only root may change
// (checked by SO_PEERCRED). Closing the connection cancels a `down` in progress: what it had
// swapped off is swapped on again.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "daemon/base/error.hpp"
#include "daemon/control/io_stats.hpp"
#include "daemon/control/size.hpp"

namespace vramswap::control {

// Raised when a message changes its meaning; both sides refuse another version by name.
inline constexpr int kProtocolVersion = 2;
inline constexpr std::string_view kRuntimeDirectory = "/run/vramswap";
inline constexpr std::string_view kSocketPath = "/run/vramswap/control";
// Beside it, a socket a worker: what there is when the daemon has died and its swap is up.
inline constexpr std::string_view kWorkerSocketPrefix = "worker-";
// Longest line either side accepts, in bytes.
inline constexpr std::size_t kMaxLineBytes = 1 << 20;

enum class Backend { vram, ram };
std::string_view to_string(Backend backend);
Result<Backend> parse_backend(std::string_view text);

inline constexpr int kMinPriority = -1;  // -1: the kernel chooses, below every given priority
inline constexpr int kMaxPriority = 32767;
inline constexpr unsigned kMaxConnections = 64;

struct UpRequest {
  Size size;  // of the whole pool
  // Of the first segments; the next ones get priority - 1, ... but not below 0.
  int priority = 100;
  Backend backend = Backend::vram;
  // Selectors: index, UUID or PCI address. Empty: the first GPU. Only for Backend::vram.
  std::vector<std::string> gpus;
  std::uint64_t segment_size_bytes = 1ULL << 30;
  // Sockets, and I/O threads, a device; 0: chosen from the number of cores.
  unsigned connections = 0;
  // How long the kernel queues I/O while no worker serves, before it fails it. Whole seconds.
  std::chrono::seconds reconnect_timeout{600};
  // Without a request, until the worker gives its GPU context up; 0: never. Nothing: 60 for
  // Backend::vram, never for Backend::ram, which has no power to save.
  std::optional<std::chrono::seconds> doze_after = {};
  // A copy that takes longer is taken for a GPU that hangs.
  std::chrono::seconds hang_timeout{10};
};
inline constexpr std::chrono::seconds kDefaultDozeAfter{60};
struct DownRequest {
  bool force = false;  // even if the used pages do not seem to fit elsewhere
};
struct StatusRequest {};
// Replace daemon and workers by the programs that are installed now, with the swap up.
struct ReloadRequest {};
using Request = std::variant<UpRequest, DownRequest, StatusRequest, ReloadRequest>;

struct Progress {
  std::string device;  // "/dev/nbd0"
  std::uint64_t done_bytes = 0;
  std::uint64_t total_bytes = 0;
};
struct SegmentStatus {
  std::string device;  // "/dev/nbd0"; empty before it is connected
  std::uint64_t size_bytes = 0;
  std::uint64_t used_bytes = 0;
  int priority = 0;  // as /proc/swaps has it
  Backend backend = Backend::vram;
  std::string store;             // the GPU's name, or "ram"
  std::string gpu_uuid;          // empty for ram
  std::string state;             // a name of SegmentState: "active", "swapping-off", ...
  unsigned generation = 0;       // how often its content was lost with the VRAM
  std::uint64_t lost_pages = 0;  // in all
  std::int64_t lost_at = 0;      // when last, seconds since the epoch; 0: never
};
struct WorkerStatus {
  std::string store;     // as in SegmentStatus
  std::string gpu_uuid;  // likewise
  int pid = 0;           // 0: there is none
  std::string state;     // a name of WorkerState, or "dead"
  unsigned restarts = 0;
  std::int64_t last_pause_ms = 0;  // from the last one's death until its successor served
  std::string problem;             // why it could not be replaced when that was tried last
  // Nothing: there is no worker, it does not answer at once, or the daemon is of a version that
  // does not tell.
  std::optional<IoStats> io = {};
};
struct Status {
  std::string version;  // the daemon's
  int supervisor_pid = 0;
  std::vector<SegmentStatus> segments;     // empty: nothing is up
  std::vector<WorkerStatus> workers = {};  // one for each store device
};
struct Done {};
struct Failure {
  std::string message;  // one line
};
using Reply = std::variant<Progress, Status, Done, Failure>;

// Lines without the newline at their end.
std::string encode(const Request& request);
std::string encode(const Reply& reply);
// What does not parse, lacks a field, or is out of range is an error that names the field; another
// protocol version is an error that names both.
Result<Request> decode_request(std::string_view line);
Result<Reply> decode_reply(std::string_view line);

}  // namespace vramswap::control
