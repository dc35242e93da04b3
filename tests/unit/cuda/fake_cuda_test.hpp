// Fixture for tests over the fake libcuda (tests/fake_cuda): a folder and an environment of their
// own.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>

#include "cuda/context.hpp"
#include "cuda/device.hpp"
#include "cuda/driver.hpp"
#include "tests/support/temp_directory.hpp"

namespace vramswap::test {

inline constexpr std::uint64_t kMebibyte = 1ull << 20;

class FakeCudaTest : public testing::Test {
 protected:
  FakeCudaTest() {
    for (const char* variable :
         {"FAKE_CUDA_DISPLAY", "FAKE_CUDA_FAIL", "FAKE_CUDA_AT_COPY", "FAKE_CUDA_COMPUTE_MODE",
          "FAKE_CUDA_CONTEXT_MIB", "FAKE_CUDA_JIT", "CUDA_DEVICE_ORDER"}) {
      unsetenv(variable);
    }
    setenv("FAKE_CUDA_DIR", directory().c_str(), 1);
    setenv("FAKE_CUDA_DEVICES", "1", 1);
    setenv("FAKE_CUDA_MEMORY_MIB", "64", 1);
  }

  static cuda::Result<cuda::Driver> load(const char* library = FAKE_LIBCUDA) {
    return cuda::Driver::load(library);
  }

  /// A context on the device, made current. Fails the test if that fails.
  static std::optional<cuda::Context> open(const char* selector = "0",
                                           const char* library = FAKE_LIBCUDA) {
    auto driver = load(library);
    if (!driver) {
      ADD_FAILURE() << driver.error().message();
      return std::nullopt;
    }
    auto device = cuda::select_device(*driver, selector);
    if (!device) {
      ADD_FAILURE() << device.error().message();
      return std::nullopt;
    }
    auto context = cuda::Context::create(*driver, *device);
    if (!context) {
      ADD_FAILURE() << context.error().message();
      return std::nullopt;
    }
    return std::move(*context);
  }

  static std::uint64_t free_mebibytes(const cuda::Context& context) {
    auto memory = context.memory_info();
    EXPECT_TRUE(memory.has_value());
    return memory ? memory->free_bytes / kMebibyte : 0;
  }

  /// Where the state is, and what else a test wants to be gone after it.
  const std::filesystem::path& directory() const { return directory_.path(); }

  /// Removing its file resets a device.
  std::filesystem::path device_file() const { return directory_ / "device0"; }

 private:
  TempDirectory directory_;
};

}  // namespace vramswap::test
