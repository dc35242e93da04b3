// A page's checksum, and the handling of bytes that do not match it.
//
// A WRITE's checksum is taken over the bytes as they arrived; a READ's bytes are compared with it
// before they leave. A mismatch has one of two reasons: another thread is writing the page, or the
// store's bytes are wrong. look_again() tells them apart.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "daemon/base/error.hpp"
#include "daemon/base/page_size.hpp"
#include "daemon/worker/io/page_checksum.hpp"
#include "daemon/worker/io/served_segment.hpp"
#include "daemon/worker/io/write_fence.hpp"
#include "daemon/worker/store/store.hpp"

namespace vramswap {

enum class Look {
  right,  // `data` has the page's bytes
  wrong,  // the bytes are gone: the page is lost now, or a WRITE of it was never finished
  busy,   // a batch keeps changing the page, or was too slow. The bytes are unknown
};
// Reads the page once more, alone, into `data`, while no batch of this worker may change it. If its
// bytes are wrong again, marks the page as lost, and logs and counts that. Waits up to a
// millisecond for a batch that is changing the page. No copy to the host may be under way in `slot`
// of the copier. `data` is in the memory that the copier was created with. Errors are the store's.
Result<Look> look_again(ServedSegment& segment, std::uint64_t page,
                        std::span<std::byte, kPageBytes> data, Copier& copier, unsigned slot,
                        const Claimant& claimant);

// The page's bytes are wrong: marks it as lost, and logs and counts that. No batch may change it
// meanwhile.
void lose_page(ServedSegment& segment, std::uint64_t page);

}  // namespace vramswap
