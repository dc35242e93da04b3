#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <vector>

#include "cuda/device.hpp"
#include "cuda/pci_address.hpp"

namespace vramswap::cuda {
namespace {

std::vector<DeviceInfo> three_devices() {
  auto device = [](int ordinal, const char* uuid, const char* pci_address) {
    DeviceInfo info;
    info.ordinal = ordinal;
    info.name = "NVIDIA Test";
    info.uuid = uuid;
    info.pci_address = pci_address;
    return info;
  };
  return {device(0, "GPU-11112222-3333-4444-5555-666677778888", "0000:01:00.0"),
          device(1, "GPU-1111abcd-3333-4444-5555-666677778888", "0000:c1:00.0"),
          device(2, "GPU-aaaabbbb-3333-4444-5555-666677778888", "0001:c1:00.0")};
}

/// The ordinal, or -1.
int selected(std::string_view selector) {
  auto device = select_device(three_devices(), selector);
  return device ? device->ordinal : -1;
}

std::string refusal(std::string_view selector) {
  auto device = select_device(three_devices(), selector);
  return device ? "selected " + device->uuid : device.error().message();
}

TEST(DeviceSelectorTest, ByIndex) {
  EXPECT_EQ(selected("0"), 0);
  EXPECT_EQ(selected("2"), 2);
  EXPECT_EQ(selected("002"), 2);
  EXPECT_EQ(selected("3"), -1);
  EXPECT_EQ(selected("99999999999999999999"), -1);
}

TEST(DeviceSelectorTest, ByUuid) {
  EXPECT_EQ(selected("GPU-1111abcd-3333-4444-5555-666677778888"), 1);
  EXPECT_EQ(selected("1111ABCD-3333-4444-5555-666677778888"), 1);
  EXPECT_EQ(selected("gpu-AAAA"), 2);
  EXPECT_EQ(selected("a"), 2);
  EXPECT_EQ(selected("1111a"), 1);
  EXPECT_EQ(selected("GPU-11112"), 0);
  EXPECT_EQ(selected("GPU-1111abcd-3333-4444-5555-6666777788889"), -1);
}

TEST(DeviceSelectorTest, DigitsAreAnIndexUnlessMarkedAsUuid) {
  EXPECT_EQ(selected("11112222"), -1);
  EXPECT_EQ(selected("GPU-11112222"), 0);
  EXPECT_EQ(selected("11112222-"), 0);
}

TEST(DeviceSelectorTest, ByPciAddress) {
  EXPECT_EQ(selected("0000:01:00.0"), 0);
  EXPECT_EQ(selected("01:00.0"), 0);
  EXPECT_EQ(selected("1:0.0"), 0);
  EXPECT_EQ(selected("00000000:C1:00.0"), 1);
  EXPECT_EQ(selected("0001:C1:00.0"), 2);
  EXPECT_EQ(selected("02:00.0"), -1);
  EXPECT_EQ(selected("01:00.1"), -1);
}

TEST(DeviceSelectorTest, SaysWhatThereIs) {
  EXPECT_EQ(refusal("7"),
            "GPU \"7\": no such device; there are ("
            "0: NVIDIA Test, GPU-11112222-3333-4444-5555-666677778888, 0000:01:00.0; "
            "1: NVIDIA Test, GPU-1111abcd-3333-4444-5555-666677778888, 0000:c1:00.0; "
            "2: NVIDIA Test, GPU-aaaabbbb-3333-4444-5555-666677778888, 0001:c1:00.0)");
}

TEST(DeviceSelectorTest, SaysWhatAnAmbiguousOneCouldMean) {
  EXPECT_EQ(refusal("c1:00.0"),
            "GPU \"c1:00.0\": ambiguous; it could mean ("
            "1: NVIDIA Test, GPU-1111abcd-3333-4444-5555-666677778888, 0000:c1:00.0; "
            "2: NVIDIA Test, GPU-aaaabbbb-3333-4444-5555-666677778888, 0001:c1:00.0)");
  EXPECT_NE(refusal("GPU-1111").find("ambiguous"), std::string::npos);
}

TEST(DeviceSelectorTest, RefusesOtherForms) {
  for (const char* selector : {"", "GPU-", "first", " 0", "0 ", "0x1", "1.0", "GPU-xyz"}) {
    EXPECT_NE(refusal(selector).find("not an index, a UUID or a PCI address"), std::string::npos)
        << selector << ": " << refusal(selector);
  }
}

TEST(PciAddressTest, WritesWhatSysfsWrites) {
  EXPECT_EQ(parse_pci_address("00000000:C1:1F.7")->text(), "0000:c1:1f.7");
  EXPECT_EQ(parse_pci_address("10000:01:00.0")->text(), "10000:01:00.0");
  EXPECT_EQ(parse_pci_address("1:2.3")->text(), "0000:01:02.3");
}

TEST(PciAddressTest, RefusesWhatIsNone) {
  for (const char* text : {"", "01", "01:00", "01.0", ":00.0", "01:.0", "01:00.", "100:00.0",
                           "01:20.0", "01:00.8", ":01:00.0", "0:0:01:00.0", "01:00.0 ", "-1:00.0",
                           "100000000:01:00.0", "zz:00.0", "01:00.0.0"}) {
    EXPECT_FALSE(parse_pci_address(text)) << text;
  }
}

}  // namespace
}  // namespace vramswap::cuda
