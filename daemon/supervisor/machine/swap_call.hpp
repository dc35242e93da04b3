// Calls that wait for a swap device, each in a process of its own: this program in a mode that
// makes one call and ends. swapoff(2) makes its caller the OOM killer's first choice, and goes on
// for minutes; a process that shared the supervisor's memory so long would keep what the supervisor
// releases, and make each of its writes wait for a new page.
//
//   vramswapd --swap-call on DEVICE PRIORITY   swapon(2); -1: the kernel chooses the priority
//   vramswapd --swap-call off DEVICE           swapoff(2)
//   vramswapd --swap-call read-ahead DEVICE    asks for pages ahead of a swapoff(2)
//   vramswapd --swap-call read DEVICE OFFSET   reads one page from the device itself
//   vramswapd --swap-call limit NAME BYTES     sets the limit of a request to the device ("nbd3")
//   vramswapd --swap-call claim DEVICE         opens the device exclusively, and closes it
#pragma once

#include <optional>

namespace vramswap {

// For the start of main(). Nothing: the arguments are not those of this mode. Otherwise it has made
// the call, and main() returns the value: 0 or the call's errno.
std::optional<int> make_swap_call(int argc, char** argv);

}  // namespace vramswap
