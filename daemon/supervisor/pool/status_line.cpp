#include "daemon/supervisor/pool/status_line.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace vramswap {
namespace {

std::string counted(std::size_t number, std::string_view what) {
  return fmt::format("{} {}{}", number, what, number == 1 ? "" : "s");
}

// What somebody else has swapped off; empty: nothing.
std::string off_by_others(const PoolParts& parts) {
  std::string devices;
  std::size_t off = 0;
  for (const auto& segment : parts.segments) {
    if (!segment->was_seen_off()) continue;
    devices += (devices.empty() ? "" : ", ") + segment->path();
    ++off;
  }
  if (off == 0) return "";
  if (off == parts.segments.size()) return "off: somebody else has swapped it off";
  return fmt::format("degraded: somebody else has swapped off {}", devices);
}

std::string whole_pool(const PoolParts& parts) {
  std::uint64_t size_bytes = 0;
  std::uint64_t lost_pages = 0;
  for (const auto& segment : parts.segments) {
    size_bytes += segment->size_bytes();
    lost_pages += segment->lost_pages();
  }
  const bool is_vram = parts.request.backend == control::Backend::vram;
  std::string line = fmt::format("{} of {} {}, {}", control::format_bytes(size_bytes),
                                 parts.settings.makes_swap_area ? "swap on" : "scratch space on",
                                 is_vram ? counted(parts.slots.size(), "GPU") : "host memory",
                                 counted(parts.segments.size(), "segment"));
  for (const auto& slot : parts.slots) {
    const auto state = slot->is_running() ? slot->worker()->state() : WorkerState::serving;
    if (state == WorkerState::dozing || state == WorkerState::waking) {
      line += fmt::format("; the worker of {} is {}", slot->info().name, to_string(state));
    }
    line += slot->remarks();
  }
  if (lost_pages > 0) line += fmt::format("; {} lost", counted(lost_pages, "page"));
  return line;
}

}  // namespace

std::string status_line(const PoolParts& parts) {
  if (parts.segments.empty()) return "no swap is up";
  for (const auto& slot : parts.slots) {
    if (std::string trouble = slot->trouble(); !trouble.empty()) return trouble;
  }
  if (parts.is_going_down) return "taking the swap down";
  if (std::string off = off_by_others(parts); !off.empty()) return off;
  const auto on = std::ranges::count_if(
      parts.segments, [](const auto& segment) { return segment->carries_swap(); });
  const auto all = parts.segments.size();
  if (parts.settings.makes_swap_area && static_cast<std::size_t>(on) < all) {
    return fmt::format("{} of {} segments are swapped on", on, all);
  }
  return whole_pool(parts);
}

}  // namespace vramswap
