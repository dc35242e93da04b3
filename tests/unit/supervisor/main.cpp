// The tests start this program again in the place of vramswapd (/proc/self/exe).
#include <gmock/gmock.h>

#include "daemon/supervisor/machine/swap_call.hpp"

int main(int argc, char** argv) {
  if (const auto result = vramswap::make_swap_call(argc, argv)) return *result;
  testing::InitGoogleMock(&argc, argv);
  return RUN_ALL_TESTS();
}
