// `vramswap run`: a command that has VRAM for as long as it runs.
#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <optional>
#include <ostream>

#include "swapctl/commands.hpp"
#include "swapctl/loan_client.hpp"

namespace vramswap::swapctl {
namespace {

namespace po = boost::program_options;

constexpr Help kRunHelp = {.name = "run",
                           .before = R"(Usage: vramswap run [options] [--] COMMAND [ARGUMENT...]

Frees VRAM on each card of the pool, runs COMMAND, and takes the VRAM back when COMMAND has ended.
Where no swap is on VRAM, it only runs COMMAND. Exit code, signals and terminal are those of
COMMAND. Needs root, or a group that lend-group names; see vramswap.conf(5).

)",
                           .after = R"(
Exit codes:
  those of COMMAND; before it runs: 0 help was shown, 1 failed or not all could be freed, 2
  wrong usage, 126 COMMAND cannot be executed, 127 COMMAND is not found
)"};

constexpr int kCannotExecute = 126;
constexpr int kNotFound = 127;
// A supervisor that has died is replaced meanwhile.
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

// While it lives, this process passes on to the command what is sent to this process alone. The
// terminal sends SIGINT and SIGQUIT to both.
class Signals {
 public:
  Signals() {
    sigset_t signals;
    sigemptyset(&signals);
    for (const int number : {SIGTERM, SIGHUP, SIGINT, SIGQUIT}) sigaddset(&signals, number);
    pthread_sigmask(SIG_BLOCK, &signals, &before_);
    fd_ = UniqueFd(signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK));
  }
  Signals(const Signals&) = delete;
  ~Signals() {
    // A signal that is still pending when the mask is removed would kill this process.
    while (next()) {
    }
    restore();
  }

  int fd() const { return fd_.get(); }
  void restore() const { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  void pass_on_to(pid_t child) const {
    while (const auto received = next()) {
      const int number = static_cast<int>(received->ssi_signo);
      const bool is_of_terminal =
          received->ssi_code == SI_KERNEL && (number == SIGINT || number == SIGQUIT);
      if (!is_of_terminal) kill(child, number);
    }
  }

 private:
  std::optional<signalfd_siginfo> next() const {
    signalfd_siginfo received;
    if (read(fd_.get(), &received, sizeof received) != sizeof received) return std::nullopt;
    return received;
  }

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

// What a daemon lends to the command, for as long as the connection is open.
class HeldLoan {
 public:
  HeldLoan(const control::LendRequest& request, const Environment& environment)
      : request_(request), environment_(environment) {}

  // An error: not all could be freed, or the daemon refused.
  Result<void> take() {
    auto client = connect_to_swap(environment_);
    if (!client && no_daemon(client.error())) return {};
    if (!client) return client.error();
    const auto lent = borrow(*client, request_, environment_);
    const bool nothing_there = lent && lent->freed_bytes == 0 && lent->missing_bytes == 0;
    if (nothing_there) return {};
    is_wanted_ = lent || lent.error().code == ECONNRESET;
    if (!lent) return lent.error();
    client_ = *std::move(client);
    if (lent->missing_bytes > 0) return shortage(*lent);
    return {};
  }
  void give_back() { client_.reset(); }

  // Becomes readable when the daemon answers or ends; -1: there is no connection.
  int fd() const { return client_ ? client_->fd() : -1; }
  // If the daemon ends, the loan ends with it.
  void receive() {
    const auto reply = client_->next();
    if (!reply || std::holds_alternative<control::Failure>(*reply)) client_.reset();
  }

  // The next daemon is to be asked for the same.
  bool is_missing() const { return is_wanted_ && !client_; }
  void ask_again() {
    auto next = ControlClient::connect(environment_.socket);
    if (next && next->send(request_)) client_ = *std::move(next);
  }

 private:
  const control::LendRequest& request_;
  const Environment& environment_;
  std::optional<ControlClient> client_;
  bool is_wanted_ = false;
};

// Returns the command's wait status.
Result<int> wait_for(pid_t child, HeldLoan& loan, const Signals& signals) {
  const UniqueFd ended(static_cast<int>(syscall(SYS_pidfd_open, child, 0)));
  if (!ended) return fail_errno("run", "pidfd_open", errno);
  for (;;) {
    pollfd waits[] = {{ended.get(), POLLIN, 0}, {signals.fd(), POLLIN, 0}, {loan.fd(), POLLIN, 0}};
    const bool asks_again = loan.is_missing();
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
    if (waits[2].revents != 0) loan.receive();
    if (asks_again) loan.ask_again();
  }
}

// As if this process were the command.
int end_as(int status) {
  if (!WIFSIGNALED(status)) return WEXITSTATUS(status);
  const int number = WTERMSIG(status);
  prctl(PR_SET_DUMPABLE, 0);  // the command has made its core dump
  std::signal(number, SIG_DFL);
  std::raise(number);
  return 128 + number;  // a signal that does not end this process
}

std::expected<Options, ExitCode> read_run_options(const Arguments& arguments,
                                                  const Environment& environment) {
  Options read;
  bool all = false;
  const auto set_bytes = [&read](const std::string& text) {
    const auto bytes = control::parse_byte_size(text);
    if (!bytes) throw po::error("vram: " + bytes.error().message);
    read.request.bytes = *bytes;
  };
  po::options_description options("Options");
  options.add_options()("vram", po::value<std::string>()->value_name("SIZE")->notifier(set_bytes),
                        "free this much on each card")("all", po::bool_switch(&all),
                                                       "free all VRAM of the pool (default)")(
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
  if (all && read.request.bytes) return refuse({"run: --vram and --all exclude each other"});
  // What is not UTF-8 takes three bytes for one in the message.
  read.request.purpose = read.command.front().substr(0, control::kMaxPurposeBytes / 3);
  return read;
}

}  // namespace

int run_command(const Arguments& arguments, const Environment& environment) {
  const auto options = read_run_options(arguments, environment);
  if (!options) return options.error();
  HeldLoan loan(options->request, environment);
  if (const auto taken = loan.take(); !taken) {
    const bool goes_on = options->goes_on && taken.error().code != EINTR;
    report(environment, taken.error(), kFailed);
    if (!goes_on) return kFailed;
  }
  Result<int> status = 0;
  {
    const Signals signals;
    const auto child = start(options->command, signals);
    if (!child) {
      report(environment, child.error(), kFailed);
      return child.error().code == ENOENT ? kNotFound : kCannotExecute;
    }
    status = wait_for(*child, loan, signals);
  }
  if (!status) return report(environment, status.error(), kFailed);
  loan.give_back();
  return end_as(*status);
}

}  // namespace vramswap::swapctl
