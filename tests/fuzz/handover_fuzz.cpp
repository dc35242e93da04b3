// A message between supervisor and worker, or the description of a pool.
#include "daemon/handover/messages.hpp"
#include "daemon/handover/pool_description.hpp"
#include "tests/fuzz/round_trip.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace vramswap;
  const auto text = fuzz::as_text(data, size);
  fuzz::require_round_trip(text, messages::decode_request);
  fuzz::require_round_trip(text, messages::decode_message);
  fuzz::require_round_trip(text, decode_pool_description);
  return 0;
}
