#include "daemon/worker/process/worker_handover.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <set>
#include <string_view>

#include "daemon/handover/channel.hpp"
#include "daemon/system/own_program.hpp"
#include "daemon/system/proc.hpp"

namespace vramswap {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

UniqueFd memory_with(std::string_view text) {
  UniqueFd fd(memfd_create("vramswap-test", MFD_CLOEXEC));
  EXPECT_EQ(write(fd.get(), text.data(), text.size()), static_cast<ssize_t>(text.size()));
  return fd;
}

// The content behind a descriptor, or "none".
std::string content(const UniqueFd& fd) {
  if (!fd) return "none";
  char text[100] = {};
  const ssize_t bytes = pread(fd.get(), text, sizeof text, 0);
  const bool inherited = (fcntl(fd.get(), F_GETFD) & FD_CLOEXEC) == 0;
  return (bytes < 0 ? "?" : text) + std::string(inherited ? " (not close-on-exec)" : "");
}

std::string describe(const WorkerHandover& handover) {
  const auto& start = handover.start;
  std::string text = fmt::format(
      "{} {} {} {} {} {} {} {} [{}] {} {} {} listener: {}, copy notes: {}, context reserve: {}\n",
      to_string(handover.state), handover.owes_answer, to_string(start.backend), start.gpu,
      start.io_threads, start.rendezvous, start.doze_after.count(), start.hang_timeout.count(),
      handover.description, handover.began_at.count(), handover.stats.errors,
      handover.stats.batches, content(handover.listener), content(handover.copy_notes),
      content(handover.context_reserve));
  text += fmt::format("driver {}: {}, page kernel: {}\n", handover.driver.path,
                      content(handover.driver.library), content(handover.driver.page_kernel));
  for (const auto& segment : handover.segments) {
    text += fmt::format("segment {}: {} bytes, pages: {}, store: {}, awaits: {}\n", segment.id,
                        segment.size_bytes, content(segment.page_map), content(segment.store),
                        segment.awaits_reconnect);
    for (const auto& connection : segment.connections) {
      text += fmt::format("connection {} of thread {}: {}\n", connection.id, connection.thread,
                          content(connection.socket));
    }
  }
  return text;
}

std::set<int> open_descriptors() {
  std::set<int> numbers;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    numbers.insert(std::atoi(entry.path().filename().c_str()));
  }
  std::erase_if(numbers, [](int fd) { return fcntl(fd, F_GETFD) < 0; });  // the iterator's
  return numbers;
}

std::set<int> descriptors_of(const WorkerHandover& handover) {
  const auto& driver = handover.driver;
  std::set<int> numbers{0,
                        1,
                        2,
                        handover.channel.get(),
                        handover.listener.get(),
                        handover.copy_notes.get(),
                        handover.context_reserve.get(),
                        driver.library.get(),
                        driver.page_kernel.get()};
  for (const auto& segment : handover.segments) {
    numbers.insert({segment.page_map.get(), segment.store.get()});
    for (const auto& connection : segment.connections) numbers.insert(connection.socket.get());
  }
  numbers.erase(-1);
  return numbers;
}

// The program that a worker hands over to is this one: it says over the handover's channel what it
// got, and ends before any test begins.
std::string received_by_the_other_program(int fd) {
  const auto handover = read_handover(UniqueFd(fd));
  if (!handover) return handover.error().message;
  const bool exactly_those = open_descriptors() == descriptors_of(*handover);
  const std::string text = describe(*handover) + content(handover->channel) +
                           (exactly_those ? "" : "others are open, too");
  return send_packet(handover->channel.get(), text) ? "" : "cannot send";
}

const bool kIsTheOtherProgram = [] {
  const auto words = read_file("/proc/self/cmdline");
  if (!words) return false;
  const std::string option = kHandoverOption + std::string(1, '\0');
  const auto at = words->find(option);
  if (at == std::string::npos) return false;
  const auto problem = received_by_the_other_program(std::atoi(&(*words)[at + option.size()]));
  if (!problem.empty()) fmt::print(stderr, "{}\n", problem);
  _exit(words->starts_with("worker") && problem.empty() ? 0 : 1);
}();

WorkerHandover some_handover() {
  WorkerHandover handover{.state = WorkerState::waking,
                          .owes_answer = true,
                          .start = {.backend = control::Backend::ram,
                                    .gpu = "GPU-\"1\"",
                                    .io_threads = 3,
                                    .rendezvous = "/run/vramswap/worker-0",
                                    .doze_after = std::chrono::seconds(61),
                                    .hang_timeout = std::chrono::seconds(11)},
                          .description = "{\"a\": \"\\\"\n\"}",
                          .began_at = std::chrono::nanoseconds(123456789),
                          .stats = {.counted_for = {}, .errors = 3, .batches = 17},
                          .driver = {.path = "/lib/libcuda.so.1",
                                     .library = memory_with("a library"),
                                     .page_kernel = memory_with("a page kernel")},
                          .channel = {},
                          .listener = memory_with("a listener"),
                          .copy_notes = memory_with("copy notes"),
                          .context_reserve = memory_with("a reserve"),
                          .segments = {}};
  WorkerHandover::Segment first{.id = 7,
                                .size_bytes = 1ULL << 40,
                                .page_map = memory_with("pages of 7"),
                                .store = memory_with("store of 7"),
                                .awaits_reconnect = true,
                                .connections = {}};
  first.connections.push_back({11, 0, memory_with("socket 11")});
  first.connections.push_back({12, 2, memory_with("socket 12")});
  handover.segments.push_back(std::move(first));
  handover.segments.push_back({.id = 8,
                               .size_bytes = 4096,
                               .page_map = memory_with("pages of 8"),
                               .store = memory_with("store of 8"),
                               .awaits_reconnect = false,
                               .connections = {}});
  return handover;
}

// What the program that replaces a child process says about the handover.
std::string after_exec(WorkerHandover handover) {
  auto [ours, theirs] = make_channel().value();
  handover.channel = std::move(theirs);
  const pid_t child = fork();
  if (child == 0) {
    ours.reset();
    // Must be closed, although it is not marked close-on-exec.
    dup2(STDERR_FILENO, 200);
    (void)exec_with_handover(handover, own_program().value(), {"worker", "--some-option"});
    _exit(1);
  }
  handover.channel.reset();
  const auto packet = receive_packet(ours.get());
  int status = 0;
  waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
  return packet && *packet ? (*packet)->text : "nothing";
}

TEST(WorkerHandover, TheNextProgramHasAllOfItAndNothingElse) {
  const std::string expected = describe(some_handover());
  EXPECT_THAT(expected, HasSubstr("connection 12 of thread 2: socket 12\n"));
  // The channel is a socket, of which nothing can be read at an offset.
  EXPECT_EQ(after_exec(some_handover()), expected + "?");
}

TEST(WorkerHandover, WithoutListenerAndSegments) {
  WorkerHandover handover;
  const std::string expected = describe(handover);
  EXPECT_THAT(expected, HasSubstr("listener: none, copy notes: none"));
  EXPECT_EQ(after_exec(std::move(handover)), expected + "?");
}

// Of sixteen segments with many connections each, say.
TEST(WorkerHandover, MayBeLarge) {
  WorkerHandover handover;
  handover.description = std::string(50'000, '"');  // each is written as two
  const std::string expected = describe(handover);
  EXPECT_EQ(after_exec(std::move(handover)), expected + "?");
}

TEST(WorkerHandover, WhereExecFailsItIsAsItWas) {
  auto handover = some_handover();
  handover.channel = memory_with("a channel");
  const std::string before = describe(handover) + content(handover.channel);
  const Error error = exec_with_handover(handover, memory_with("no program").get(), {"worker"});
  EXPECT_EQ(error.code, ENOEXEC);
  EXPECT_THAT(error.message, StartsWith("program: execveat: ENOEXEC"));
  EXPECT_EQ(describe(handover) + content(handover.channel), before);
}

TEST(WorkerHandover, AnotherVersionIsNamed) {
  const auto handover =
      read_handover(memory_with(fmt::format(R"({{"version":{}}})", messages::kVersion + 1)));
  ASSERT_FALSE(handover);
  EXPECT_EQ(handover.error().message, fmt::format("worker handover: version {}, expected {}",
                                                  messages::kVersion + 1, messages::kVersion));
}

TEST(WorkerHandover, GarbageIsAnErrorNotAnException) {
  const std::string cut = fmt::format(R"({{"version":{}}})", messages::kVersion);
  for (const std::string& text : {std::string(), std::string("{"), std::string("[]"),
                                  std::string(R"({"version":"2"})"), std::string("{}"), cut}) {
    const auto handover = read_handover(memory_with(text));
    ASSERT_FALSE(handover) << text;
    EXPECT_THAT(handover.error().message, StartsWith("worker handover: malformed")) << text;
  }
  EXPECT_FALSE(read_handover(UniqueFd()));
}

}  // namespace
}  // namespace vramswap
