// The files of /proc, as any text.
#include <algorithm>

#include "daemon/system/proc.hpp"
#include "tests/fuzz/memory_file.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace vramswap;
  using fuzz::require;
  static fuzz::MemoryFile file;
  const auto text = fuzz::as_text(data, size);
  file.set(text);
  const auto path = file.path();

  const auto read = read_file(path);
  require(read && *read == text, "a file is read as it was written");
  (void)read_memory_info(path);
  (void)read_locked_bytes(path);
  (void)read_resident_bytes(path);
  (void)parse_thread_stat(text);
  if (const auto areas = read_swap_areas(path)) {
    const auto lines = static_cast<std::size_t>(std::ranges::count(text, '\n'));
    require(areas->size() <= lines, "a swap area has a line below the heading");
    for (const SwapArea& area : *areas) require(!area.path.empty(), "a swap area has a path");
  }
  return 0;
}
