// A worker for tests. `--unhardened` lets it run without privileges; it must never serve a kernel.
#include <cstring>

#include "daemon/worker/worker.hpp"

int main(int argc, char** argv) {
  constexpr int kChannel = 3;
  vramswap::WorkerOptions options;
  if (argc > 1 && std::strcmp(argv[1], "--unhardened") == 0) options.hardened = false;
  return vramswap::run_worker(kChannel, options);
}
