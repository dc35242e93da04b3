#include "cuda/device_survey.hpp"

#include <gtest/gtest.h>

#include <cstdlib>

#include "tests/unit/cuda/fake_cuda_test.hpp"

namespace vramswap::cuda {
namespace {

using test::kMebibyte;
using DeviceSurveyTest = test::FakeCudaTest;

TEST_F(DeviceSurveyTest, SaysHowEachDeviceIsSet) {
  setenv("FAKE_CUDA_DEVICES", "2", 1);
  setenv("FAKE_CUDA_DISPLAY", "1", 1);
  setenv("FAKE_CUDA_COMPUTE_MODE", "3", 1);
  const auto devices = survey_devices(FAKE_NVML);
  ASSERT_TRUE(devices) << devices.error().message();
  ASSERT_EQ(devices->size(), 2u);
  const SurveyedDevice& second = devices->at(1);
  EXPECT_EQ(second.name, "Fake GPU 1");
  EXPECT_EQ(second.pci_address, "0000:0b:00.0");
  EXPECT_EQ(second.total_bytes, 64 * kMebibyte);
  EXPECT_EQ(second.free_bytes, 64 * kMebibyte);
  EXPECT_TRUE(second.drives_display);
  EXPECT_FALSE(devices->at(0).drives_display);
  EXPECT_TRUE(second.is_exclusive);
  EXPECT_FALSE(second.is_prohibited);
  EXPECT_FALSE(second.is_persistent);
}

TEST_F(DeviceSurveyTest, ProhibitedIsAnotherMode) {
  setenv("FAKE_CUDA_COMPUTE_MODE", "2", 1);
  const auto devices = survey_devices(FAKE_NVML);
  ASSERT_TRUE(devices) << devices.error().message();
  EXPECT_TRUE(devices->at(0).is_prohibited);
  EXPECT_FALSE(devices->at(0).is_exclusive);
}

TEST_F(DeviceSurveyTest, FailsWithoutTheLibrary) {
  EXPECT_EQ(survey_devices("libnvidia-ml_is_not_here.so.1").error().message(),
            "libnvidia-ml.so.1: it cannot be loaded");
  EXPECT_EQ(survey_devices("libm.so.6").error().message(),
            "libnvidia-ml.so.1: it lacks a function");
}

}  // namespace
}  // namespace vramswap::cuda
