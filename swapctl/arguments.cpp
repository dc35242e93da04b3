#include "swapctl/arguments.hpp"

#include <fmt/format.h>

#include <boost/program_options/parsers.hpp>

namespace vramswap::swapctl {

namespace po = boost::program_options;

Result<po::variables_map> parse_arguments(const Arguments& arguments,
                                          const po::options_description& options,
                                          std::string_view command, Arguments* others) {
  const auto wrong = [&](std::string_view what) {
    return fail(fmt::format("{} (see vramswap {} --help)", what, command));
  };
  try {
    // A script that says --prio today must not mean another option tomorrow.
    constexpr int kStyle =
        po::command_line_style::unix_style & ~po::command_line_style::allow_guessing;
    const auto parsed = po::command_line_parser(arguments).options(options).style(kStyle).run();
    for (const auto& option : parsed.options) {
      if (option.position_key < 0) continue;
      const std::string& argument = option.value.at(0);
      if (others == nullptr) return wrong(fmt::format("unexpected argument '{}'", argument));
      others->push_back(argument);
    }
    po::variables_map values;
    po::store(parsed, values);
    return values;
  } catch (const po::error& error) {
    return wrong(error.what());
  }
}

Result<void> apply(po::variables_map& values) {
  try {
    po::notify(values);
    return {};
  } catch (const po::error& error) {
    return fail(error.what());
  }
}

}  // namespace vramswap::swapctl
