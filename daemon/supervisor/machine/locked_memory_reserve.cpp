#include "daemon/supervisor/machine/locked_memory_reserve.hpp"

#include <sys/eventfd.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <numeric>
#include <semaphore>
#include <vector>

#include "daemon/base/page_size.hpp"
#include "daemon/system/small_thread.hpp"

namespace vramswap {
namespace {

constexpr const char* kName = "memory-reserve";
constexpr std::uint64_t kStepBytes = 1 << 20;
constexpr std::uint64_t kReleaseSteps = 32;

// Zeros for one step, from one page.
constexpr std::size_t kPages = kStepBytes / kPageBytes;
alignas(kPageBytes) const char kZeros[kPageBytes] = {};

UniqueFd make_event() {
  return UniqueFd(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
}

// What is released as a whole.
struct Piece {
  std::uint64_t capacity = 0;
  std::uint64_t filled = 0;
  UniqueFd file = {};
};

// Waits until the kernel has found the memory.
Result<void> add_step(Piece& piece, HostMemory kind) {
  if (!piece.file) {
    auto file = create_host_memory(kName, piece.capacity, kind);
    if (!file) return file.error();
    piece.file = *std::move(file);
  }
  std::array<iovec, kPages> pages;
  pages.fill({const_cast<char*>(kZeros), sizeof kZeros});
  for (std::uint64_t done = 0; done < kStepBytes;) {
    const std::size_t first = done / kPageBytes;
    const auto offset = static_cast<off_t>(piece.filled + first * kPageBytes);
    const ssize_t bytes =
        pwritev(piece.file.get(), pages.data() + first, static_cast<int>(kPages - first), offset);
    if (bytes < 0 && errno == EINTR) continue;
    if (bytes <= 0) return fail_errno(kName, "pwritev", bytes < 0 ? errno : ENOSPC);
    done = first * kPageBytes + static_cast<std::uint64_t>(bytes);
  }
  return {};
}

}  // namespace

// All that a caller of fill_step() needs, who may resume after the reserve is gone.
struct LockedMemoryReserve::State {
  State(asio::io_context& io, HostMemory host_memory)
      : kind(host_memory),
        done(io, make_event()),
        idle(io, asio::steady_timer::time_point::max()) {}

  std::uint64_t held() const {
    return std::accumulate(
        pieces.begin(), pieces.end(), std::uint64_t{0},
        [](std::uint64_t sum, const auto& piece) { return sum + piece->filled; });
  }
  bool is_full() const { return held() >= size; }
  std::shared_ptr<Piece> piece_to_fill() const {
    for (const auto& piece : pieces) {
      if (piece->filled < piece->capacity) return piece;
    }
    const std::uint64_t part = (size / kReleaseSteps + kStepBytes - 1) / kStepBytes * kStepBytes;
    return std::make_shared<Piece>(std::max(part, kStepBytes));
  }

  const HostMemory kind;
  std::uint64_t size = 0;
  std::vector<std::shared_ptr<Piece>> pieces;
  // The piece that the thread fills at this moment. The reactor leaves its file alone.
  std::shared_ptr<Piece> under_way;

  // To the thread: either a request, or nothing, which ends it.
  std::counting_semaphore<> woken{0};
  std::atomic<bool> is_requested = false;
  // From the thread.
  Result<void> result;
  WatchedFd done;
  // To those who wait for their turn: cancelled when nothing is under way.
  asio::steady_timer idle;
};

class LockedMemoryReserve::Filler {
 public:
  explicit Filler(std::shared_ptr<State> state)
      : state_(std::move(state)), thread_([shared = state_] { run(*shared); }) {}
  ~Filler() { state_->woken.release(); }

 private:
  static void run(State& state) {
    while (state.woken.acquire(), state.is_requested.exchange(false)) {
      state.result = add_step(*state.under_way, state.kind);
      const std::uint64_t one = 1;
      (void)!write(state.done.get(), &one, sizeof one);  // fails only if the count overflows
    }
  }

  const std::shared_ptr<State> state_;
  SmallThread thread_;
};

namespace {

template <class State>
awaitable<Result<void>> fill(std::shared_ptr<State> state) {
  ErrorCode ignored;
  while (state->under_way) co_await state->idle.async_wait(into(ignored));
  if (state->is_full()) co_return Result<void>{};
  const auto piece = state->piece_to_fill();
  state->under_way = piece;
  state->is_requested = true;
  state->woken.release();
  std::uint64_t count = 0;
  while (read(state->done.get(), &count, sizeof count) < 0) co_await state->done.readable();
  state->under_way.reset();
  state->idle.cancel();
  if (!state->result) co_return std::move(state->result);
  // If the reserve has been released meanwhile, the piece goes with this function.
  const bool is_wanted = !state->is_full();
  piece->filled += kStepBytes;
  const bool is_new = std::ranges::find(state->pieces, piece) == state->pieces.end();
  if (is_new && is_wanted) state->pieces.push_back(piece);
  co_return Result<void>{};
}

}  // namespace

LockedMemoryReserve::LockedMemoryReserve(asio::io_context& io, HostMemory kind)
    : state_(std::make_shared<State>(io, kind)), filler_(std::make_unique<Filler>(state_)) {}

LockedMemoryReserve::~LockedMemoryReserve() = default;

void LockedMemoryReserve::set_size(std::uint64_t bytes) {
  state_->size = bytes;
}

std::uint64_t LockedMemoryReserve::size_bytes() const {
  return state_->size;
}

bool LockedMemoryReserve::is_full() const {
  return state_->is_full();
}

bool LockedMemoryReserve::is_empty() const {
  return state_->held() == 0;
}

awaitable<Result<void>> LockedMemoryReserve::fill_step() {
  return fill(state_);
}

// The piece under way goes last: its file stays open until the kernel has found the memory.
void LockedMemoryReserve::release_step() {
  auto& pieces = state_->pieces;
  const auto idle = std::find_if(pieces.rbegin(), pieces.rend(),
                                 [this](const auto& piece) { return piece != state_->under_way; });
  if (idle != pieces.rend()) {
    pieces.erase(std::next(idle).base());
  } else if (!pieces.empty()) {
    pieces.pop_back();
  }
}

void LockedMemoryReserve::release() {
  state_->pieces.clear();
}

}  // namespace vramswap
