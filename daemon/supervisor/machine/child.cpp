#include "daemon/supervisor/machine/child.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <cerrno>
#include <string_view>

#include "daemon/base/wait_status.hpp"
#include "daemon/system/program_directories.hpp"

namespace vramswap {
namespace {

constexpr std::chrono::milliseconds kEndLimit{200};

std::string find_program(const std::string& name) {
  if (name.find('/') != name.npos) return name;
  for (const char* directory : kProgramDirectories) {
    std::string path = fmt::format("{}/{}", directory, name);
    if (access(path.c_str(), X_OK) == 0) return path;
  }
  return "";
}

// The supervisor's, with the directories above in the place of its PATH.
std::vector<std::string> environment() {
  constexpr std::string_view kPath = "PATH=";
  std::vector<std::string> variables;
  for (char** variable = environ; variable != nullptr && *variable != nullptr; ++variable) {
    if (!std::string_view(*variable).starts_with(kPath)) variables.emplace_back(*variable);
  }
  variables.push_back(fmt::format("{}{}", kPath, fmt::join(kProgramDirectories, ":")));
  return variables;
}

std::string last_line(std::string_view text) {
  while (text.ends_with('\n')) text.remove_suffix(1);
  return std::string(text.substr(text.rfind('\n') + 1));
}

// What is in the pipe now; the writer has ended.
std::string drain(int fd) {
  std::string text;
  char buffer[512];
  for (ssize_t bytes = 0; (bytes = read(fd, buffer, sizeof buffer)) > 0;) {
    text.append(buffer, static_cast<std::size_t>(bytes));
  }
  return text;
}

}  // namespace

Result<Child> Child::start(asio::io_context& io, const Program& program) {
  auto started = start_program(program);
  if (!started) return started.error();
  return Child(io, *std::move(started));
}

Child::Child(asio::io_context& io, StartedProgram started)
    : pid_(started.pid), pidfd_(std::make_unique<WatchedFd>(io, std::move(started.pidfd))) {}

Child::~Child() {
  if (!pidfd_ || reaped_) return;
  kill();
  // One that waits for its device does not end now, and the reactor must not wait for it. Init
  // reaps it after the supervisor's end.
  (void)wait_for(kEndLimit);
}

void Child::kill() {
  if (!reaped_) ::kill(pid_, SIGKILL);
}

awaitable<Result<int>> Child::wait() {
  if (const ErrorCode error = co_await pidfd_->readable()) {
    co_return errno_error("child", "wait", error.value());
  }
  reaped_ = true;
  co_return reap(pid_);
}

Result<int> Child::wait_for(std::chrono::milliseconds limit) {
  pollfd ended{pidfd_->get(), POLLIN, 0};
  const int events = poll(&ended, 1, static_cast<int>(limit.count()));
  if (events < 0) return fail_errno("child", "poll", errno);
  if (events == 0) return fail_errno("child", "wait", ETIMEDOUT);
  reaped_ = true;
  return reap(pid_);
}

namespace {

struct Pipe {
  UniqueFd read_end;
  UniqueFd write_end;
};

Result<Pipe> make_pipe(const std::string& user) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) return fail_errno(user, "pipe2", errno);
  return Pipe{UniqueFd(ends[0]), UniqueFd(ends[1])};
}

}  // namespace

awaitable<Result<std::string>> read_program(asio::io_context& io,
                                            std::vector<std::string> arguments) {
  auto output = make_pipe(arguments[0]);
  if (!output) co_return output.error();
  auto errors = make_pipe(arguments[0]);
  if (!errors) co_return errors.error();
  const UniqueFd null(open("/dev/null", O_RDWR | O_CLOEXEC));
  Program program{.path = find_program(arguments[0]), .arguments = arguments};
  program.fds = {null.get(), output->write_end.get(), errors->write_end.get()};
  program.environment = environment();
  auto child = Child::start(io, program);
  if (!child && child.error().code == ENOENT) {
    co_return fail(fmt::format("{}: not found: install it, or add it to PATH", arguments[0]));
  }
  if (!child) co_return child.error();
  output->write_end.reset();
  errors->write_end.reset();
  const auto status = co_await child->wait();
  if (!status) co_return status.error();
  if (*status == 0) co_return drain(output->read_end.get());
  const std::string said = last_line(drain(errors->read_end.get()));
  co_return fail(fmt::format("{}: {}{}{}", fmt::join(arguments, " "), describe_wait_status(*status),
                             said.empty() ? "" : ": ", said));
}

awaitable<Result<void>> run_program(asio::io_context& io, std::vector<std::string> arguments) {
  const auto output = co_await read_program(io, std::move(arguments));
  if (!output) co_return output.error();
  co_return Result<void>{};
}

}  // namespace vramswap
