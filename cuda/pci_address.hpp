// PCI addresses as people and tools write them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace vramswap::cuda {

struct PciAddress {
  std::optional<std::uint32_t> domain;  ///< none if it was left out
  std::uint8_t bus = 0;
  std::uint8_t device = 0;    ///< 0..31
  std::uint8_t function = 0;  ///< 0..7

  /// Lower case dddd:bb:dd.f, as sysfs and lspci write it; a domain left out reads 0000.
  std::string text() const;
};

/// Parses [domain:]bus:device.function: hex digits of any case and number, within the ranges above.
std::optional<PciAddress> parse_pci_address(std::string_view text);

}  // namespace vramswap::cuda
