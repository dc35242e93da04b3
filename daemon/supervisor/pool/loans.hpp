// Whom VRAM is lent to, and how much.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "daemon/control/protocol.hpp"

namespace vramswap {

class Loans {
 public:
  // Loans add up. Returns the number of this one.
  std::uint64_t add(control::Loan loan);
  // Nothing happens if it has been returned already.
  void remove(std::uint64_t id);
  // Those that no client holds. Returns whether there were any.
  bool remove_unheld();
  // Those that clients hold.
  std::vector<std::uint64_t> held() const;
  void clear() { loans_.clear(); }
  bool empty() const { return loans_.empty(); }

  // In all; no value: everything.
  std::optional<std::uint64_t> wanted_bytes() const;
  std::vector<control::Loan> list() const;
  void restore(const std::vector<control::Loan>& loans);

 private:
  struct Entry {
    std::uint64_t id;
    control::Loan loan;
  };

  std::vector<Entry> loans_;
  std::uint64_t last_id_ = 0;
};

}  // namespace vramswap
