// Taking over what an earlier supervisor left: its workers, its devices, and its memory.
#pragma once

#include <string>

#include "daemon/supervisor/pool/pool_parts.hpp"

namespace vramswap {

// The parts of the pool that was up, none if nothing was. Their workers and memory are found;
// what was half done is not undone yet. `publisher` goes on from what was published last.
// `inherited` are the descriptors that the service manager kept or the last program passed on; what
// workers hand over is added to them, so that another attempt has it.
// An error: something is there that this program cannot take over, and it is left alone (EPROTO: it
// belongs to another version). No worker is ever killed: it may be the only holder of its memory.
awaitable<Result<PoolParts>> adopt(Machine& machine, const PoolOptions& options,
                                   RecoveryReserve& reserve, StatePublisher& publisher,
                                   NamedFds& inherited);
// Whether adopt() may succeed later where it failed with `error`: a worker did not answer, or the
// machine was short of something.
bool adoption_may_succeed_later(const Error& error);

// Disconnects those devices with the prefix of the options that carry no swap and whose identifier
// does not begin with `adopted` (empty: nothing was adopted). EOWNERDEAD: one carries swap; what
// served it is gone, and so are its pages.
awaitable<Result<void>> disconnect_leftovers(Machine& machine, std::string device_prefix,
                                             std::string adopted);

}  // namespace vramswap
