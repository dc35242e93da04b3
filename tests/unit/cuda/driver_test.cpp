#include "cuda/driver.hpp"

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "cuda/context.hpp"
#include "cuda/device.hpp"
#include "daemon/base/unique_fd.hpp"
#include "tests/unit/cuda/fake_cuda_test.hpp"
#include "tests/unit/cuda/processes.hpp"

namespace vramswap::cuda {
namespace {

using test::kMebibyte;

class DriverTest : public test::FakeCudaTest {
 protected:
  static std::string load_failure(const char* path = FAKE_LIBCUDA) {
    auto driver = Driver::load(path);
    return driver ? "loaded" : driver.error().message();
  }

  static std::vector<DeviceInfo> devices() {
    auto driver = load();
    auto devices = driver ? list_devices(*driver) : std::unexpected(driver.error());
    EXPECT_TRUE(devices) << devices.error().message();
    return devices.value_or(std::vector<DeviceInfo>{});
  }
};

TEST_F(DriverTest, SaysWhatToInstall) {
  EXPECT_EQ(load_failure("libcuda_is_not_here.so.1"),
            "libcuda_is_not_here.so.1: dlopen: cannot open shared object file: No such file or "
            "directory; install the NVIDIA driver's libcuda (Debian: libcuda1, Ubuntu: "
            "libnvidia-compute of the driver's series)");
}

TEST_F(DriverTest, SaysWhenTheDriverIsTooOld) {
  EXPECT_EQ(load_failure("libm.so.6"),
            "libm.so.6: no symbol cuGetErrorName; the driver is too old: 470 or newer is needed");
}

TEST_F(DriverTest, SaysWhyThereIsNoDevice) {
  setenv("FAKE_CUDA_DEVICES", "0", 1);
  std::string message = load_failure();
  EXPECT_NE(message.find("cuInit: CUDA_ERROR_NO_DEVICE (100); no NVIDIA GPU can be used"),
            std::string::npos)
      << message;
}

TEST_F(DriverTest, SaysWhenLibraryAndModuleDiffer) {
  setenv("FAKE_CUDA_FAIL", "cuInit=803", 1);
  std::string message = load_failure();
  EXPECT_NE(message.find("CUDA_ERROR_SYSTEM_DRIVER_MISMATCH (803); libcuda and the loaded"),
            std::string::npos)
      << message;
}

TEST_F(DriverTest, NamesAnUnknownCode) {
  setenv("FAKE_CUDA_FAIL", "cuInit=4711", 1);
  EXPECT_EQ(load_failure(), FAKE_LIBCUDA ": cuInit: unknown CUDA error (4711)");
}

TEST_F(DriverTest, ListsDevices) {
  setenv("FAKE_CUDA_DEVICES", "2", 1);
  setenv("FAKE_CUDA_DISPLAY", "1", 1);
  auto found = devices();
  ASSERT_EQ(found.size(), 2u);
  EXPECT_EQ(found[0].name, "Fake GPU 0");
  EXPECT_EQ(found[0].uuid, "GPU-fa4ecada-0000-4000-8000-000000000000");
  EXPECT_EQ(found[0].pci_address, "0000:0a:00.0");
  EXPECT_EQ(found[0].total_bytes, 64 * kMebibyte);
  EXPECT_FALSE(found[0].drives_display);
  EXPECT_TRUE(found[0].supports_fd_export);
  EXPECT_EQ(found[1].ordinal, 1);
  EXPECT_TRUE(found[1].drives_display);
}

TEST_F(DriverTest, CountsDevicesAsNvidiaSmiDoes) {
  setenv("FAKE_CUDA_DEVICES", "2", 1);
  auto found = devices();
  ASSERT_EQ(found.size(), 2u);
  EXPECT_EQ(found[0].pci_address, "0000:0a:00.0");
  EXPECT_STREQ(std::getenv("CUDA_DEVICE_ORDER"), "PCI_BUS_ID");
}

TEST_F(DriverTest, LeavesAnotherDeviceOrderAlone) {
  setenv("FAKE_CUDA_DEVICES", "2", 1);
  setenv("CUDA_DEVICE_ORDER", "FASTEST_FIRST", 1);
  auto found = devices();
  ASSERT_EQ(found.size(), 2u);
  EXPECT_EQ(found[0].pci_address, "0000:0b:00.0");
}

TEST_F(DriverTest, TellsTheComputeMode) {
  ASSERT_FALSE(devices().empty());
  EXPECT_FALSE(devices()[0].is_exclusive);
  EXPECT_FALSE(devices()[0].is_prohibited);
  setenv("FAKE_CUDA_COMPUTE_MODE", "3", 1);
  EXPECT_TRUE(devices()[0].is_exclusive);
  EXPECT_FALSE(devices()[0].is_prohibited);
  setenv("FAKE_CUDA_COMPUTE_MODE", "2", 1);
  EXPECT_FALSE(devices()[0].is_exclusive);
  EXPECT_TRUE(devices()[0].is_prohibited);
}

// In processes of their own: here the library is loaded already.
TEST_F(DriverTest, ItsFileIsLoadedAgainAfterItHasGone) {
  const auto file = directory() / "libcuda.so.1";
  std::filesystem::copy_file(FAKE_LIBCUDA, file);
  test::SocketPair sockets;
  test::in_child([&] {
    const auto driver = load(file.c_str());
    ASSERT_TRUE(driver) << driver.error().message();
    EXPECT_EQ(driver->path(), file);
    const auto opened = driver->open_file();
    ASSERT_TRUE(opened) << opened.error().message();
    test::send_fd(sockets.child(), *opened);
  });
  const UniqueFd kept(test::receive_fd(sockets.parent()));
  ASSERT_TRUE(kept);
  std::filesystem::remove(file);
  test::in_child([&] {
    const auto driver = load(("/proc/self/fd/" + std::to_string(kept.get())).c_str());
    ASSERT_TRUE(driver) << driver.error().message();
    EXPECT_EQ(list_devices(*driver).value().size(), 1U);
    EXPECT_TRUE(driver->open_file());
  });
}

TEST_F(DriverTest, AFileThatTookItsNameMeanwhileIsNotItsFile) {
  const auto file = directory() / "libcuda.so.1";
  std::filesystem::copy_file(FAKE_LIBCUDA, file);
  test::in_child([&] {
    const auto driver = load(file.c_str());
    ASSERT_TRUE(driver) << driver.error().message();
    std::filesystem::remove(file);
    EXPECT_FALSE(driver->open_file());
    std::filesystem::copy_file(FAKE_LIBCUDA, directory() / "new");
    std::filesystem::rename(directory() / "new", file);
    const auto opened = driver->open_file();
    ASSERT_FALSE(opened);
    EXPECT_EQ(opened.error().message(),
              file.string() + ": the file was replaced after the driver was loaded");
  });
}

TEST_F(DriverTest, NamesTheCallThatFailedInAList) {
  setenv("FAKE_CUDA_FAIL", "cuDeviceGetUuid_v2=999", 1);
  auto driver = load();
  ASSERT_TRUE(driver);
  auto found = list_devices(*driver);
  ASSERT_FALSE(found);
  EXPECT_EQ(found.error().message(), "GPU 0: cuDeviceGetUuid: CUDA_ERROR_UNKNOWN (999)");
}

TEST_F(DriverTest, ContextBelongsToTheSelectedDevice) {
  setenv("FAKE_CUDA_DEVICES", "2", 1);
  auto context = open("0b:00.0");
  ASSERT_TRUE(context);
  EXPECT_EQ(context->device().ordinal, 1);
  auto memory = context->memory_info();
  ASSERT_TRUE(memory);
  EXPECT_EQ(memory->total_bytes, 64 * kMebibyte);
  EXPECT_EQ(memory->free_bytes, 64 * kMebibyte);
}

TEST_F(DriverTest, ContextSurvivesBeingActiveAlready) {
  setenv("FAKE_CUDA_FAIL", "cuDevicePrimaryCtxSetFlags_v2=708", 1);
  EXPECT_TRUE(open());
}

TEST_F(DriverTest, SaysWhyThereIsNoContext) {
  setenv("FAKE_CUDA_FAIL", "cuDevicePrimaryCtxRetain=46", 1);
  auto driver = load();
  ASSERT_TRUE(driver);
  auto device = select_device(*driver, "0");
  ASSERT_TRUE(device);
  auto context = Context::create(*driver, *device);
  ASSERT_FALSE(context);
  EXPECT_EQ(context.error().message(),
            "GPU 0000:0a:00.0: cuDevicePrimaryCtxRetain: CUDA_ERROR_DEVICE_UNAVAILABLE (46); check "
            "with nvidia-smi whether its compute mode is exclusive or prohibited");
}

TEST_F(DriverTest, AContextIsReleasedWithTheObject) {
  auto context = open();
  ASSERT_TRUE(context);
  Driver driver = context->driver();
  std::size_t free_bytes = 0;
  std::size_t total_bytes = 0;
  EXPECT_EQ(driver->cuMemGetInfo_v2(&free_bytes, &total_bytes), api::CUDA_SUCCESS);
  context.reset();
  EXPECT_EQ(driver->cuMemGetInfo_v2(&free_bytes, &total_bytes), api::CUDA_ERROR_INVALID_CONTEXT);
}

TEST_F(DriverTest, AMovedContextIsReleasedOnce) {
  auto context = open();
  ASSERT_TRUE(context);
  Context moved = std::move(*context);
  context.reset();
  EXPECT_TRUE(moved.memory_info());
}

}  // namespace
}  // namespace vramswap::cuda
