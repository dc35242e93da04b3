#include "daemon/base/error.hpp"

#include <gmock/gmock.h>

#include <cerrno>
#include <memory>

namespace vramswap {
namespace {

struct ForeignError {
  std::string message() const { return "GPU 0: broken"; }
  int code = EIO;
};
enum class DriverCode { broken = 7 };
struct DriverError {
  std::string message() const { return "GPU 0: broken"; }
  DriverCode code = DriverCode::broken;
};

Result<int> passed_on(const Result<std::string>& other) {
  return other.error();
}

TEST(ResultTest, PassesOnTheErrorOfAnotherResult) {
  const auto result = passed_on(fail_errno("file", "open", ENOENT));
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().message, "file: open: ENOENT (No such file or directory)");
  EXPECT_EQ(result.error().code, ENOENT);
}

TEST(ResultTest, TakesTheErrorOfALibrary) {
  const Result<void> result = ForeignError{};
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().message, "GPU 0: broken");
  EXPECT_EQ(result.error().code, EIO);
}

TEST(ResultTest, TakesNoCodeThatIsNoErrno) {
  const Result<void> result = DriverError{};
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().message, "GPU 0: broken");
  EXPECT_EQ(result.error().code, 0);
}

TEST(ResultTest, CopiesKeepTheValue) {
  Result<bool> no = false;
  const Result<bool> copy = no;
  no = true;
  ASSERT_TRUE(copy);
  EXPECT_FALSE(*copy);
  Result<std::unique_ptr<int>> owner = std::make_unique<int>(3);
  const Result<std::unique_ptr<const int>> moved = std::move(owner);
  EXPECT_EQ(**moved, 3);
}

}  // namespace
}  // namespace vramswap
