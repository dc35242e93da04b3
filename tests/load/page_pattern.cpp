#include "tests/load/page_pattern.hpp"

namespace vramswap::load {
namespace {

// Odd, so that no word of a page repeats.
constexpr std::uint64_t kStep = 0x9E3779B97F4A7C15;

struct Words {
  std::uint64_t first;
  std::uint64_t step;
};

Words words_of(std::uint64_t page, std::uint32_t version) {
  if (version == 0) return {0, 0};
  std::uint64_t mixed = (page << 32 ^ version) * kStep;
  mixed = (mixed ^ mixed >> 29) * kStep;
  return {mixed ^ mixed >> 32, kStep};
}

}  // namespace

void fill(Page& content, std::uint64_t page, std::uint32_t version) {
  auto [word, step] = words_of(page, version);
  for (auto& slot : content) {
    slot = word;
    word += step;
  }
}

std::size_t count_wrong_words(const Page& content, std::uint64_t page, std::uint32_t version) {
  auto [word, step] = words_of(page, version);
  std::size_t wrong = 0;
  for (const auto slot : content) {
    wrong += slot != word;
    word += step;
  }
  return wrong;
}

}  // namespace vramswap::load
