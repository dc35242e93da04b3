// The NVIDIA driver and its cards, by files alone: nothing here wakes a GPU.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "daemon/control/protocol.hpp"
#include "swapctl/doctor/finding.hpp"
#include "swapctl/doctor/tree.hpp"

namespace vramswap::swapctl {

struct Card {
  std::string pci_address;  // "0000:01:00.0"
  std::string driver;       // the kernel's: "nvidia", "nouveau"; empty: none
  // Whether asking the driver about it wakes nothing. False also if the kernel does not say.
  bool is_awake = false;
};
// NVIDIA's GPUs on the PCI bus.
std::vector<Card> find_cards(const Tree& tree);

// "580.159.04" of the loaded kernel module.
std::optional<std::string> module_version(const Tree& tree);

Finding check_cards(const std::vector<Card>& cards);
Finding check_driver(const Tree& tree);
// `library` is what the daemon gives dlopen: a path, or a name to be looked for.
Finding check_libcuda(const Tree& tree, const std::string& library);
Finding check_uvm(const Tree& tree);
// `status` is that of the daemon, if one answers: swap that is up has been exported.
Finding check_export(const Tree& tree, const std::optional<control::Status>& status);

Findings driver_findings(const Tree& tree, const std::vector<Card>& cards,
                         const std::optional<control::Status>& status);

}  // namespace vramswap::swapctl
