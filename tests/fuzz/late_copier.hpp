// Copies host memory at the last moment that a Copier may, as a busy GPU does, or at the first.
// Checks that the caller keeps to the order of calls.
#pragma once

#include <array>
#include <cstddef>
#include <cstring>
#include <span>
#include <vector>

#include "daemon/worker/store/store.hpp"
#include "tests/fuzz/fuzz.hpp"

namespace vramswap::fuzz {

class LateCopier final : public Copier {
 public:
  // Copies of this direction are made when they begin.
  void set_early(Direction direction, bool early) { early_[index(direction)] = early; }

  Result<void> begin(Direction direction, unsigned slot, std::span<const Copy> batch) override {
    auto& pending = pending_[index(direction)][slot];
    require(pending.empty(), "the copies before were waited for");
    require(!batch.empty() && batch.size() <= kMaxPages, "a batch is not too long");
    pending.assign(batch.begin(), batch.end());
    done_[index(direction)][slot] = 0;
    if (early_[index(direction)]) copy(direction, slot, batch.size());
    return {};
  }
  Result<void> wait(Direction direction, unsigned slot, std::size_t copies) override {
    auto& pending = pending_[index(direction)][slot];
    require(copies <= pending.size(), "what is waited for has begun");
    copy(direction, slot, copies);
    if (copies == pending.size()) pending.clear();
    return {};
  }
  bool is_idle() const {
    for (const auto& slots : pending_) {
      for (const auto& pending : slots) {
        if (!pending.empty()) return false;
      }
    }
    return true;
  }

 private:
  static std::size_t index(Direction direction) { return static_cast<std::size_t>(direction); }

  void copy(Direction direction, unsigned slot, std::size_t copies) {
    std::size_t& done = done_[index(direction)][slot];
    const auto& pending = pending_[index(direction)][slot];
    for (std::size_t end = copies; done < copies; ++done) {
      // They have no order, so the first copy on the wire is not stored first.
      const Copy& next = pending[direction == Direction::to_host ? done : --end];
      void* stored = reinterpret_cast<void*>(next.address);
      if (direction == Direction::to_host) {
        std::memcpy(next.host, stored, next.bytes);
      } else {
        std::memcpy(stored, next.host, next.bytes);
      }
    }
  }

  std::array<std::array<std::vector<Copy>, kSlots>, 2> pending_;
  std::array<std::array<std::size_t, kSlots>, 2> done_{};
  std::array<bool, 2> early_{};
};

}  // namespace vramswap::fuzz
