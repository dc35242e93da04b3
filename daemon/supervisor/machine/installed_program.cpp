#include "daemon/supervisor/machine/installed_program.hpp"

#include <fmt/format.h>
#include <linux/close_range.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>

#include "daemon/control/daemon_arguments.hpp"
#include "daemon/supervisor/machine/child.hpp"
#include "daemon/system/own_program.hpp"

namespace vramswap {

std::string path_of_program(std::string link) {
  constexpr std::string_view kMark = " (deleted)";
  if (link.ends_with(kMark)) link.resize(link.size() - kMark.size());
  return link;
}

InstalledProgram::InstalledProgram(asio::io_context& io, std::vector<std::string> arguments)
    : io_(io),
      arguments_(std::move(arguments)),
      path_(path_of_program(std::filesystem::read_symlink("/proc/self/exe"))) {}

awaitable<Result<void>> InstalledProgram::ask_to_take_over(int handover_version) {
  std::vector<std::string> question{path_, kTakesOverFromOption,
                                    fmt::format("{}", handover_version)};
  co_return co_await run_program(io_, std::move(question));
}

// The arguments of a program that inherits `fds`.
std::vector<std::string> InstalledProgram::prepare(const NamedFds& fds) const {
  // Asio opens its sockets without the flag.
  close_range(STDERR_FILENO + 1, ~0U, CLOSE_RANGE_CLOEXEC);
  std::vector<std::string> arguments{kDaemonArgument0, kInheritOption, pass_on(fds)};
  arguments.insert(arguments.end(), arguments_.begin(), arguments_.end());
  return arguments;
}

// Workers and kernel take it for the death of one supervisor and the start of the next. Should a
// worker die at this moment, too, the memory is still held here.
Error InstalledProgram::become(NamedFds fds) {
  std::vector<std::string> arguments = prepare(fds);
  std::vector<char*> argv;
  for (std::string& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);
  execv(path_.c_str(), argv.data());
  return errno_error(path_, "execv", errno);
}

Error InstalledProgram::become(int program, NamedFds fds) {
  return execute(program, prepare(fds));
}

}  // namespace vramswap
