#include "daemon/supervisor/machine/worker_environment.hpp"

#include <gmock/gmock.h>

namespace vramswap {
namespace {

using testing::Contains;
using testing::UnorderedElementsAre;

TEST(WorkerEnvironment, HasNothingThatDriverOrLoaderRead) {
  const char* const shell[] = {"PATH=/bin",
                               "CUDA_VISIBLE_DEVICES=1",
                               "CUDA_DEVICE_ORDER=FASTEST_FIRST",
                               "CUDA_MPS_PIPE_DIRECTORY=/tmp/mps",
                               "LD_PRELOAD=/tmp/other.so",
                               "LD_LIBRARY_PATH=/tmp",
                               "NVIDIA_TF32_OVERRIDE=0",
                               "GLIBC_TUNABLES=glibc.malloc.check=3",
                               "NOTIFY_SOCKET=/run/systemd/notify",
                               nullptr};
  EXPECT_THAT(worker_environment(shell),
              UnorderedElementsAre("PATH=/bin", "NOTIFY_SOCKET=/run/systemd/notify",
                                   "CUDA_DEVICE_ORDER=PCI_BUS_ID",
                                   "CUDA_MPS_PIPE_DIRECTORY=/run/vramswap/no-mps"));
}

TEST(WorkerEnvironment, OfAProcessWithoutOne) {
  EXPECT_THAT(worker_environment(nullptr), Contains("CUDA_DEVICE_ORDER=PCI_BUS_ID"));
}

}  // namespace
}  // namespace vramswap
