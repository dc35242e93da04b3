#include "tests/load/worker_process.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <thread>

#include "daemon/handover/channel.hpp"
#include "daemon/handover/worker_socket.hpp"
#include "daemon/system/hardening.hpp"
#include "tests/support/kernel_peer.hpp"

namespace vramswap::load {
namespace {

constexpr int kChannelFd = 3;
// A context on a busy machine, or the scrub of a large store.
constexpr std::chrono::milliseconds kAnswerTimeout{60'000};

Result<void> expect_done(const Result<WorkerProcess::Answer>& answer) {
  if (!answer) return answer.error();
  if (const auto* failed = std::get_if<messages::Failed>(&answer->message)) {
    return fail(failed->message);
  }
  if (!std::holds_alternative<messages::Done>(answer->message)) return fail("not the answer Done");
  return {};
}

}  // namespace

std::string why_not_hardened() {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return "pipe2 failed";
  const UniqueFd read_end(ends[0]);
  UniqueFd write_end(ends[1]);
  // In a child, because its effects cannot be undone.
  const pid_t child = fork();
  if (child == 0) {
    auto result = harden_process();
    if (result) result = make_realtime("I/O thread");
    if (!result) {
      (void)!write(write_end.get(), result.error().message.data(), result.error().message.size());
    }
    _exit(0);
  }
  write_end.reset();
  char reason[1024];
  const ssize_t bytes = read(read_end.get(), reason, sizeof reason);
  waitpid(child, nullptr, 0);
  return std::string(reason, static_cast<std::size_t>(std::max<ssize_t>(bytes, 0)));
}

Result<WorkerProcess> WorkerProcess::spawn(const std::vector<std::string>& command) {
  auto channel = make_channel();
  if (!channel) return channel.error();
  std::vector<char*> arguments;
  for (const auto& argument : command) arguments.push_back(const_cast<char*>(argument.c_str()));
  arguments.push_back(nullptr);

  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, channel->second.get(), kChannelFd);
  pid_t pid = -1;
  const int error = posix_spawn(&pid, arguments[0], &actions, nullptr, arguments.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (error != 0) return fail_errno(command[0], "posix_spawn", error);
  return WorkerProcess(pid, std::move(channel->first));
}

WorkerProcess::WorkerProcess(WorkerProcess&& other) noexcept
    : ended(std::move(other.ended)),
      context_reserve(std::move(other.context_reserve)),
      pid_(std::exchange(other.pid_, -1)),
      channel_(std::move(other.channel_)) {}

WorkerProcess& WorkerProcess::operator=(WorkerProcess&& other) noexcept {
  std::swap(ended, other.ended);
  std::swap(context_reserve, other.context_reserve);
  std::swap(pid_, other.pid_);
  std::swap(channel_, other.channel_);
  return *this;
}

WorkerProcess::~WorkerProcess() {
  kill();
}

void WorkerProcess::kill() {
  if (pid_ < 0) return;
  ::kill(pid_, SIGKILL);
  waitpid(pid_, nullptr, 0);
  pid_ = -1;
}

std::optional<int> WorkerProcess::wait(std::chrono::milliseconds timeout) {
  const auto deadline = std::chrono::steady_clock::now() + timeout;
  for (;;) {
    int status = 0;
    if (waitpid(pid_, &status, WNOHANG) == pid_) {
      pid_ = -1;
      return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
    }
    if (std::chrono::steady_clock::now() >= deadline) return std::nullopt;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
}

Result<WorkerProcess::Answer> WorkerProcess::ask(const messages::Request& request,
                                                 std::vector<int> fds) {
  return ask_raw(messages::encode(request), std::move(fds));
}

Result<WorkerProcess::Answer> WorkerProcess::ask_raw(std::string_view text, std::vector<int> fds) {
  // A worker that has ended already may have said why.
  const auto sent = send_packet(channel_.get(), text, fds);
  for (;;) {
    pollfd wait{channel_.get(), POLLIN, 0};
    if (poll(&wait, 1, static_cast<int>(kAnswerTimeout.count())) <= 0) {
      return fail("worker: no answer");
    }
    auto answer = receive();
    if (!answer) return sent ? std::unexpected(answer.error()) : std::unexpected(sent.error());
    if (*answer) return **std::move(answer);
  }
}

Result<std::optional<WorkerProcess::Answer>> WorkerProcess::receive() {
  auto packet = receive_packet(channel_.get());
  if (!packet) return packet.error();
  if (!*packet) return fail("worker: closed the channel");
  const auto message = messages::decode_message((*packet)->text);
  if (!message) return message.error();
  if (const auto* end = std::get_if<messages::ConnectionEnded>(&*message)) {
    ended.push_back(*end);
    return std::nullopt;
  }
  if (const auto* changed = std::get_if<messages::StateChanged>(&*message)) {
    state = changed->state;
    return std::nullopt;
  }
  if (std::holds_alternative<messages::ContextReserve>(*message)) {
    auto& fds = (*packet)->fds;
    context_reserve = fds.empty() ? UniqueFd() : std::move(fds.front());
    return std::nullopt;
  }
  if (std::holds_alternative<messages::LostPagesChanged>(*message)) {
    ++lost_pages_changes;
    return std::nullopt;
  }
  return Answer{*message, std::move((*packet)->fds)};
}

bool WorkerProcess::wait_for_state(WorkerState wanted, std::chrono::milliseconds timeout) {
  const auto deadline = std::chrono::steady_clock::now() + timeout;
  for (;;) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
        deadline - std::chrono::steady_clock::now());
    pollfd wait{channel_.get(), POLLIN, 0};
    // Reads the waiting messages first: only the last one counts.
    const int ready = poll(
        &wait, 1, state == wanted ? 0 : static_cast<int>(std::max<std::int64_t>(left.count(), 0)));
    if (ready <= 0) return state == wanted;
    if (const auto answer = receive(); !answer || *answer) return false;
  }
}

Result<void> WorkerProcess::reattach(const std::string& path) {
  auto connection = worker_socket::connect(path);
  if (!connection) return connection.error();
  if (connection->worker != pid_) {
    return fail(fmt::format("process {} listens, not {}", connection->worker, pid_));
  }
  channel_ = std::move(connection->channel);
  return {};
}

Result<StoreDeviceInfo> WorkerProcess::start(control::Backend backend, const std::string& gpu,
                                             unsigned threads) {
  return start(messages::Start{.backend = backend, .gpu = gpu, .io_threads = threads});
}

Result<StoreDeviceInfo> WorkerProcess::start(const messages::Start& start, std::vector<int> fds) {
  const auto answer = ask(start, std::move(fds));
  if (!answer) return answer.error();
  if (const auto* started = std::get_if<messages::Started>(&answer->message)) {
    return started->device;
  }
  if (const auto* failed = std::get_if<messages::Failed>(&answer->message)) {
    return fail(failed->message);
  }
  return fail("not the answer Started");
}

Result<UniqueFd> WorkerProcess::create(std::uint32_t segment, std::uint64_t size_bytes,
                                       int page_map) {
  auto answer = ask(messages::Create{.segment = segment, .size_bytes = size_bytes}, {page_map});
  if (auto done = expect_done(answer); !done) return done.error();
  if (answer->fds.size() != 1) return fail("no store descriptor with Done");
  return std::move(answer->fds[0]);
}

Result<void> WorkerProcess::import(std::uint32_t segment, std::uint64_t size_bytes, int page_map,
                                   int store) {
  return expect_done(
      ask(messages::Import{.segment = segment, .size_bytes = size_bytes}, {page_map, store}));
}

Result<std::vector<UniqueFd>> WorkerProcess::connect(std::uint32_t segment, unsigned count) {
  std::vector<UniqueFd> ours;
  std::vector<UniqueFd> theirs;
  std::vector<int> fds;
  messages::Connect request{.segment = segment, .connections = {}};
  for (unsigned thread = 0; thread < count; ++thread) {
    auto [our_end, their_end] = make_connection();
    fds.push_back(their_end.get());
    ours.push_back(std::move(our_end));
    theirs.push_back(std::move(their_end));
    request.connections.push_back({++last_connection_, thread});
  }
  if (auto done = expect_done(ask(request, fds)); !done) return done.error();
  return ours;
}

Result<void> WorkerProcess::remove(std::uint32_t segment) {
  return expect_done(ask(messages::Remove{.segment = segment}));
}

Result<void> WorkerProcess::describe(const std::string& text) {
  return expect_done(ask(messages::Describe{text}));
}

Result<messages::Adopted> WorkerProcess::adopt() {
  const auto answer = ask(messages::Adopt{});
  if (!answer) return answer.error();
  if (const auto* adopted = std::get_if<messages::Adopted>(&answer->message)) return *adopted;
  return fail("not the answer Adopted");
}

Result<std::vector<UniqueFd>> WorkerProcess::hand_over(std::uint32_t segment) {
  auto answer = ask(messages::HandOver{.segment = segment});
  if (auto done = expect_done(answer); !done) return done.error();
  if (answer->fds.size() != 2) return fail("not two descriptors with Done");
  return std::move(answer->fds);
}

Result<control::IoStats> WorkerProcess::stats() {
  const auto answer = ask(messages::ReportStats{});
  if (!answer) return answer.error();
  if (const auto* stats = std::get_if<messages::Stats>(&answer->message)) return stats->io;
  return fail("not the answer Stats");
}

Result<void> WorkerProcess::replace(const std::string& program) {
  return expect_done(ask(messages::Replace{program}));
}

}  // namespace vramswap::load
