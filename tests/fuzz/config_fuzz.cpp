// A config file. What `vramswap up` takes from it, the daemon takes too, and no setting is out of
// its range. Each line is also a size on its own.
#include <algorithm>
#include <ranges>

#include "daemon/base/page_size.hpp"
#include "daemon/control/protocol.hpp"
#include "swapctl/config.hpp"
#include "swapctl/settings.hpp"
#include "tests/fuzz/memory_file.hpp"

namespace vramswap {
namespace {

using fuzz::require;

void check_size(std::string_view text) {
  const auto size = control::parse_size(text);
  if (!size) return;
  const std::string written = control::to_string(*size);
  const auto again = control::parse_size(written);
  require(again && *again == *size, "a size reads back:", written);
  const auto* bytes = std::get_if<control::Bytes>(&*size);
  require(!bytes || bytes->value > 0, "a size is above zero:", text);
  const auto* percent = std::get_if<control::Percent>(&*size);
  require(!percent || (percent->value > 0 && percent->value <= 100), "a percentage is one:", text);
  if (bytes) (void)control::format_bytes(bytes->value);
}

void check_request(const control::UpRequest& up) {
  if (const auto* bytes = std::get_if<control::Bytes>(&up.size)) {
    require(bytes->value >= kPageBytes, "a pool has a page");
  }
  require(up.segment_size_bytes > 0, "a segment has a size");
  const std::string line = control::encode(control::Request{up});
  const auto received = control::decode_request(line);
  require(received.has_value(), "the daemon takes what the client accepts:", line);
  require(control::encode(*received) == line, "the daemon gets what the client sent:", line);
}

}  // namespace
}  // namespace vramswap

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace vramswap;
  static fuzz::MemoryFile file;
  static control::UpRequest up;
  static const auto settings = swapctl::up_settings(up);
  const auto text = fuzz::as_text(data, size);
  for (const auto line : std::views::split(text, '\n')) {
    check_size(std::string_view(line.begin(), line.end()));
  }
  up = {};
  file.set(text);
  const auto applied = swapctl::apply_config_file(file.path(), settings);
  if (!applied) {
    require(!applied.error().message.empty(), "an error says what is wrong");
  } else if (swapctl::check_complete(up)) {
    check_request(up);
  }
  return 0;
}
