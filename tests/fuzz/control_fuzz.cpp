// A line of the control protocol.
#include "daemon/control/protocol.hpp"
#include "tests/fuzz/round_trip.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace vramswap;
  const auto line = fuzz::as_text(data, size);
  fuzz::require_round_trip(line, control::decode_request);
  fuzz::require_round_trip(line, control::decode_reply);
  return 0;
}
