#include "daemon/system/proc.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <sstream>

#include "daemon/base/directory.hpp"
#include "daemon/base/unique_fd.hpp"

namespace vramswap {
namespace {

template <class Integer>
std::optional<Integer> to_integer(std::string_view text) {
  Integer value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

// The number in a line "KEY:   123 kB", in bytes.
Result<std::uint64_t> kilobytes_field(const std::string& path, std::string_view text,
                                      std::string_view key) {
  const auto kilobytes = find_number(text, fmt::format("{}:", key));
  if (!kilobytes) return fail(fmt::format("{}: no {} in it", path, key));
  return *kilobytes * 1024;
}

// /proc writes white space and backslashes in paths as three octal digits.
std::string unescape(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 3 < text.size()) {
      out += static_cast<char>((text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 +
                               (text[i + 3] - '0'));
      i += 3;
    } else {
      out += text[i];
    }
  }
  return out;
}

}  // namespace

Result<std::string> read_file(const std::string& path) {
  const UniqueFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return fail_errno(path, "open", errno);
  std::string text;
  char buffer[4096];
  for (;;) {
    const ssize_t bytes = read(fd.get(), buffer, sizeof buffer);
    if (bytes == 0) return text;
    if (bytes < 0) return fail_errno(path, "read", errno);
    text.append(buffer, static_cast<std::size_t>(bytes));
  }
}

std::optional<std::uint64_t> find_number(std::string_view text, std::string_view name) {
  std::istringstream lines{std::string(text)};
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::string first;
    std::uint64_t number = 0;
    if (words >> first >> number && first == name) return number;
  }
  return std::nullopt;
}

Result<MemoryInfo> read_memory_info(const std::string& path) {
  const auto text = read_file(path);
  if (!text) return text.error();
  const auto total = kilobytes_field(path, *text, "MemTotal");
  if (!total) return total.error();
  const auto available = kilobytes_field(path, *text, "MemAvailable");
  if (!available) return available.error();
  return MemoryInfo{*total, *available};
}

Result<std::optional<MemoryCommitment>> read_memory_commitment(
    const std::string& overcommit_path, const std::string& memory_info_path) {
  const auto mode = read_file(overcommit_path);
  if (!mode) return mode.error();
  if (!mode->starts_with("2")) return std::nullopt;
  const auto text = read_file(memory_info_path);
  if (!text) return text.error();
  const auto committed = kilobytes_field(memory_info_path, *text, "Committed_AS");
  if (!committed) return committed.error();
  const auto limit = kilobytes_field(memory_info_path, *text, "CommitLimit");
  if (!limit) return limit.error();
  return MemoryCommitment{*committed, *limit};
}

Result<std::vector<SwapArea>> read_swap_areas(const std::string& path) {
  const auto text = read_file(path);
  if (!text) return text.error();
  std::istringstream lines(*text);
  std::string line;
  std::getline(lines, line);  // the heading
  std::vector<SwapArea> areas;
  while (std::getline(lines, line)) {
    std::istringstream words(line);
    SwapArea area;
    if (!(words >> area.path >> area.type >> area.size_bytes >> area.used_bytes >> area.priority)) {
      return fail(fmt::format("{}: cannot read the line '{}'", path, line));
    }
    area.path = unescape(area.path);
    area.size_bytes *= 1024;
    area.used_bytes *= 1024;
    areas.push_back(std::move(area));
  }
  return areas;
}

Result<ThreadStat> parse_thread_stat(std::string_view line) {
  // The second field, the name, is in parentheses and may contain any character, parentheses too.
  const auto name_end = line.rfind(')');
  if (name_end == std::string_view::npos) return fail("stat: no name in it");
  std::istringstream words{std::string(line.substr(name_end + 1))};
  ThreadStat stat;
  std::string word;
  for (int field = 3; words >> word; ++field) {
    if (field == 9) stat.flags = to_integer<std::uint64_t>(word).value_or(0);
    if (field == 40) stat.realtime_priority = to_integer<int>(word).value_or(0);
    if (field == 41) {
      stat.scheduling_policy = to_integer<int>(word).value_or(-1);
      return stat;
    }
  }
  return fail("stat: fewer than 41 fields");
}

Result<std::vector<ThreadStat>> read_thread_stats(const std::string& task_directory) {
  const auto threads = list_directory(task_directory);
  if (!threads) return threads.error();
  std::vector<ThreadStat> stats;
  for (const std::string& thread : *threads) {
    const auto line = read_file(fmt::format("{}/{}/stat", task_directory, thread));
    if (!line) continue;  // the thread has ended meanwhile
    const auto stat = parse_thread_stat(*line);
    if (!stat) return stat.error();
    stats.push_back(*stat);
  }
  if (stats.empty()) return fail(fmt::format("{}: no thread in it", task_directory));
  return stats;
}

Result<std::uint64_t> read_locked_bytes(const std::string& path) {
  const auto text = read_file(path);
  if (!text) return text.error();
  return kilobytes_field(path, *text, "VmLck");
}

Result<std::uint64_t> read_resident_bytes(const std::string& path) {
  const auto text = read_file(path);
  if (!text) return text.error();
  return kilobytes_field(path, *text, "VmRSS");
}

}  // namespace vramswap
