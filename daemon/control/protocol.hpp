// The control protocol between vramswap and vramswapd: JSON, one message a line, over the
// SOCK_STREAM socket below. A client sends one request and reads replies: any number of Progress,
// then exactly one of Status, Done, Lent or Failure. Any user may ask for status; members of the
// lend group may lend and take back; only root may send other requests (the daemon checks
// SO_PEERCRED and SO_PEERGROUPS). If the client closes the connection during a `down`, the daemon
// cancels it and swaps on again what it had swapped off.
#pragma once

#include <sys/types.h>

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

// Raise it when a message changes its meaning. Both sides refuse another version and name it.
inline constexpr int kProtocolVersion = 2;
inline constexpr std::string_view kRuntimeDirectory = "/run/vramswap";
inline constexpr std::string_view kSocketPath = "/run/vramswap/control";
// The workers' sockets begin so, in the same directory. If they are there and no daemon answers,
// the daemon died with its swap up.
inline constexpr std::string_view kWorkerSocketPrefix = "worker-";
// The longest line that either side accepts, in bytes.
inline constexpr std::size_t kMaxLineBytes = 1 << 20;

enum class Backend { vram, ram };
std::string_view to_string(Backend backend);
Result<Backend> parse_backend(std::string_view text);

inline constexpr int kMinPriority = -1;  // -1: the kernel chooses, below every given priority
inline constexpr int kMaxPriority = 32767;
inline constexpr unsigned kMaxConnections = 64;

struct UpRequest {
  Size size;  // of the whole pool
  // Of the first segment on each GPU. Each further one there gets one less, but not below 0.
  int priority = 100;
  Backend backend = Backend::vram;
  // Selectors: index, UUID or PCI address. Empty: the first GPU. Only for Backend::vram.
  std::vector<std::string> gpus;
  std::uint64_t segment_size_bytes = 1ULL << 30;
  // Sockets and I/O threads of each device; 0: the daemon chooses by the number of cores.
  unsigned connections = 0;
  // How long the kernel queues I/O while no worker serves. Then the I/O fails. Whole seconds.
  std::chrono::seconds reconnect_timeout{600};
  // The worker gives its GPU context up after this long without a request; 0: never. No value: 60 s
  // for Backend::vram, never for Backend::ram, which has no power to save.
  std::optional<std::chrono::seconds> doze_after = {};
  // If a copy takes longer, the worker regards the GPU as hung.
  std::chrono::seconds hang_timeout{10};
  // Its members may lend VRAM and take it back, as root may.
  std::optional<gid_t> lend_group = {};
};
inline constexpr std::chrono::seconds kDefaultDozeAfter{60};
// The value in the request, or the default of its backend.
std::chrono::seconds doze_after(const UpRequest& request);
struct DownRequest {
  bool force = false;  // try even if the used pages do not seem to fit elsewhere
};
// Frees VRAM for other programs, while the swap stays up: used pages move to host memory, or else
// swap areas are swapped off. Answer: Lent.
struct LendRequest {
  std::optional<std::uint64_t> bytes = {};  // on each card of the pool; no value: all of it
  // The loan ends when the client closes the connection. Otherwise a TakeBackRequest ends it.
  bool is_held = false;
  // Nothing more is begun after this long; no value: until it is done.
  std::optional<std::chrono::seconds> wait = {};
  std::string purpose = {};  // the command that the VRAM is for, for status
};
inline constexpr std::size_t kMaxPurposeBytes = 256;
// Ends all loans that no client holds. The VRAM is taken again in the background. Answer: Done.
struct TakeBackRequest {};
struct StatusRequest {};
// Replace daemon and workers by the programs that are installed now, while the swap is up.
struct ReloadRequest {};
using Request = std::variant<UpRequest, DownRequest, StatusRequest, ReloadRequest, LendRequest,
                             TakeBackRequest>;

struct Progress {
  std::string device;  // "/dev/nbd0"
  std::uint64_t done_bytes = 0;
  std::uint64_t total_bytes = 0;
};
// States of a segment that another program has caused: its swap area is off; its device is
// disconnected, so that its pages cannot be read.
inline constexpr std::string_view kOffState = "off";
inline constexpr std::string_view kDisconnectedState = "disconnected";
// Its swap area and its store are given up, since its VRAM is lent.
inline constexpr std::string_view kLentState = "lent";
struct SegmentStatus {
  std::string device;  // "/dev/nbd0"; empty before it is connected
  std::uint64_t size_bytes = 0;
  std::uint64_t used_bytes = 0;
  int priority = 0;  // as in /proc/swaps
  Backend backend = Backend::vram;
  std::string store;     // the GPU's name, or "ram"
  std::string gpu_uuid;  // empty for ram
  // A name of SegmentState: "active", "swapping-off", ...; "off": somebody else has swapped it off.
  std::string state;
  unsigned generation = 0;       // how often its content was lost with the VRAM
  std::uint64_t lost_pages = 0;  // the total
  // Those among them whose bytes differed from those written.
  std::uint64_t corrupt_pages = 0;
  std::int64_t lost_at = 0;  // time of the last loss, seconds since the epoch; 0: never
  // "vram" or "host memory"; empty: its store is given up, since its VRAM is lent.
  std::string place = {};
};
struct WorkerStatus {
  std::string store;     // as in SegmentStatus
  std::string gpu_uuid;  // as in SegmentStatus
  int pid = 0;           // 0: there is no process
  std::string state;     // a name of WorkerState, or "dead"
  unsigned restarts = 0;
  std::int64_t last_pause_ms = 0;  // from the last death of a worker until its successor served
  std::string problem;  // why the last attempt to replace the worker failed; empty: it did not
  // VRAM that is set aside for the context of the next worker; 0: none.
  std::uint64_t reserve_bytes = 0;
  // Notes for the owner of the machine, a line each. A daemon of an earlier version sends none.
  std::vector<std::string> notes = {};
  // No value: there is no worker, the worker did not answer in time, or the daemon's version does
  // not send statistics.
  std::optional<IoStats> io = {};
};
// VRAM that others may use until it is returned.
struct Loan {
  std::optional<std::uint64_t> bytes = {};  // as in LendRequest
  bool is_held = false;                     // by a client's connection
  std::string purpose = {};
  std::int64_t since = 0;  // seconds since the epoch
};
struct Status {
  std::string version;  // the daemon's
  int supervisor_pid = 0;
  std::vector<SegmentStatus> segments;     // empty: nothing is up
  std::vector<WorkerStatus> workers = {};  // one for each store device
  // Notes for the owner of the machine about the whole, a line each. A daemon of an earlier version
  // sends none.
  std::vector<std::string> notes = {};
  // A daemon of an earlier version lends nothing.
  std::vector<Loan> loans = {};
  std::uint64_t lent_bytes = 0;  // of VRAM that the pool takes otherwise, on all cards
};
// Nothing freed and nothing missing: no swap is on VRAM.
struct Lent {
  std::uint64_t freed_bytes = 0;    // on the card that lends least
  std::uint64_t missing_bytes = 0;  // on the card that lacks most; what was freed stays so
  std::string problem = {};         // why; empty: nothing is missing
};
struct Done {};
struct Failure {
  std::string message;  // one line
};
using Reply = std::variant<Progress, Status, Done, Failure, Lent>;

// Return a line without its newline.
std::string encode(const Request& request);
std::string encode(const Reply& reply);
std::string encode_loans(const std::vector<Loan>& loans);
Result<std::vector<Loan>> decode_loans(std::string_view text);
// Malformed text, a missing field or a value out of range is an error that names the field. Another
// protocol version is an error that names both versions.
Result<Request> decode_request(std::string_view line);
Result<Reply> decode_reply(std::string_view line);

}  // namespace vramswap::control
