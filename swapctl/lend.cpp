#include <fmt/format.h>

#include <boost/program_options/value_semantic.hpp>
#include <cerrno>
#include <ostream>

#include "swapctl/commands.hpp"
#include "swapctl/interruption.hpp"
#include "swapctl/loan_client.hpp"

namespace vramswap::swapctl {
namespace {

namespace po = boost::program_options;

constexpr Help kLendHelp = {.name = "lend",
                            .before = R"(Usage: vramswap lend SIZE | --all [--wait SECONDS]

Frees SIZE of VRAM on each card of the pool for other programs, while the swap stays up. Used pages
move to host memory where it has room, else to wherever swapoff finds room for them. Loans add up;
'vramswap take-back' ends them. If not all of SIZE can be freed, what was freed stays lent. Needs
root, or a group that lend-group names; see vramswap.conf(5).

)",
                            .after = R"(
Exit codes:
  0 done, 1 failed or not all could be freed, 2 wrong usage
)"};

constexpr Help kTakeBackHelp = {.name = "take-back",
                                .before = R"(Usage: vramswap take-back

Ends what 'vramswap lend' has lent. The pages move back to VRAM in the background, as soon as the
card has room for them. Needs root, or a group that lend-group names; see vramswap.conf(5).

)",
                                .after = R"(
Exit codes:
  0 done, 1 failed or nothing is lent, 2 wrong usage
)"};

Result<control::LendRequest> request_of(const Arguments& others, bool all) {
  if (all == !others.empty() || others.size() > 1) {
    return fail("lend: say how much: SIZE or --all (see vramswap lend --help)");
  }
  if (all) return control::LendRequest{};
  const auto bytes = control::parse_byte_size(others.front());
  if (!bytes) return bytes.error();
  return control::LendRequest{.bytes = *bytes};
}

}  // namespace

int lend(const Arguments& arguments, const Environment& environment) {
  bool all = false;
  std::optional<std::chrono::seconds> wait;
  po::options_description options("Options");
  options.add_options()("all", po::bool_switch(&all), "all VRAM of the pool")(
      "wait", wait_option(wait), "begin nothing more after this long");
  Arguments others;
  const auto values = read_options(arguments, options, kLendHelp, environment, &others);
  if (!values) return values.error();
  auto request = request_of(others, all);
  if (!request) return report(environment, request.error(), kWrongUsage);
  request->wait = wait;
  request->purpose = "vramswap lend";

  auto client = connect_to_what_is_up(environment);
  if (!client) return report(environment, client.error(), kFailed);
  const auto lent = borrow(*client, *request, environment);
  if (!lent) {
    const bool interrupted = lent.error().code == EINTR;
    return report(environment,
                  interrupted
                      ? Error{"interrupted: the daemon goes on; 'vramswap take-back' ends the loan"}
                      : lent.error(),
                  kFailed);
  }
  if (lent->missing_bytes > 0) return report(environment, shortage(*lent), kFailed);
  environment.out << fmt::format("{} of VRAM are free for others on each card\n",
                                 control::format_bytes(lent->freed_bytes));
  return kDone;
}

int take_back(const Arguments& arguments, const Environment& environment) {
  const auto values =
      read_options(arguments, po::options_description("Options"), kTakeBackHelp, environment);
  if (!values) return values.error();
  auto client = connect_to_what_is_up(environment);
  if (!client) return report(environment, client.error(), kFailed);
  const auto done = ask<control::Done>(*client, control::TakeBackRequest{});
  return done ? kDone : report(environment, done.error(), kFailed);
}

}  // namespace vramswap::swapctl
