// Makes the daemon that it is linked into one of another version.
#include "daemon/handover/messages.hpp"

namespace vramswap::messages {

const int kVersion = 1'000'000;

}  // namespace vramswap::messages
