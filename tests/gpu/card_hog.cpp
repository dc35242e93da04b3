// Another program on the card: takes all memory that is free there, prints "full", and holds it
// until it is killed. SIGUSR1: takes memory that has become free, and prints "full" again.
#include <csignal>
#include <cstdint>
#include <cstdio>

#include "cuda/context.hpp"
#include "cuda/vram.hpp"

namespace {

using namespace vramswap::cuda;

int fail(const Error& error) {
  std::fprintf(stderr, "card_hog: %s\n", error.message().c_str());
  return 1;
}

// Descriptors hold it, until the end of the process.
void take_all(const Context& context, std::uint64_t granularity) {
  for (auto bytes = granularity << 12; bytes >= granularity;) {
    if (!VramMemory::create_fd(context, bytes)) bytes /= 2;
  }
  std::puts("full");
  std::fflush(stdout);
}

}  // namespace

int main() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGUSR1);
  sigprocmask(SIG_BLOCK, &signals, nullptr);
  const auto driver = Driver::load();
  if (!driver) return fail(driver.error());
  const auto device = select_device(*driver, "0");
  if (!device) return fail(device.error());
  const auto context = Context::create(*driver, *device);
  if (!context) return fail(context.error());
  const auto granularity = VramMemory::granularity(*context);
  if (!granularity) return fail(granularity.error());
  for (;;) {
    take_all(*context, *granularity);
    int signal = 0;
    sigwait(&signals, &signal);
  }
}
