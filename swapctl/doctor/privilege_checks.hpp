// The daemon's privileges: it refuses to serve swap without locked memory and realtime priority.
#pragma once

#include "swapctl/doctor/finding.hpp"
#include "swapctl/doctor/tree.hpp"

namespace vramswap::swapctl {

// Whether systemd starts the daemon. Then the daemon has the privileges of process 1, not those of
// this process.
bool systemd_starts_it(const Tree& tree);

// `is_root` is of this process.
Finding check_capabilities(const Tree& tree, bool is_root);
Finding check_locked_memory(const Tree& tree, bool is_root);
Finding check_realtime(const Tree& tree, bool is_root);
Finding check_control_group(const Tree& tree);

Findings privilege_findings(const Tree& tree, bool is_root);

}  // namespace vramswap::swapctl
