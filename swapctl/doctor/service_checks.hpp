// The files installed with the daemon, and the protection of other services.
#pragma once

#include <string>
#include <vector>

#include "swapctl/doctor/finding.hpp"
#include "swapctl/doctor/tree.hpp"

namespace vramswap::swapctl {

Finding check_unit(const Tree& tree);
// How many descriptors systemd keeps for the daemon, the memory with the pages among them.
Finding check_fd_store(const Tree& tree);
Finding check_udev_rule(const Tree& tree);
// Whether the drop-ins are in force: services that repair a machine must not be in swap.
Finding check_protected_services(const Tree& tree);
Finding check_init(const Tree& tree);
Finding check_selinux(const Tree& tree);
Finding check_apparmor(const Tree& tree);

Findings service_findings(const Tree& tree);

}  // namespace vramswap::swapctl
