// The kernel, its nbd module, and where this process is: in a container or not.
#pragma once

#include "swapctl/doctor/finding.hpp"
#include "swapctl/doctor/tree.hpp"

namespace vramswap::swapctl {

Finding check_kernel_version(const Tree& tree);
Finding check_nbd_module(const Tree& tree);
Finding check_secure_boot(const Tree& tree);
Finding check_container(const Tree& tree);
Finding check_network_namespace(const Tree& tree);
Finding check_programs(const Tree& tree);

Findings kernel_findings(const Tree& tree);

}  // namespace vramswap::swapctl
