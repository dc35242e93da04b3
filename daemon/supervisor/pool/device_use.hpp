// Whether anybody uses a device, asked of the kernel before what cannot be undone. The kernel
// disconnects a device that carries swap without a question, and every process with pages there
// dies.
#pragma once

#include <string>
#include <vector>

#include "daemon/supervisor/machine/machine.hpp"

namespace vramswap {

bool is_swap_area(const std::vector<SwapArea>& areas, const std::string& device);

// Succeeds if the device carries no swap and nobody holds it exclusively. Somebody may hold it for
// a moment, such as a client that ends, so it is asked for a second (three, if nobody serves the
// device). EBUSY: it is in use. Other errors: the kernel could not be asked.
awaitable<Result<void>> check_unused(Machine& machine, std::string device);

}  // namespace vramswap
