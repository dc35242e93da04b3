// A worker for tests. `--unhardened` lets it run without privileges; it must never serve a kernel.
// `--fault-on-sigusr1` is for tests of GPU exceptions.
#include <cstdlib>
#include <string_view>

#include "daemon/worker/process/worker.hpp"
#include "daemon/worker/process/worker_handover.hpp"
#include "tests/load/gpu_fault.hpp"

int main(int argc, char** argv) {
  constexpr int kChannel = 3;
  vramswap::WorkerOptions options;
  options.arguments = {argv[0]};
  int handover_fd = -1;
  for (int i = 1; i < argc; ++i) {
    const std::string_view word = argv[i];
    if (word == "--unhardened") {
      options.hardened = false;
      options.arguments.emplace_back(word);
    } else if (word == "--fault-on-sigusr1") {
      vramswap::load::fault_on_sigusr1();
      options.arguments.emplace_back(word);
    } else if (word == vramswap::kHandoverOption && i + 1 < argc) {
      handover_fd = std::atoi(argv[++i]);
    }
  }
  return vramswap::run_worker(handover_fd < 0 ? kChannel : -1, handover_fd, options);
}
