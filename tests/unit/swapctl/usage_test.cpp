// Wrong usage: each gets one line that says what to do, and exit code 2.
#include <fmt/format.h>

#include <algorithm>

#include "tests/unit/swapctl/command_fixture.hpp"

namespace vramswap::swapctl {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

struct Wrong {
  std::vector<const char*> words;
  const char* says;
};

struct UsageTest : CommandTest {
  void expect_wrong(const Wrong& wrong) {
    EXPECT_EQ(run(wrong.words), kWrongUsage);
    EXPECT_EQ(out.str(), "");
    EXPECT_THAT(err.str(), StartsWith("vramswap: "));
    EXPECT_THAT(err.str(), HasSubstr(wrong.says));
    EXPECT_EQ(std::ranges::count(err.str(), '\n'), 1) << err.str();
    EXPECT_EQ(err.str().back(), '\n');
  }
};

TEST_F(UsageTest, WrongWordsAreExplained) {
  const Wrong table[] = {
      {{}, "name a command: up, down, status, lend, take-back, run, reload, bench or doctor"},
      {{"upp"}, "unknown command 'upp'"},
      {{"--size", "7G"}, "unknown option '--size'"},
      {{"up", "--sise", "7G"}, "'--sise' (see vramswap up --help)"},
      {{"up", "--prio", "7"}, "'--prio'"},
      {{"up", "7G"}, "unexpected argument '7G'"},
      {{"up", "--size"}, "'--size' is missing"},
      {{"up", "--size", "7G", "--size", "8G"}, "more than once"},
      {{"up"}, "size is missing: write e.g. --size 7G"},
      {{"up", "--size", ""}, "size ''"},
      {{"up", "--size", "0"}, "size '0': must be above zero"},
      {{"up", "--size", "-7G"}, "size '-7G': must be above zero"},
      {{"up", "--size", "seven"}, "size 'seven': not a number"},
      {{"up", "--size", "7X"}, "unknown unit 'X'"},
      {{"up", "--size", "101%"}, "at most 100%"},
      {{"up", "--size", "4095"}, "below one page (4096 bytes)"},
      {{"up", "--size", "1G", "--priority", "-2"},
       "priority '-2': must be a whole number -1..32767"},
      {{"up", "--size", "1G", "--priority", "32768"}, "priority '32768'"},
      {{"up", "--size", "1G", "--priority", "1.5"}, "priority '1.5'"},
      {{"up", "--size", "1G", "--priority", "99999999999999999999"}, "priority"},
      {{"up", "--size", "1G", "--priority", "+5"}, "priority '+5'"},
      {{"up", "--size", "1G", "--connections", "65"},
       "connections '65': must be a whole number 0..64"},
      {{"up", "--size", "1G", "--connections", "-1"}, "connections '-1'"},
      {{"up", "--size", "1G", "--segment-size", "1M"}, "a multiple of 2M"},
      {{"up", "--size", "1G", "--segment-size", "3M"}, "a multiple of 2M"},
      {{"up", "--size", "1G", "--segment-size", "0"}, "segment-size: size '0'"},
      {{"up", "--size", "1G", "--segment-size", "50%"}, "segment-size: size '50%'"},
      {{"up", "--size", "1G", "--reconnect-timeout", "0"}, "reconnect-timeout '0'"},
      {{"up", "--size", "1G", "--reconnect-timeout", "10s"}, "must be a whole number 1..86400"},
      {{"up", "--size", "1G", "--doze-after", "-1"}, "doze-after '-1'"},
      {{"up", "--size", "1G", "--doze-after", "86401"}, "must be a whole number 0..86400"},
      {{"up", "--size", "1G", "--hang-timeout", "0"}, "hang-timeout '0'"},
      {{"up", "--size", "1G", "--hang-timeout", "3601"}, "must be a whole number 1..3600"},
      {{"up", "--size", "1G", "--backend", "disk"}, "backend 'disk': must be vram or ram"},
      {{"up", "--size", "1G", "--gpu", ""}, "gpu ''"},
      {{"up", "--size", "1G", "--force"}, "'--force'"},
      {{"up", "--size", "1G", "--config", "/nonexistent/file"}, "/nonexistent/file: open: ENOENT"},
      {{"down", "now"}, "unexpected argument 'now'"},
      {{"down", "--json"}, "'--json' (see vramswap down --help)"},
      {{"down", "--force=yes"}, "does not take any arguments"},
      {{"lend"}, "lend: say how much: SIZE or --all (see vramswap lend --help)"},
      {{"lend", "4G", "5G"}, "lend: say how much"},
      {{"lend", "4G", "--all"}, "lend: say how much"},
      {{"lend", ""}, "size ''"},
      {{"lend", "0"}, "size '0': must be above zero"},
      {{"lend", "much"}, "size 'much': not a number"},
      {{"lend", "50%"}, "size '50%'"},
      {{"lend", "max"}, "size 'max'"},
      {{"lend", "4G", "--wait", "-1"}, "wait '-1': must be a whole number 0..86400"},
      {{"lend", "4G", "--wait", "86401"}, "wait '86401'"},
      {{"lend", "4G", "--wait", "soon"}, "wait 'soon'"},
      {{"lend", "4G", "--wait"}, "'--wait' is missing"},
      {{"lend", "4G", "--force"}, "'--force' (see vramswap lend --help)"},
      {{"take-back", "4G"}, "unexpected argument '4G'"},
      {{"take-back", "--all"}, "'--all' (see vramswap take-back --help)"},
      {{"run"}, "run: say which command (see vramswap run --help)"},
      {{"run", "--"}, "run: say which command"},
      {{"run", "--all"}, "run: say which command"},
      {{"run", "--vram"}, "'--vram' is missing"},
      {{"run", "--vram", "4G"}, "run: say which command"},
      {{"run", "--vram", "", "true"}, "vram: size ''"},
      {{"run", "--vram", "0", "true"}, "vram: size '0': must be above zero"},
      {{"run", "--vram=much", "true"}, "vram: size 'much': not a number"},
      {{"run", "--vram", "50%", "true"}, "vram: size '50%'"},
      {{"run", "--vram", "4G", "--all", "true"}, "run: --vram and --all exclude each other"},
      {{"run", "--vram", "4G", "--vram", "5G", "true"}, "more than once"},
      {{"run", "--wait", "soon", "true"}, "wait 'soon'"},
      {{"run", "--wait", "86401", "true"}, "wait '86401': must be a whole number 0..86400"},
      {{"run", "--or-go", "true"}, "'--or-go' (see vramswap run --help)"},
      {{"run", "--force", "true"}, "'--force' (see vramswap run --help)"},
      {{"up", "--size", "1G", "--lend-group", "no-such-group"},
       "lend-group 'no-such-group': there is no such group"},
      {{"up", "--size", "1G", "--lend-group", ""}, "lend-group ''"},
      {{"reload", "now"}, "unexpected argument 'now'"},
      {{"reload", "--force"}, "'--force' (see vramswap reload --help)"},
      {{"bench", "--size", "1M"}, "size '1M': must be a multiple of 2M"},
      {{"bench", "--size", "0"}, "size '0': must be above zero"},
      {{"bench", "--size", "50%"}, "size '50%'"},
      {{"bench", "--seconds", "0"}, "seconds '0': must be a whole number 1..3600"},
      {{"bench", "--seconds", "1.5"}, "seconds '1.5'"},
      {{"bench", "--reads", "3601"}, "reads '3601'"},
      {{"bench", "--backend", "disk"}, "backend 'disk': must be vram or ram"},
      {{"bench", "--priority", "7"}, "'--priority' (see vramswap bench --help)"},
      {{"bench", "--plot"}, "'--plot' is missing"},
      {{"bench", "/nonexistent"}, "'/nonexistent' is not an active swap"},
      {{"bench", "--config", "/nonexistent/file"}, "/nonexistent/file: open: ENOENT"},
      {{"doctor", "now"}, "unexpected argument 'now'"},
      {{"doctor", "--fix"}, "'--fix' (see vramswap doctor --help)"},
      {{"status", "/dev/nbd0"}, "unexpected argument '/dev/nbd0'"},
      {{"status", "--watch", "0"}, "watch '0': must be a whole number 1..86400"},
      {{"status", "--watch=86401"}, "watch '86401': must be a whole number 1..86400"},
      {{"status", "--watch", "soon"}, "watch 'soon'"},
      {{"status", "--watch", "1.5"}, "watch '1.5'"},
      {{"status", "--watch", ""}, "--watch"},
      {{"status", "--watch", "-1"}, "'-1' (see vramswap status --help)"},
      {{"status", "--watch", "1", "2"}, "unexpected argument '2'"},
      {{"status", "--prometheus", "--json"}, "--prometheus goes with neither --json nor --watch"},
      {{"status", "--watch", "--prometheus"}, "--prometheus goes with neither --json nor --watch"},
      {{"up", "--watch"}, "'--watch' (see vramswap up --help)"},
      {{"status", "--jso"}, "'--jso' (see vramswap status --help)"},
  };
  for (const auto& wrong : table) {
    SCOPED_TRACE(fmt::format("{}", fmt::join(wrong.words, " ")));
    expect_wrong(wrong);
  }
}

TEST_F(UsageTest, HelpNeedsNeitherRootNorDaemon) {
  environment.is_root = false;
  directory.write("vramswap.conf", "broken");
  for (const auto& words : std::vector<std::vector<const char*>>{{"--help"},
                                                                 {"-h"},
                                                                 {"up", "--help"},
                                                                 {"down", "-h"},
                                                                 {"status", "--json", "--help"},
                                                                 {"lend", "--help"},
                                                                 {"take-back", "--help"},
                                                                 {"run", "--help"},
                                                                 {"run", "--vram", "4G", "-h"},
                                                                 {"reload", "--help"},
                                                                 {"bench", "--help"},
                                                                 {"doctor", "--help"}}) {
    EXPECT_EQ(run(words), kDone);
    EXPECT_THAT(out.str(), HasSubstr("Usage:"));
    EXPECT_THAT(out.str(), HasSubstr("Exit codes:"));
    EXPECT_EQ(err.str(), "");
  }
}

TEST_F(UsageTest, HelpListsEveryCommandInItsColumn) {
  ASSERT_EQ(run({"--help"}), kDone);
  EXPECT_THAT(out.str(), HasSubstr(R"(Usage:
  vramswap up [options]      make swap of VRAM; starts vramswapd if needed
  vramswap down [--force]    bring every swapped page back and free the VRAM
  vramswap status [--prometheus | [--json] [--watch [SECONDS]]]
                             show what is up, and what it has served
  vramswap lend SIZE | --all free VRAM for other programs; the swap stays up
  vramswap take-back         take back the VRAM that was lent
  vramswap run COMMAND...    free VRAM for as long as COMMAND runs
  vramswap reload            replace the programs after an upgrade
  vramswap bench [options]   measure the swap of this machine
  vramswap doctor [--json]   check whether this machine has what it needs
  vramswap --help | --version
)"));
}

TEST_F(UsageTest, HelpFitsAScreen) {
  ASSERT_EQ(run({"--help"}), kDone);
  std::istringstream text(out.str());
  int lines = 0;
  for (std::string line; std::getline(text, line); ++lines) EXPECT_LE(line.size(), 80U) << line;
  EXPECT_LT(lines, 24);  // the prompt has one
}

TEST_F(UsageTest, HelpExplainsSizes) {
  ASSERT_EQ(run({"up", "--help"}), kDone);
  for (const char* text : {"G means GiB", "7G, 512M, 1.5GiB", "80%", "max", "1 GiB", "3 GiB"}) {
    EXPECT_THAT(out.str(), HasSubstr(text));
  }
}

TEST_F(UsageTest, VersionIsOneLine) {
  EXPECT_EQ(run({"--version"}), kDone);
  EXPECT_THAT(out.str(), testing::MatchesRegex("vramswap [0-9]+\\.[0-9]+\\.[0-9]+\n"));
}

TEST_F(UsageTest, OutputThatCannotBeWrittenIsAFailure) {
  std::ofstream full("/dev/full");
  const Environment to_full{.out = full, .err = err, .start_daemon = environment.start_daemon};
  const char* const arguments[] = {"--help"};
  EXPECT_EQ(swapctl::run(arguments, commands(), to_full), kFailed);
  EXPECT_EQ(err.str(), "vramswap: standard output: cannot be written\n");
}

}  // namespace
}  // namespace vramswap::swapctl
