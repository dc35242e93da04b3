#include "daemon/worker/process/worker_handover.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/close_range.h>
#include <unistd.h>

#include <cerrno>

#include "daemon/base/json.hpp"
#include "daemon/control/io_stats_json.hpp"
#include "daemon/handover/messages_json.hpp"
#include "daemon/system/own_program.hpp"
#include "daemon/system/proc.hpp"

namespace vramswap {

// A descriptor is written as its number; -1 means none.
static void to_json(nlohmann::json& json, const UniqueFd& fd) {
  json = fd.get();
}
static void from_json(const nlohmann::json& json, UniqueFd& fd) {
  fd = UniqueFd(json.get<int>());
}
static void to_json(nlohmann::json& json, const WorkerHandover::Connection& connection) {
  json = {{"id", connection.id}, {"thread", connection.thread}, {"socket", connection.socket}};
}
static void from_json(const nlohmann::json& json, WorkerHandover::Connection& connection) {
  json.at("id").get_to(connection.id);
  json.at("thread").get_to(connection.thread);
  json.at("socket").get_to(connection.socket);
}
static void to_json(nlohmann::json& json, const WorkerHandover::Segment& segment) {
  json = {{"id", segment.id},
          {"size_bytes", segment.size_bytes},
          {"place", segment.place},
          {"page_map", segment.page_map},
          {"store", segment.store},
          {"awaits_reconnect", segment.awaits_reconnect},
          {"connections", segment.connections}};
}
static void from_json(const nlohmann::json& json, WorkerHandover::Segment& segment) {
  json.at("id").get_to(segment.id);
  json.at("size_bytes").get_to(segment.size_bytes);
  json.at("place").get_to(segment.place);
  json.at("page_map").get_to(segment.page_map);
  json.at("store").get_to(segment.store);
  json.at("awaits_reconnect").get_to(segment.awaits_reconnect);
  json.at("connections").get_to(segment.connections);
}

static void to_json(nlohmann::json& json, const DriverFiles& driver) {
  json = {{"path", driver.path}, {"library", driver.library}, {"page_kernel", driver.page_kernel}};
}
static void from_json(const nlohmann::json& json, DriverFiles& driver) {
  json.at("path").get_to(driver.path);
  json.at("library").get_to(driver.library);
  json.at("page_kernel").get_to(driver.page_kernel);
}

namespace {

std::string encode(const WorkerHandover& handover) {
  return dump_json({{"version", messages::kVersion},
                    {"state", handover.state},
                    {"owes_answer", handover.owes_answer},
                    {"start", handover.start},
                    {"description", handover.description},
                    {"began_at_ns", handover.began_at.count()},
                    {"stats", handover.stats},
                    {"driver", handover.driver},
                    {"channel", handover.channel},
                    {"listener", handover.listener},
                    {"copy_notes", handover.copy_notes},
                    {"context_reserve", handover.context_reserve},
                    {"segments", handover.segments}});
}

Result<WorkerHandover> decode(const std::string& text) {
  try {
    const Json json = parse_message_json(text);
    if (const int version = json.at("version"); version != messages::kVersion) {
      return fail(
          fmt::format("worker handover: version {}, expected {}", version, messages::kVersion));
    }
    WorkerHandover handover;
    json.at("state").get_to(handover.state);
    json.at("owes_answer").get_to(handover.owes_answer);
    json.at("start").get_to(handover.start);
    json.at("description").get_to(handover.description);
    handover.began_at = std::chrono::nanoseconds(json.at("began_at_ns").get<std::int64_t>());
    json.at("stats").get_to(handover.stats);
    json.at("driver").get_to(handover.driver);
    json.at("channel").get_to(handover.channel);
    json.at("listener").get_to(handover.listener);
    // A program of an earlier version has none.
    if (json.contains("copy_notes")) json.at("copy_notes").get_to(handover.copy_notes);
    json.at("context_reserve").get_to(handover.context_reserve);
    json.at("segments").get_to(handover.segments);
    return handover;
  } catch (const std::exception& error) {
    return fail(fmt::format("worker handover: malformed: {}", error.what()));
  }
}

template <class Function>
void for_each_fd(const WorkerHandover& handover, Function function) {
  const auto visit = [&](const UniqueFd& fd) {
    if (fd) function(fd.get());
  };
  visit(handover.driver.library);
  visit(handover.driver.page_kernel);
  visit(handover.channel);
  visit(handover.listener);
  visit(handover.copy_notes);
  visit(handover.context_reserve);
  for (const auto& segment : handover.segments) {
    visit(segment.page_map);
    visit(segment.store);
    for (const auto& connection : segment.connections) visit(connection.socket);
  }
}

// The reading end. Not a file in memory: the kernel could swap it out before it is read, to the
// very device that waits for this worker.
Result<UniqueFd> pipe_with(const std::string& text) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0)
    return fail_errno("worker handover", "pipe2", errno);
  UniqueFd read_end(ends[0]);
  const UniqueFd write_end(ends[1]);
  // Enlarges the pipe if the usual size is too small.
  fcntl(write_end.get(), F_SETPIPE_SZ, static_cast<int>(text.size()));
  const ssize_t written = write(write_end.get(), text.data(), text.size());
  if (written < 0) return fail_errno("worker handover", "write", errno);
  if (static_cast<std::size_t>(written) != text.size()) {
    return fail_errno("worker handover", "write", ENOSPC);
  }
  return read_end;
}

}  // namespace

Error exec_with_handover(const WorkerHandover& handover, int program,
                         const std::vector<std::string>& arguments) {
  const std::string text = encode(handover);
  auto pipe = pipe_with(text);
  if (!pipe) return pipe.error();
  const UniqueFd fd = *std::move(pipe);
  std::vector<std::string> words = arguments;
  words.emplace_back(kHandoverOption);
  words.push_back(fmt::format("{}", fd.get()));
  // Marks all descriptors, because a library may have opened some without O_CLOEXEC. Then clears
  // the flag of those that are handed over.
  close_range(STDERR_FILENO + 1, ~0U, CLOSE_RANGE_CLOEXEC);
  fcntl(fd.get(), F_SETFD, 0);
  for_each_fd(handover, [](int kept) { fcntl(kept, F_SETFD, 0); });
  const Error error = execute(program, words);
  for_each_fd(handover, [](int kept) { fcntl(kept, F_SETFD, FD_CLOEXEC); });
  return error;
}

Result<WorkerHandover> read_handover(UniqueFd fd) {
  const auto text = read_file(fmt::format("/proc/self/fd/{}", fd.get()));
  if (!text) return text.error();
  auto handover = decode(*text);
  if (handover) for_each_fd(*handover, [](int kept) { fcntl(kept, F_SETFD, FD_CLOEXEC); });
  return handover;
}

}  // namespace vramswap
