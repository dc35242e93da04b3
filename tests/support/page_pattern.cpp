#include "tests/support/page_pattern.hpp"

// Vector code where the processor has it. The runtimes of sanitizers are not there yet when the
// loader picks the clone.
#if defined(__x86_64__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define VRAMSWAP_VECTOR_CLONES __attribute__((target_clones("avx2", "default")))
#else
#define VRAMSWAP_VECTOR_CLONES
#endif

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

VRAMSWAP_VECTOR_CLONES
void fill_words(std::uint64_t* slots, std::uint64_t word, std::uint64_t step) {
  for (std::size_t i = 0; i < std::tuple_size_v<Page>; ++i) {
    slots[i] = word;
    word += step;
  }
}

// 0: no word differs.
VRAMSWAP_VECTOR_CLONES
std::uint64_t differing_bits(const std::uint64_t* slots, std::uint64_t word, std::uint64_t step) {
  std::uint64_t differing = 0;
  for (std::size_t i = 0; i < std::tuple_size_v<Page>; ++i) {
    differing |= slots[i] ^ word;
    word += step;
  }
  return differing;
}

}  // namespace

void fill(Page& content, std::uint64_t page, std::uint32_t version) {
  const auto [word, step] = words_of(page, version);
  fill_words(content.data(), word, step);
}

std::size_t count_wrong_words(const Page& content, std::uint64_t page, std::uint32_t version) {
  auto [word, step] = words_of(page, version);
  if (differing_bits(content.data(), word, step) == 0) return 0;
  std::size_t wrong = 0;
  for (const auto slot : content) {
    wrong += slot != word;
    word += step;
  }
  return wrong;
}

}  // namespace vramswap::load
