// select_device over a list: which device the user means. Needs no driver.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <functional>
#include <iterator>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cuda/device.hpp"
#include "cuda/pci_address.hpp"

namespace vramswap::cuda {
namespace {

using Matcher = std::function<bool(const DeviceInfo&)>;

std::string lower(std::string_view text) {
  std::string result(text);
  std::ranges::transform(result, result.begin(),
                         [](char c) { return c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c; });
  return result;
}

Matcher match_index(std::string_view digits) {
  api::CUdevice index = -1;  // matches nothing, as does an index too large for the type
  std::from_chars(digits.data(), digits.data() + digits.size(), index);
  return [index](const DeviceInfo& device) { return device.ordinal == index; };
}

Matcher match_pci_address(const PciAddress& wanted) {
  return [wanted](const DeviceInfo& device) {
    auto actual = parse_pci_address(device.pci_address);
    return actual && (!wanted.domain || wanted.domain == actual->domain) &&
           wanted.bus == actual->bus && wanted.device == actual->device &&
           wanted.function == actual->function;
  };
}

Matcher match_uuid_prefix(std::string prefix) {
  return [prefix = std::move(prefix)](const DeviceInfo& device) {
    return lower(device.uuid).starts_with(prefix);
  };
}

/// An empty function if `selector` is none of the three forms. Digits alone are an index, although
/// a UUID can begin so.
Matcher parse_selector(std::string_view selector) {
  if (auto address = parse_pci_address(selector)) {
    return match_pci_address(*address);
  }
  std::string text = lower(selector);
  bool has_prefix = text.starts_with("gpu-");
  std::string_view digits = std::string_view(text).substr(has_prefix ? 4 : 0);
  if (digits.empty() || digits.find_first_not_of("0123456789abcdef-") != digits.npos) {
    return {};
  }
  if (!has_prefix && digits.find_first_not_of("0123456789") == digits.npos) {
    return match_index(digits);
  }
  return match_uuid_prefix(fmt::format("gpu-{}", digits));
}

std::string list(std::span<const DeviceInfo> devices) {
  std::string text;
  for (const DeviceInfo& device : devices) {
    text += fmt::format("{}{}: {}, {}, {}", text.empty() ? "" : "; ", device.ordinal, device.name,
                        device.uuid, device.pci_address);
  }
  return text.empty() ? "none" : text;
}

std::unexpected<Error> failure(std::string_view selector, std::string_view what,
                               std::span<const DeviceInfo> devices) {
  return std::unexpected(Error{.operation = fmt::format("{} ({})", what, list(devices)),
                               .object = fmt::format("GPU \"{}\"", selector),
                               .name = {},
                               .advice = {}});
}

}  // namespace

Result<DeviceInfo> select_device(std::span<const DeviceInfo> devices, std::string_view selector) {
  if (lower(selector).starts_with("mig-")) {
    return failure(selector, "a MIG instance is given by its index; there are", devices);
  }
  Matcher matches = parse_selector(selector);
  if (!matches) {
    return failure(selector, "not an index, a UUID or a PCI address; there are", devices);
  }
  std::vector<DeviceInfo> found;
  std::ranges::copy_if(devices, std::back_inserter(found), matches);
  if (found.empty()) {
    return failure(selector, "no such device; there are", devices);
  }
  if (found.size() > 1) {
    return failure(selector, "ambiguous; it could mean", found);
  }
  return std::move(found.front());
}

}  // namespace vramswap::cuda
