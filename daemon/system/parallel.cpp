#include "daemon/system/parallel.hpp"

#include <algorithm>
#include <memory>
#include <system_error>
#include <vector>

#include "daemon/system/cpu.hpp"
#include "daemon/system/small_thread.hpp"

namespace vramswap {

unsigned parallel_threads() {
  return std::min(count_allowed_cpus(), 8U);
}

void run_in_parallel(unsigned count, const std::function<void(unsigned)>& work) {
  std::vector<std::unique_ptr<SmallThread>> threads;
  unsigned next = 0;
  try {
    for (; next + 1 < count; ++next) {
      threads.push_back(std::make_unique<SmallThread>([&work, next] { work(next); }));
    }
  } catch (const std::system_error&) {
  }
  for (; next < count; ++next) work(next);
}

}  // namespace vramswap
