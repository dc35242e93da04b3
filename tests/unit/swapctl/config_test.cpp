#include "swapctl/config.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sstream>

#include "swapctl/settings.hpp"
#include "tests/support/temp_directory.hpp"

namespace vramswap::swapctl {
namespace {

using control::UpRequest;
using testing::ElementsAre;
using testing::EndsWith;
using testing::HasSubstr;
using testing::StartsWith;

struct ConfigTest : testing::Test {
  Result<void> apply_all() { return apply_config(paths, settings); }
  // The error of a file with this text, without the file's name.
  std::string error_of(std::string_view text) {
    const auto file = directory.write("vramswap.conf", text);
    const auto applied = apply_all();
    if (applied) return "";
    EXPECT_THAT(applied.error().message, StartsWith(file.string() + ':'));
    EXPECT_EQ(applied.error().message.find('\n'), std::string::npos);
    return applied.error().message.substr(file.string().size());
  }

  TempDirectory directory;
  ConfigPaths paths{.file = directory / "vramswap.conf", .directory = directory / "conf.d"};
  UpRequest request;
  const boost::program_options::options_description settings = up_settings(request);
};

TEST_F(ConfigTest, NoFilesAreFine) {
  EXPECT_TRUE(apply_all());
}

TEST_F(ConfigTest, CommentsBlanksAndSpacesAreSkipped) {
  directory.write("vramswap.conf", "# swap\n\n  size=7G   # GiB\n\tpriority =\t5 \r\n");
  ASSERT_TRUE(apply_all());
  EXPECT_EQ(request.size, control::Size{control::Bytes{7ULL << 30}});
  EXPECT_EQ(request.priority, 5);
}

TEST_F(ConfigTest, TheLastLineNeedsNoEnd) {
  directory.write("vramswap.conf", "priority = 6");
  ASSERT_TRUE(apply_all());
  EXPECT_EQ(request.priority, 6);
}

TEST_F(ConfigTest, LaterFilesOverrideOnlyTheKeysThatTheyName) {
  directory.write("conf.d/20-b.conf", "priority = 20\n");
  directory.write("conf.d/10-a.conf", "priority = 10\nconnections = 3\n");
  directory.write("vramswap.conf", "priority = 1\nconnections = 1\nsize = 1G\n");
  ASSERT_TRUE(apply_all());
  EXPECT_EQ(request.priority, 20);
  EXPECT_EQ(request.connections, 3U);
  EXPECT_EQ(request.size, control::Size{control::Bytes{1ULL << 30}});
}

TEST_F(ConfigTest, GpusAddUpInAFileAndReplaceThoseOfAnother) {
  directory.write("vramswap.conf", "gpu = 0\ngpu = 1\n");
  ASSERT_TRUE(apply_all());
  EXPECT_THAT(request.gpus, ElementsAre("0", "1"));
  directory.write("conf.d/a.conf", "gpu = 2\n");
  ASSERT_TRUE(apply_all());
  EXPECT_THAT(request.gpus, ElementsAre("2"));
}

TEST_F(ConfigTest, OtherFilesOfTheDirectoryAreNotRead) {
  directory.write("conf.d/README", "no config");
  directory.write("conf.d/a.conf~", "no config");
  directory.write("conf.d/.#a.conf", "no config");
  EXPECT_TRUE(apply_all());
}

TEST_F(ConfigTest, ErrorsHaveFileAndLine) {
  EXPECT_THAT(error_of("size = 7G\nsise = 8G\n"), StartsWith(":2: unknown key 'sise'"));
  EXPECT_THAT(error_of("sise = 8G\n"), HasSubstr("size, priority, gpu"));
  EXPECT_EQ(error_of("\n\npriority = high\n"),
            ":3: priority 'high': must be a whole number -1..32767");
  EXPECT_THAT(error_of("size = 0"), StartsWith(":1: size '0': must be above zero"));
  EXPECT_THAT(error_of("size ="), StartsWith(":1: size ''"));
  EXPECT_THAT(error_of("gpu ="), StartsWith(":1: gpu ''"));
  EXPECT_EQ(error_of("size 7G\n"), ":1: write KEY = VALUE");
  EXPECT_EQ(error_of("= 7G\n"), ":1: unknown key '': the keys are " + names_of(settings));
  EXPECT_EQ(error_of("size = 1G\n [gpu0]\n"), ":2: config files have no sections");
  EXPECT_EQ(error_of("size = 1G\n\nsize = 2G\n"),
            ":3: option 'size' cannot be specified more than once");
}

TEST_F(ConfigTest, CommandLineOnlyOptionsAreNoKeys) {
  EXPECT_THAT(error_of("config = /etc/other\n"), StartsWith(":1: unknown key 'config'"));
  EXPECT_THAT(error_of("help = yes\n"), StartsWith(":1: unknown key 'help'"));
}

TEST_F(ConfigTest, ErrorsNameTheFileOfTheDirectory) {
  directory.write("conf.d/a.conf", "size = 7G\n");
  const auto bad = directory.write("conf.d/b.conf", "\nsize = 7Q\n");
  const auto applied = apply_all();
  ASSERT_FALSE(applied);
  EXPECT_THAT(applied.error().message, StartsWith(bad.string() + ":2: size '7Q'"));
}

TEST_F(ConfigTest, AFileThatCannotBeReadIsAnError) {
  const auto missing = apply_config_file(directory / "none", settings);
  ASSERT_FALSE(missing);
  EXPECT_THAT(missing.error().message, HasSubstr("ENOENT"));
  std::filesystem::create_directory(paths.file);
  const auto applied = apply_all();
  ASSERT_FALSE(applied);
  EXPECT_THAT(applied.error().message, HasSubstr("EISDIR"));
}

// Prose in the example starts with "# ", settings with "#".
TEST_F(ConfigTest, TheExampleHasEverySettingAtItsDefault) {
  std::ifstream example(VRAMSWAP_EXAMPLE_CONFIG);
  ASSERT_TRUE(example);
  std::string text;
  for (std::string line; std::getline(example, line);) {
    if (line.size() > 1 && line[0] == '#' && line[1] != ' ') text += line.substr(1) + '\n';
  }
  for (const auto& setting : settings.options()) {
    EXPECT_THAT('\n' + text, HasSubstr('\n' + setting->long_name() + " = "));
  }
  EXPECT_EQ(error_of(text), "");
  EXPECT_EQ(request.size, control::Size{control::Bytes{7ULL << 30}});
  EXPECT_THAT(request.gpus, ElementsAre("0"));
  const UpRequest defaults;
  EXPECT_EQ(request.priority, defaults.priority);
  EXPECT_EQ(request.backend, defaults.backend);
  EXPECT_EQ(request.segment_size_bytes, defaults.segment_size_bytes);
  EXPECT_EQ(request.connections, defaults.connections);
  EXPECT_EQ(request.reconnect_timeout, defaults.reconnect_timeout);
}

}  // namespace
}  // namespace vramswap::swapctl
