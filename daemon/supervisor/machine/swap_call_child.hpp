// The calls of swap_call.hpp, as the supervisor makes them.
#pragma once

#include <string>
#include <vector>

#include "daemon/supervisor/machine/child.hpp"

namespace vramswap {

// `call` has the name of the call and its arguments.
Result<Child> start_swap_call(asio::io_context& io, std::vector<std::string> call);

// What the call has come to, by the child's wait status. Errors name the device and the call, and
// have the call's errno.
Result<void> swap_call_result(const std::string& device, const char* call,
                              const Result<int>& status);

}  // namespace vramswap
