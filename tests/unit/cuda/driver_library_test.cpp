// A build that names the folder of the driver's libraries.
#include <gtest/gtest.h>

#include "cuda/driver.hpp"
#include "cuda/memory_use.hpp"
#include "tests/unit/cuda/fake_cuda_test.hpp"

namespace vramswap::cuda {
namespace {

class DriverLibraryTest : public test::FakeCudaTest {};

TEST_F(DriverLibraryTest, TheDriverComesFromTheFolderOfTheBuild) {
  const auto driver = Driver::load();
  ASSERT_TRUE(driver) << driver.error().message();
  EXPECT_EQ(driver->path(), FAKE_LIBCUDA);
}

// Where the driver was found is not known if its file has been replaced meanwhile.
TEST_F(DriverLibraryTest, NvmlComesFromTheFolderOfTheBuild) {
  const auto context = open();
  ASSERT_TRUE(context);
  const auto used = used_memory(context->device().uuid, "");
  EXPECT_TRUE(used) << used.error().message();
}

}  // namespace
}  // namespace vramswap::cuda
