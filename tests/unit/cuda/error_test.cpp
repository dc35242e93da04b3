#include "cuda/error.hpp"

#include <gtest/gtest.h>

namespace vramswap::cuda {
namespace {

TEST(ErrorTest, NamesObjectOperationAndCode) {
  Error error{.operation = "cuMemCreate 1073741824 bytes",
              .object = "GPU 0000:01:00.0",
              .code = api::CUDA_ERROR_OUT_OF_MEMORY,
              .name = "CUDA_ERROR_OUT_OF_MEMORY",
              .advice = {}};
  EXPECT_EQ(error.message(),
            "GPU 0000:01:00.0: cuMemCreate 1073741824 bytes: CUDA_ERROR_OUT_OF_MEMORY (2)");
}

TEST(ErrorTest, LeavesOutWhatIsNotThere) {
  Error error{.operation = "cuDeviceGetCount", .object = {}, .name = {}, .advice = {}};
  EXPECT_EQ(error.message(), "cuDeviceGetCount");
}

TEST(ErrorTest, EndsWithTheAdvice) {
  Error error{.operation = "cuInit",
              .object = "libcuda.so.1",
              .code = api::CUDA_ERROR_NO_DEVICE,
              .name = "CUDA_ERROR_NO_DEVICE",
              .advice = "buy one"};
  EXPECT_EQ(error.message(), "libcuda.so.1: cuInit: CUDA_ERROR_NO_DEVICE (100); buy one");
}

TEST(ContextIsLostTest, AfterExceptionsOnTheGpu) {
  for (unsigned code :
       {4, 214, 220, 226, 700, 702, 709, 710, 714, 715, 716, 717, 718, 719, 721, 810, 911}) {
    EXPECT_TRUE(context_is_lost(static_cast<api::CUresult>(code))) << code;
  }
}

TEST(ContextIsLostTest, NotAfterRefusedCalls) {
  // 46 and 802 are about making a context, 701 about a launch that did not happen, 712 and 713
  // about arguments; 12345 does not exist.
  for (unsigned code : {0,   1,   2,   3,   46,  100, 201, 304, 400, 600,  701,
                        708, 712, 713, 720, 800, 801, 802, 803, 999, 12345}) {
    EXPECT_FALSE(context_is_lost(static_cast<api::CUresult>(code))) << code;
  }
}

}  // namespace
}  // namespace vramswap::cuda
