// The whole command, on swap files of the test's own.
#include <fmt/format.h>
#include <sys/inotify.h>

#include <csignal>
#include <cstring>
#include <future>

#include "daemon/base/json.hpp"
#include "swapctl/bench/scratch_segments.hpp"
#include "tests/unit/swapctl/command_fixture.hpp"

namespace vramswap::swapctl {
namespace {

using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

constexpr std::size_t kAreaBytes = 64 << 10;

// What happened to a file since it was watched.
class FileWatch {
 public:
  explicit FileWatch(const std::filesystem::path& file) {
    EXPECT_GE(inotify_add_watch(fd_.get(), file.c_str(), IN_ALL_EVENTS), 0);
  }
  std::uint32_t events() const {
    std::uint32_t all = 0;
    alignas(inotify_event) char buffer[4096];
    for (ssize_t got = 0; (got = read(fd_.get(), buffer, sizeof buffer)) > 0;) {
      for (ssize_t at = 0; at < got;) {
        inotify_event event;
        std::memcpy(&event, buffer + at, sizeof event);
        all |= event.mask;
        at += static_cast<ssize_t>(sizeof event + event.len);
      }
    }
    return all;
  }

 private:
  UniqueFd fd_{inotify_init1(IN_NONBLOCK | IN_CLOEXEC)};
};

struct BenchTest : CommandTest {
  BenchTest() {
    environment.scratch_socket = directory / "scratch";
    environment.start_scratch_daemon = [](const auto&) -> Result<ControlClient> {
      return fail("no daemon in this test");
    };
    environment.swaps_path = directory / "swaps";
    environment.block_directory = directory / "block";
    directory.write("swaps", fmt::format("Filename Type Size Used Priority\n{} file {} 0 -2\n",
                                         area.string(), kAreaBytes / 1024));
  }
  // Whether direct I/O is possible where the test's files are.
  bool is_direct() const {
    return UniqueFd(open(area.c_str(), O_RDONLY | O_DIRECT | O_CLOEXEC)).get() >= 0;
  }

  const std::filesystem::path area = directory.write("area", std::string(kAreaBytes, 'x'));
  const std::vector<const char*> quick = {"bench", "--seconds", "1", "--reads", "1", area.c_str()};
};

TEST_F(BenchTest, ActiveSwapIsNeverOpenedForWriting) {
  if (!is_direct()) GTEST_SKIP() << "no direct I/O in /tmp";
  const FileWatch watch(area);
  EXPECT_EQ(run(quick), kDone) << err.str();
  EXPECT_THAT(out.str(), StartsWith("NAME "));
  EXPECT_THAT(out.str(), HasSubstr(area.string() + " file"));
  EXPECT_EQ(err.str(), "");
  const auto events = watch.events();
  EXPECT_NE(events & IN_CLOSE_NOWRITE, 0U);
  EXPECT_EQ(events & (IN_CLOSE_WRITE | IN_MODIFY | IN_ATTRIB), 0U);
}

TEST_F(BenchTest, JsonAndAPicture) {
  if (!is_direct()) GTEST_SKIP() << "no direct I/O in /tmp";
  auto words = quick;
  const auto plot = directory / "plot.svg";
  words.insert(words.end(), {"--json", "--plot", plot.c_str()});
  EXPECT_EQ(run(words), kDone) << err.str();
  const auto json = parse_json(out.str());
  EXPECT_GT(json["devices"][0]["random_read_iops"], 0);
  EXPECT_TRUE(json["devices"][0]["random_write_iops"].is_null());
  std::ostringstream svg;
  svg << std::ifstream(plot).rdbuf();
  EXPECT_THAT(svg.str(), StartsWith("<svg "));
}

TEST_F(BenchTest, APictureThatCannotBeWrittenCostsNoResults) {
  auto words = quick;
  words.insert(words.end(), {"--plot", "/nonexistent/plot.svg"});
  EXPECT_EQ(run(words), kFailed);
  EXPECT_THAT(out.str(), StartsWith("NAME "));
  EXPECT_THAT(err.str(), HasSubstr("/nonexistent/plot.svg: open: ENOENT"));
}

TEST_F(BenchTest, AnAreaThatCannotBeReadIsARowAndAFailure) {
  std::filesystem::remove(area);
  EXPECT_EQ(run(quick), kFailed);
  EXPECT_THAT(out.str(), HasSubstr(area.string()));
  EXPECT_THAT(err.str(), HasSubstr("area: open: ENOENT"));
}

TEST_F(BenchTest, NeedsRoot) {
  environment.is_root = false;
  EXPECT_EQ(run({"bench"}), kFailed);
  EXPECT_EQ(err.str(), "vramswap: bench needs root: run it with sudo\n");
}

TEST_F(BenchTest, ATargetThatIsNoSwapIsWrongUsage) {
  EXPECT_EQ(run({"bench", "/dev/null"}), kWrongUsage);
  EXPECT_EQ(out.str(), "");
  EXPECT_THAT(err.str(), StartsWith("vramswap: '/dev/null' is not an active swap"));
}

TEST_F(BenchTest, AnInterruptionEndsIt) {
  if (!is_direct()) GTEST_SKIP() << "no direct I/O in /tmp";
  // Held back, so that it is there when the command begins to look.
  sigset_t interrupt;
  sigemptyset(&interrupt);
  sigaddset(&interrupt, SIGINT);
  pthread_sigmask(SIG_BLOCK, &interrupt, nullptr);
  raise(SIGINT);
  EXPECT_EQ(run({"bench", "--seconds", "3600", area.c_str()}), kFailed);
  pthread_sigmask(SIG_UNBLOCK, &interrupt, nullptr);
  EXPECT_EQ(out.str(), "");
  EXPECT_EQ(err.str(), "vramswap: interrupted\n");
}

TEST_F(BenchTest, WithoutAScratchSegmentNothingIsMeasured) {
  environment.start_scratch_daemon = [&](const std::filesystem::path& socket) {
    EXPECT_EQ(socket, environment.scratch_socket);
    return Result<ControlClient>(fail("the kernel's nbd module cannot be loaded"));
  };
  const FileWatch watch(area);
  EXPECT_EQ(run({"bench", "--seconds", "1"}), kFailed);
  EXPECT_EQ(out.str(), "");
  EXPECT_EQ(err.str(), "vramswap: the kernel's nbd module cannot be loaded\n");
  EXPECT_EQ(watch.events(), 0U);
}

struct ScratchTest : BenchTest {
  // The request that the daemon got, and the end of the connection, which it waits for.
  control::UpRequest request;
  bool was_left = false;

  FakeDaemon::Serve serve(const control::Reply& reply) {
    return [this, reply](FakeConnection& connection) {
      const auto line = control::decode_request(connection.read_line());
      ASSERT_TRUE(line);
      request = std::get<control::UpRequest>(*line);
      connection.reply(reply);
      was_left = connection.read_line().empty();
    };
  }
  static control::Status segment(const std::string& device) {
    auto status = one_segment();
    status.segments[0].device = device;
    return status;
  }
};

TEST_F(ScratchTest, IsMadeAsTheSettingsOfUpSay) {
  directory.write("vramswap.conf", "size = 80%\npriority = 7\ngpu = 0\ngpu = 1\nconnections = 3\n");
  {
    FakeDaemon daemon(environment.scratch_socket, serve(control::Failure{"no GPU"}));
    EXPECT_EQ(run({"bench", "--size", "32M"}), kFailed);
  }
  EXPECT_EQ(err.str(), "vramswap: no GPU\n");
  EXPECT_EQ(request.size, control::Size{control::Bytes{64ULL << 20}});
  EXPECT_EQ(request.segment_size_bytes, 32ULL << 20);
  EXPECT_EQ(request.connections, 3U);
  EXPECT_TRUE(was_left);
}

// Whatever device it is told of: that is not written to.
TEST_F(ScratchTest, ADeviceThatIsNotScratchIsNotTouched) {
  const FileWatch watch(area);
  {
    FakeDaemon daemon(environment.scratch_socket, serve(segment(area)));
    EXPECT_EQ(run({"bench", "--backend", "ram", "scratch"}), kFailed);
  }
  EXPECT_EQ(request.size, control::Size{control::Bytes{256ULL << 20}});
  EXPECT_THAT(err.str(), HasSubstr("not a scratch segment, so bench does not write to it"));
  EXPECT_EQ(watch.events(), 0U);
  EXPECT_TRUE(was_left);
}

TEST_F(ScratchTest, IsWrittenAndRead) {
  if (!is_direct()) GTEST_SKIP() << "no direct I/O in /tmp";
  const auto device = directory.write("nbd7", std::string(2 << 20, '\0'));
  directory.write("block/nbd7/backend", "vramscratch-00c0ffee-0\n");
  auto status = segment(device);
  status.segments[0].size_bytes = 2 << 20;
  {
    FakeDaemon daemon(environment.scratch_socket, serve(status));
    EXPECT_EQ(run({"bench", "--seconds", "1", "--reads", "1", "--json", "scratch"}), kDone);
  }
  const auto scratch = parse_json(out.str())["devices"][0];
  EXPECT_EQ(scratch["name"], "scratch");
  EXPECT_EQ(scratch["kind"], "NVIDIA H200");
  EXPECT_GT(scratch["sequential_write_bytes_per_second"], 0);
  EXPECT_GT(scratch["random_write_iops"], 0);
  EXPECT_GT(scratch["single_read_us"]["min"], 0);
  EXPECT_TRUE(was_left);
}

}  // namespace
}  // namespace vramswap::swapctl
