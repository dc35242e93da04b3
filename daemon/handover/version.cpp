// In a file of its own: a test links a daemon of another version.
#include "daemon/handover/messages.hpp"

namespace vramswap::messages {

const int kVersion = 8;

}  // namespace vramswap::messages
