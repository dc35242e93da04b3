// Other swap, and how the kernel uses all of it.
#pragma once

#include "swapctl/doctor/finding.hpp"
#include "swapctl/doctor/tree.hpp"

namespace vramswap::swapctl {

// `priority` is that of the swap on VRAM, if it is not up.
Finding check_other_swap(const Tree& tree, int priority);
Finding check_zswap(const Tree& tree);
Finding check_overcommit(const Tree& tree);
Finding check_page_cluster(const Tree& tree);

Findings swap_findings(const Tree& tree, int priority);

}  // namespace vramswap::swapctl
