#include "swapctl/config.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <boost/program_options/parsers.hpp>
#include <cerrno>
#include <fstream>
#include <sstream>
#include <vector>

#include "swapctl/arguments.hpp"
#include "swapctl/settings.hpp"

namespace vramswap::swapctl {
namespace {

namespace fs = std::filesystem;
namespace po = boost::program_options;

// Adds the line's option to `parsed`.
Result<void> parse_line(const std::string& line, const po::options_description& settings,
                        po::parsed_options& parsed) {
  // The library would take "[name]" as the prefix of the next keys, and lose it, because it gets
  // one line at a time.
  const auto start = line.find_first_not_of(" \t");
  if (start != std::string::npos && line[start] == '[')
    return fail("config files have no sections");
  try {
    std::istringstream text(line);
    const auto one = po::parse_config_file(text, settings);
    parsed.options.insert(parsed.options.end(), one.options.begin(), one.options.end());
    return {};
  } catch (const po::unknown_option& unknown) {
    return fail(fmt::format("unknown key '{}': the keys are {}", unknown.get_option_name(),
                            names_of(settings)));
  } catch (const po::invalid_config_file_syntax&) {
    return fail("write KEY = VALUE");
  } catch (const po::error& error) {
    return fail(error.what());
  }
}

// Applies all lines so far, not the last alone: `gpu` adds up within a file and replaces the values
// of other files, and any other key given twice is an error.
Result<void> apply_lines(const po::parsed_options& parsed) {
  po::variables_map values;
  try {
    po::store(parsed, values);
  } catch (const po::error& error) {
    return fail(error.what());
  }
  return apply(values);
}

Result<std::vector<fs::path>> config_files_in(const fs::path& directory) {
  std::vector<fs::path> files;
  std::error_code error;
  for (fs::directory_iterator entry(directory, error), end; !error && entry != end;
       entry.increment(error)) {
    const auto& path = entry->path();
    // Not ".#name.conf", which an editor leaves there.
    if (path.extension() == ".conf" && !path.filename().string().starts_with('.')) {
      files.push_back(path);
    }
  }
  if (error && error != std::errc::no_such_file_or_directory) {
    return fail_errno(directory.string(), "read", error.value());
  }
  std::ranges::sort(files);
  return files;
}

}  // namespace

Result<void> apply_config_file(const fs::path& path, const po::options_description& settings) {
  std::ifstream file(path);
  if (!file) return fail_errno(path.string(), "open", errno);
  po::parsed_options parsed(&settings);
  std::string line;
  for (int number = 1; std::getline(file, line); ++number) {
    auto applied = parse_line(line, settings, parsed);
    if (applied) applied = apply_lines(parsed);
    if (!applied) {
      return fail(fmt::format("{}:{}: {}", path.string(), number, applied.error().message));
    }
  }
  if (file.bad()) return fail_errno(path.string(), "read", errno);
  return {};
}

Result<void> apply_config(const ConfigPaths& paths, const po::options_description& settings) {
  auto files = config_files_in(paths.directory);
  if (!files) return files.error();
  std::error_code error;
  if (fs::exists(paths.file, error) || error) files->insert(files->begin(), paths.file);
  for (const auto& file : *files) {
    if (auto applied = apply_config_file(file, settings); !applied) return applied;
  }
  return {};
}

Result<void> apply_sources(po::variables_map& arguments, const po::options_description& settings,
                           const ConfigPaths& paths) {
  auto read = arguments.count("config") != 0
                  ? apply_config_file(arguments["config"].as<std::string>(), settings)
                  : apply_config(paths, settings);
  if (!read) return read;
  return apply(arguments);
}

}  // namespace vramswap::swapctl
