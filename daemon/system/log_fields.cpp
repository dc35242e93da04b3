#include "daemon/system/log_fields.hpp"

#include <algorithm>
#include <charconv>
#include <limits>

namespace vramswap {
namespace {

// Allocates nothing: I/O threads log, too.
class EntryWriter {
 public:
  explicit EntryWriter(std::span<char> entry) : entry_(entry) {}

  void add(std::string_view name, std::string_view value) {
    constexpr std::size_t kSigns = 2;  // the = and the end of the line
    if (value.empty() || name.size() + kSigns > left()) return;
    append(name);
    append("=");
    const std::size_t begin = length_;
    append(value.substr(0, left() - 1));
    std::ranges::replace(entry_.subspan(begin, length_ - begin), '\n', ' ');
    append("\n");
  }

  template <class Number>
  void add(std::string_view name, std::optional<Number> value) {
    if (!value) return;
    char digits[std::numeric_limits<Number>::digits10 + 2];  // one more than that, and a sign
    const auto end = std::to_chars(std::begin(digits), std::end(digits), *value).ptr;
    add(name, std::string_view(digits, static_cast<std::size_t>(end - digits)));
  }

  std::size_t length() const { return length_; }

 private:
  std::size_t left() const { return entry_.size() - length_; }
  void append(std::string_view text) { length_ += text.copy(entry_.data() + length_, text.size()); }

  std::span<char> entry_;
  std::size_t length_ = 0;
};

}  // namespace

std::size_t write_entry(std::span<char> entry, int priority, std::string_view message,
                        const LogFields& fields) {
  EntryWriter writer(entry);
  writer.add("MESSAGE_ID", fields.message_id);
  writer.add("PRIORITY", std::optional(priority));
  writer.add("SYSLOG_IDENTIFIER", "vramswapd");
  writer.add("VRAMSWAP_DEVICE", fields.device);
  writer.add("VRAMSWAP_SEGMENT", fields.segment);
  writer.add("VRAMSWAP_PAGE", fields.page);
  writer.add("VRAMSWAP_LOST_PAGES", fields.lost_pages);
  writer.add("VRAMSWAP_PID", fields.worker);
  writer.add("VRAMSWAP_STORE", fields.store);
  writer.add("VRAMSWAP_GPU", fields.gpu);
  writer.add("VRAMSWAP_PAUSE_MS", fields.pause_ms);
  // Last, because it may have to be cut.
  writer.add("MESSAGE", message);
  return writer.length();
}

}  // namespace vramswap
