// `vramswap run`: a command that has VRAM for as long as it runs.
#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <ostream>
#include <thread>

#include "swapctl/commands.hpp"
#include "swapctl/loan_client.hpp"

namespace vramswap::swapctl {
namespace {

namespace po = boost::program_options;

constexpr Help kRunHelp = {.name = "run",
                           .before = R"(Usage: vramswap run [options] [--] COMMAND [ARGUMENT...]

Frees VRAM on each card of the pool, runs COMMAND, and takes the VRAM back when COMMAND has ended.
Without swap it only runs COMMAND. Exit code, signals and terminal are those of COMMAND.

)",
                           .after = R"(
Exit codes:
  that of COMMAND; 126 it cannot be executed, 127 it is not found; before it runs: 1 not all could
  be freed, 2 wrong usage
)"};

constexpr int kCannotExecute = 126;
constexpr int kNotFound = 127;
// While a supervisor that has died is replaced.
constexpr std::chrono::milliseconds kAskAgainAfter{1000};

struct Options {
  control::LendRequest request{.is_held = true};
  bool goes_on = false;
  Arguments command;
};

// Options end at the first argument that is none.
std::size_t count_options(const Arguments& arguments) {
  std::size_t count = 0;
  while (count < arguments.size() && arguments[count].starts_with('-') &&
         arguments[count] != "--") {
    const bool takes_value = arguments[count] == "--vram" || arguments[count] == "--wait";
    count += takes_value ? 2 : 1;
  }
  return std::min(count, arguments.size());
}

// SIGTERM and SIGHUP go to the command; the terminal sends SIGINT and SIGQUIT to both.
class Signals {
 public:
  Signals() {
    sigset_t signals;
    sigemptyset(&signals);
    for (const int number : {SIGTERM, SIGHUP, SIGINT, SIGQUIT}) sigaddset(&signals, number);
    pthread_sigmask(SIG_BLOCK, &signals, &before_);
    sigset_t passed_on;
    sigemptyset(&passed_on);
    sigaddset(&passed_on, SIGTERM);
    sigaddset(&passed_on, SIGHUP);
    fd_ = UniqueFd(signalfd(-1, &passed_on, SFD_CLOEXEC | SFD_NONBLOCK));
  }
  Signals(const Signals&) = delete;

  int fd() const { return fd_.get(); }
  void restore() const { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  void pass_on_to(pid_t child) const {
    signalfd_siginfo received;
    while (read(fd_.get(), &received, sizeof received) == sizeof received) {
      kill(child, static_cast<int>(received.ssi_signo));
    }
  }

 private:
  sigset_t before_;
  UniqueFd fd_;
};

// The child's process id; it tells through a pipe that closes at exec why it could not execute.
Result<pid_t> start(const Arguments& command, const Signals& signals) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return fail_errno("run", "pipe2", errno);
  const UniqueFd read_end(ends[0]);
  UniqueFd write_end(ends[1]);
  std::vector<char*> words;
  for (const std::string& word : command) words.push_back(const_cast<char*>(word.c_str()));
  words.push_back(nullptr);
  const pid_t child = fork();
  if (child < 0) return fail_errno("run", "fork", errno);
  if (child == 0) {
    signals.restore();
    execvp(words[0], words.data());
    const int error = errno;
    (void)!write(write_end.get(), &error, sizeof error);
    _exit(kCannotExecute);
  }
  write_end.reset();
  int error = 0;
  if (read(read_end.get(), &error, sizeof error) == sizeof error) {
    waitpid(child, nullptr, 0);
    return fail_errno(command.front(), "execute", error);
  }
  return child;
}

// The daemon has ended, and the loan with it: the next one is asked for the same. It may be a
// moment until that one is there.
void ask_again(std::optional<ControlClient>& client, const control::LendRequest& request,
               const Environment& environment) {
  auto next = ControlClient::connect(environment.socket);
  if (!next || !next->send(request)) return;
  client = *std::move(next);
}

// Returns the command's wait status.
Result<int> wait_for(pid_t child, std::optional<ControlClient>& client,
                     const control::LendRequest& request, const Signals& signals,
                     const Environment& environment) {
  const bool is_lent = client.has_value();
  const UniqueFd ended(static_cast<int>(syscall(SYS_pidfd_open, child, 0)));
  if (!ended) return fail_errno("run", "pidfd_open", errno);
  for (;;) {
    pollfd waits[] = {{ended.get(), POLLIN, 0},
                      {signals.fd(), POLLIN, 0},
                      {client ? client->fd() : -1, POLLIN, 0}};
    const bool asks_again = is_lent && !client;
    const int timeout = asks_again ? static_cast<int>(kAskAgainAfter.count()) : -1;
    if (poll(waits, std::size(waits), timeout) < 0 && errno != EINTR) {
      return fail_errno("run", "poll", errno);
    }
    if (waits[1].revents != 0) signals.pass_on_to(child);
    if (waits[0].revents != 0) {
      int status = 0;
      if (waitpid(child, &status, 0) < 0) return fail_errno("run", "waitpid", errno);
      return status;
    }
    if (asks_again) ask_again(client, request, environment);
    if (waits[2].revents != 0 && !client->next()) client.reset();
  }
}

// As if this process were the command.
int end_as(int status, const Signals& signals) {
  if (!WIFSIGNALED(status)) return WEXITSTATUS(status);
  const int number = WTERMSIG(status);
  std::signal(number, SIG_DFL);
  signals.restore();
  std::raise(number);
  return 128 + number;  // a signal that does not end this process
}

std::expected<Options, ExitCode> read_run_options(const Arguments& arguments,
                                                  const Environment& environment) {
  Options read;
  std::string vram;
  bool all = false;
  po::options_description options("Options");
  options.add_options()("vram", po::value<std::string>(&vram)->value_name("SIZE"),
                        "how much on each card")("all", po::bool_switch(&all),
                                                 "all VRAM of the pool (default)")(
      "wait", wait_option(read.request.wait), "begin to free nothing more after this long")(
      "or-go-on", po::bool_switch(&read.goes_on), "run COMMAND even if not all could be freed");
  const std::size_t count = count_options(arguments);
  const auto end = arguments.begin() + static_cast<std::ptrdiff_t>(count);
  const auto values = read_options({arguments.begin(), end}, options, kRunHelp, environment);
  if (!values) return std::unexpected(values.error());
  read.command.assign(end, arguments.end());
  if (!read.command.empty() && read.command.front() == "--") {
    read.command.erase(read.command.begin());
  }
  const auto refuse = [&](const Error& error) {
    return std::unexpected(report(environment, error, kWrongUsage));
  };
  if (read.command.empty()) return refuse({"run: say which command (see vramswap run --help)"});
  if (all && !vram.empty()) return refuse({"run: --vram and --all exclude each other"});
  if (!vram.empty()) {
    const auto bytes = control::parse_byte_size(vram);
    if (!bytes) return refuse(bytes.error());
    read.request.bytes = *bytes;
  }
  read.request.purpose = read.command.front();
  return read;
}

// An error: not all could be freed, or the daemon refused.
Result<void> take_loan(std::optional<ControlClient>& held, const control::LendRequest& request,
                       const Environment& environment) {
  auto client = connect_to_swap(environment);
  if (!client && no_daemon(client.error())) return {};
  if (!client) return client.error();
  const auto lent = borrow(*client, request, environment);
  if (!lent) return lent.error();
  held = *std::move(client);
  if (lent->missing_bytes > 0) return shortage(*lent);
  return {};
}

}  // namespace

int run_command(const Arguments& arguments, const Environment& environment) {
  const auto options = read_run_options(arguments, environment);
  if (!options) return options.error();
  std::optional<ControlClient> client;
  if (const auto taken = take_loan(client, options->request, environment); !taken) {
    const bool goes_on = options->goes_on && taken.error().code != EINTR;
    report(environment, taken.error(), kFailed);
    if (!goes_on) return kFailed;
  }
  const Signals signals;
  const auto child = start(options->command, signals);
  if (!child) {
    report(environment, child.error(), kFailed);
    return child.error().code == ENOENT ? kNotFound : kCannotExecute;
  }
  const auto status = wait_for(*child, client, options->request, signals, environment);
  if (!status) return report(environment, status.error(), kFailed);
  client.reset();
  return end_as(*status, signals);
}

}  // namespace vramswap::swapctl
