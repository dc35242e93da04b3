// The swap area on a device: its signature, and the calls that turn it on and off. Each is made in
// a child: swapoff(2) makes its caller the OOM killer's first choice, and both wait for the device.
#pragma once

#include <chrono>
#include <string>

#include "daemon/supervisor/child.hpp"

namespace vramswap {

// util-linux's mkswap(8), label "vramswap".
awaitable<Result<void>> make_swap_area(asio::io_context& io, std::string device);

// swapon(2). `priority` is -1 (the kernel chooses) or 0..32767.
awaitable<Result<void>> swap_on(asio::io_context& io, std::string device, int priority);

// swapoff(2), as a process of its own that can be killed: the swap area is then on as before.
Result<Child> start_swap_off(asio::io_context& io, std::string device);
// What a wait status of start_swap_off's child says.
Result<void> swap_off_result(const std::string& device, int status);

}  // namespace vramswap
