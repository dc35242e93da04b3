// Code that the fuzz targets share. Each defines LLVMFuzzerTestOneInput: libFuzzer calls it with
// inputs that it makes up, replay_main.cpp with those of the corpus.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <span>
#include <string>
#include <string_view>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace vramswap::fuzz {

// A condition that must hold for every input. A fuzzer reports the abort as a finding.
inline void require(bool holds, std::string_view what, std::string_view detail = {}) {
  if (holds) return;
  const std::string text = "does not hold: " + std::string(what) + " " + std::string(detail) + "\n";
  std::fputs(text.c_str(), stderr);
  std::abort();
}

inline std::string_view as_text(const std::uint8_t* data, std::size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}

// Takes an input apart. Behind its end there are zeros.
class Reader {
 public:
  explicit Reader(std::span<const std::uint8_t> bytes) : bytes_(bytes) {}

  bool is_empty() const { return bytes_.empty(); }
  std::uint8_t byte() {
    if (bytes_.empty()) return 0;
    const std::uint8_t value = bytes_.front();
    bytes_ = bytes_.subspan(1);
    return value;
  }
  template <class Integer>
  Integer integer() {
    std::uint64_t value = 0;
    for (std::size_t i = 0; i < sizeof(Integer); ++i) value = value << 8 | byte();
    return static_cast<Integer>(value);
  }
  // At most `count`, and fewer at the end of the input.
  std::span<const std::uint8_t> bytes(std::size_t count) {
    const auto taken = bytes_.first(count < bytes_.size() ? count : bytes_.size());
    bytes_ = bytes_.subspan(taken.size());
    return taken;
  }

 private:
  std::span<const std::uint8_t> bytes_;
};

}  // namespace vramswap::fuzz
