// What the daemon may do: it refuses to serve swap without locked memory and realtime priority.
#pragma once

#include "swapctl/doctor/finding.hpp"
#include "swapctl/doctor/tree.hpp"

namespace vramswap::swapctl {

// Whether systemd starts the daemon. Then it has what process 1 has, not what this process has.
bool systemd_starts_it(const Tree& tree);

// `is_root` is of this process.
Finding check_capabilities(const Tree& tree, bool is_root);
Finding check_locked_memory(const Tree& tree, bool is_root);
Finding check_realtime(const Tree& tree, bool is_root);
Finding check_control_group(const Tree& tree);

Findings privilege_findings(const Tree& tree, bool is_root);

}  // namespace vramswap::swapctl
