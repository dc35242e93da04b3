#include <unistd.h>

#include <csignal>
#include <iostream>
#include <span>

#include "swapctl/bench/bench.hpp"
#include "swapctl/daemon_start.hpp"
#include "swapctl/doctor/doctor.hpp"
#include "swapctl/run.hpp"

int main(int argc, char** argv) {
  using namespace vramswap::swapctl;
  // A caller may have left it ignored; then no child of ours could be waited for.
  std::signal(SIGCHLD, SIG_DFL);
  const Environment environment{
      .out = std::cout,
      .err = std::cerr,
      .err_is_terminal = isatty(STDERR_FILENO) == 1,
      .out_is_terminal = isatty(STDOUT_FILENO) == 1,
      .is_root = geteuid() == 0,
      .start_daemon = [](const auto& socket) { return start_daemon(socket); },
      .start_scratch_daemon =
          [](const auto& socket) {
            return start_daemon(socket, {.purpose = vramswap::Purpose::scratch});
          }};
  auto commands = swap_commands();
  commands.push_back(bench_command());
  commands.push_back(doctor_command());
  const std::span<const char* const> arguments(argv, static_cast<std::size_t>(argc));
  return run(arguments.subspan(arguments.empty() ? 0 : 1), commands, environment);
}
