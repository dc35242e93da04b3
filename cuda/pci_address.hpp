// PCI addresses as people and tools write them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace vramswap::cuda {

struct PciAddress {
  std::optional<std::uint32_t> domain;  ///< empty if it was left out
  std::uint8_t bus = 0;
  std::uint8_t device = 0;    ///< 0..31
  std::uint8_t function = 0;  ///< 0..7

  /// Lower case dddd:bb:dd.f, as sysfs and lspci write it. A missing domain is written as 0000.
  std::string text() const;
};

/// Parses [domain:]bus:device.function: any number of hex digits in any case, within the ranges
/// above. Nothing if the text is something else.
std::optional<PciAddress> parse_pci_address(std::string_view text);

}  // namespace vramswap::cuda
