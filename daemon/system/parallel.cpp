#include "daemon/system/parallel.hpp"

#include <algorithm>
#include <memory>
#include <system_error>
#include <utility>
#include <vector>

#include "daemon/system/cpu.hpp"
#include "daemon/system/small_thread.hpp"

namespace vramswap {
namespace {

// Nothing where there is no thread to be had.
std::unique_ptr<SmallThread> start(const std::function<void(unsigned)>& work, unsigned number) {
  try {
    return std::make_unique<SmallThread>([&work, number] { work(number); });
  } catch (const std::system_error&) {
    return nullptr;
  }
}

}  // namespace

unsigned parallel_threads() {
  return std::min(count_allowed_cpus(), 8U);
}

void run_in_parallel(unsigned count, const std::function<void(unsigned)>& work) {
  std::vector<std::unique_ptr<SmallThread>> threads;
  unsigned next = 0;
  for (; next + 1 < count; ++next) {
    auto thread = start(work, next);
    if (!thread) break;
    threads.push_back(std::move(thread));
  }
  for (; next < count; ++next) work(next);
}

}  // namespace vramswap
