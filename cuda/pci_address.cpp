#include "cuda/pci_address.hpp"

#include <fmt/format.h>

#include <charconv>

namespace vramswap::cuda {
namespace {

std::optional<std::uint32_t> parse_hex(std::string_view digits, std::uint32_t maximum) {
  std::uint32_t value = 0;
  const char* end = digits.data() + digits.size();
  auto [rest, error] = std::from_chars(digits.data(), end, value, 16);
  if (error != std::errc{} || rest != end || value > maximum) {
    return std::nullopt;
  }
  return value;
}

}  // namespace

std::string PciAddress::text() const {
  return fmt::format("{:04x}:{:02x}:{:02x}.{:x}", domain.value_or(0), bus, device, function);
}

std::optional<PciAddress> parse_pci_address(std::string_view text) {
  auto dot = text.rfind('.');
  auto device_colon = text.rfind(':');
  if (dot == text.npos || device_colon == text.npos || dot < device_colon) {
    return std::nullopt;
  }
  std::string_view before_device = text.substr(0, device_colon);
  auto bus_colon = before_device.rfind(':');
  bool has_domain = bus_colon != text.npos;

  auto bus = parse_hex(has_domain ? before_device.substr(bus_colon + 1) : before_device, 0xff);
  auto device = parse_hex(text.substr(device_colon + 1, dot - device_colon - 1), 0x1f);
  auto function = parse_hex(text.substr(dot + 1), 0x7);
  if (!bus || !device || !function) {
    return std::nullopt;
  }
  PciAddress address{.domain = {},
                     .bus = static_cast<std::uint8_t>(*bus),
                     .device = static_cast<std::uint8_t>(*device),
                     .function = static_cast<std::uint8_t>(*function)};
  if (has_domain) {
    address.domain = parse_hex(before_device.substr(0, bus_colon), UINT32_MAX);
    if (!address.domain) {
      return std::nullopt;
    }
  }
  return address;
}

}  // namespace vramswap::cuda
