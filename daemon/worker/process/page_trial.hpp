// Finds the page that kills each worker that copies it.
#pragma once

#include "daemon/base/error.hpp"
#include "daemon/handover/copy_notes.hpp"
#include "daemon/worker/io/served_segment.hpp"
#include "daemon/worker/store/store.hpp"

namespace vramswap {

// For a segment that was just imported, and that nobody uses yet. Pages whose trials have ended
// several workers are given up: they are lost from now on. The other suspects are copied one by
// one, each after a page that is no suspect: a card that copies nothing at all is no evidence
// against a page. An error: a page cannot be copied, and the worker must end. A copy that hangs
// does not let this function return.
Result<void> try_suspects(CopyNotes& notes, StoreDevice& device, ServedSegment& segment);

}  // namespace vramswap
