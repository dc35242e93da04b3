// What the import of a store says when it fails: only evidence makes a store a lost one.
#include "daemon/worker/store/vram_store.hpp"

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <cerrno>

#include "tests/unit/cuda/fake_cuda_test.hpp"
#include "tests/unit/cuda/processes.hpp"

namespace vramswap {
namespace {

class VramStoreTest : public test::FakeCudaTest {
 protected:
  static constexpr std::uint64_t kBytes = 4 << 20;

  // An import of what is no VRAM, by a driver that is ordered to fail, ends with the code.
  void expect_import_error(int code, const char* fail = nullptr) {
    SCOPED_TRACE(fail == nullptr ? "all calls work" : fail);
    if (fail != nullptr) setenv("FAKE_CUDA_FAIL", fail, 1);
    test::in_child([&] {
      // A library that is loaded is found by its name afterwards.
      ASSERT_TRUE(load());
      const auto device = make_vram_device("", directory());
      ASSERT_TRUE(device) << device.error().message;
      UniqueFd gone(memfd_create("gone", MFD_CLOEXEC));
      const auto store = (*device)->import(std::move(gone), kBytes);
      ASSERT_FALSE(store);
      EXPECT_EQ(store.error().code, code) << store.error().message;
    });
  }
};

TEST_F(VramStoreTest, AStoreThatFailsWhileFreshMemoryWorksIsStale) {
  expect_import_error(ESTALE);
}

TEST_F(VramStoreTest, AStoreThatFailsLikeFreshMemoryIsNotStale) {
  expect_import_error(0, "cuMemImportFromShareableHandle=999");
  expect_import_error(0, "cuMemCreate=2");
  expect_import_error(0, "cuMemExportToShareableHandle=999");
  expect_import_error(0, "cuMemMap=999");
}

TEST_F(VramStoreTest, CodesThatPassAreNoEvidence) {
  for (const int code : {2, 46, 304, 700, 709, 801, 802, 803}) {
    const auto fail = "cuMemImportFromShareableHandle=" + std::to_string(code);
    expect_import_error(0, fail.c_str());
  }
}

// Not the driver's word at all.
TEST_F(VramStoreTest, AWrongSizeIsNoEvidence) {
  test::in_child([&] {
    ASSERT_TRUE(load());
    const auto device = make_vram_device("", directory());
    ASSERT_TRUE(device) << device.error().message;
    const auto store =
        (*device)->import(UniqueFd(memfd_create("gone", MFD_CLOEXEC)), kBytes + 4096);
    ASSERT_FALSE(store);
    EXPECT_EQ(store.error().code, 0);
  });
}

}  // namespace
}  // namespace vramswap
