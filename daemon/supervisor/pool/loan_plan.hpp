// Which segment of a card is next to give its VRAM to others, or to take it again.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

namespace vramswap {

// A segment of the card, as far as loans are concerned.
struct LoanSegment {
  enum class Where {
    card,     // its store is in VRAM
    host,     // it was moved to host memory
    nowhere,  // its swap area was given up, and its store
    idle,     // its swap area was given up, and its store is in VRAM still
  } where = Where::card;
  std::uint64_t size_bytes = 0;
  std::uint64_t used_bytes = 0;
  // A step with it has failed: others are tried.
  bool is_excluded = false;
};

struct LoanCard {
  std::vector<LoanSegment> segments;  // in descending priority
  std::uint64_t context_bytes = 0;    // what a context takes, with what is set aside for one
  bool has_context = true;
  // What is to be free; no value: all of it.
  std::optional<std::uint64_t> wanted_bytes = 0;
};

// Of the VRAM that the pool takes when it lends nothing.
std::uint64_t lent_bytes(const LoanCard& card);
// What is wanted and not lent.
std::uint64_t missing_bytes(const LoanCard& card);

struct LoanStep {
  enum class Kind {
    give_up,     // an empty segment: its swap area goes
    move_out,    // a used one: to host memory, or else its swap area goes
    leave_card,  // no segment is there any more: the context goes
    bring_back,  // a segment comes back to VRAM
  } kind;
  std::size_t segment = 0;  // its index; for leave_card: none
};
// Nothing: as much is lent as is wanted, or nothing else can be done. Empty segments go first, for
// that costs nothing, and among the others those of the lowest priority, for they have the fewest
// pages. No segment comes back while that would take what is wanted.
std::optional<LoanStep> next_step(const LoanCard& card);

}  // namespace vramswap
