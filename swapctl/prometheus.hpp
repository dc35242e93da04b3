// The status in the text format of Prometheus.
#pragma once

#include <optional>
#include <string>

#include "daemon/control/protocol.hpp"

namespace vramswap::swapctl {

// Names and units by the rules of Prometheus: seconds, bytes, counters that end with _total. No
// value: no daemon answers; then the text is vramswap_up 0 alone. Leaves out a segment without a
// device, because no label would tell it from the next one.
std::string status_prometheus(const std::optional<control::Status>& status);

}  // namespace vramswap::swapctl
