#include "daemon/supervisor/machine/inherited_fds.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <array>

namespace vramswap {
namespace {

using testing::HasSubstr;

UniqueFd some_fd() {
  return UniqueFd(open("/dev/null", O_RDONLY | O_CLOEXEC));
}

bool is_close_on_exec(int fd) {
  return (fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0;
}

TEST(InheritedFds, ComeBackByTheirNames) {
  NamedFds fds;
  fds["pool"] = some_fd();
  fds["store-0"] = some_fd();
  const int pool = fds["pool"].get();
  const int store = fds["store-0"].get();
  const std::string text = pass_on(fds);
  EXPECT_EQ(text, fmt::format("pool={},store-0={}", pool, store));
  // They survive exec, and the next one after that only if passed on again.
  EXPECT_FALSE(is_close_on_exec(pool));
  EXPECT_FALSE(is_close_on_exec(store));
  for (auto& [name, fd] : fds) (void)fd.release();
  const auto back = parse_passed_on(text);
  ASSERT_TRUE(back) << back.error().message;
  ASSERT_EQ(back->size(), 2U);
  EXPECT_EQ(back->at("pool").get(), pool);
  EXPECT_EQ(back->at("store-0").get(), store);
  EXPECT_TRUE(is_close_on_exec(pool));
  EXPECT_TRUE(is_close_on_exec(store));
}

TEST(InheritedFds, ReallyCrossExec) {
  NamedFds fds;
  std::array<int, 2> ends{};
  ASSERT_EQ(pipe2(ends.data(), O_CLOEXEC), 0);
  const UniqueFd read_end(ends[0]);
  fds["a-pipe"] = UniqueFd(ends[1]);
  const std::string text = pass_on(fds);
  ASSERT_EQ(text, fmt::format("a-pipe={}", ends[1]));
  const std::string command = fmt::format("echo through >&{}", ends[1]);
  ASSERT_EQ(system(command.c_str()), 0);
  char said[10] = {};
  EXPECT_EQ(read(read_end.get(), said, sizeof said), 8);
  EXPECT_STREQ(said, "through\n");
}

TEST(InheritedFds, AMissingDescriptorIsNamed) {
  for (const char* text : {"", "pool", "pool=", "pool=x", "pool=-1", "pool=2x", "pool= 2",
                           "pool=12345", "pool=99999999999999999999", "pool=2,", ",pool=2"}) {
    // The reader takes every descriptor that it names, so it must not be the test's own standard
    // error.
    const UniqueFd fd = some_fd();
    std::string words = text;
    if (const auto at = words.find("=2"); at != std::string::npos) {
      words.replace(at + 1, 1, fmt::format("{}", fcntl(fd.get(), F_DUPFD_CLOEXEC, 0)));
    }
    const auto taken = parse_passed_on(words);
    ASSERT_FALSE(taken) << words;
    EXPECT_THAT(taken.error().message, HasSubstr("not a descriptor that was passed on")) << words;
  }
}

TEST(InheritedFds, ADescriptorThatIsClosedIsNamed) {
  const int closed = some_fd().get();
  ASSERT_EQ(fcntl(closed, F_GETFD), -1);
  const auto taken = parse_passed_on(fmt::format("store-3={}", closed));
  ASSERT_FALSE(taken);
  EXPECT_EQ(taken.error().message,
            fmt::format("'store-3={}': not a descriptor that was passed on", closed));
}

}  // namespace
}  // namespace vramswap
