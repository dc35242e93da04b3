#include "swapctl/doctor/doctor.hpp"

#include <algorithm>
#include <boost/program_options/value_semantic.hpp>
#include <iterator>
#include <ostream>

#include "swapctl/doctor/card_checks.hpp"
#include "swapctl/doctor/daemon_checks.hpp"
#include "swapctl/doctor/kernel_checks.hpp"
#include "swapctl/doctor/privilege_checks.hpp"
#include "swapctl/doctor/report.hpp"
#include "swapctl/doctor/service_checks.hpp"
#include "swapctl/doctor/swap_checks.hpp"

namespace vramswap::swapctl {
namespace {

namespace po = boost::program_options;

constexpr Help kDoctorHelp = {.name = "doctor",
                              .before = R"(Usage: vramswap doctor [--json]

Checks whether this machine has what swap on VRAM needs: the kernel and its nbd module, the NVIDIA
driver and its cards, privileges and limits, other swap, the installed files, and the daemon if it
runs. Each finding has a line; a line below it says what to do.

  ok       nothing to do
  warning  works, but more slowly, or without some protection
  failure  'up' fails, or pages are lost
  unknown  this user cannot find out, or only by waking the GPU

It changes nothing, and never wakes a GPU that sleeps. A few checks need root.

)",
                              .after = R"(
Exit codes:
  0 no failure, 1 a failure, 2 wrong usage
)"};

Findings look(const Environment& environment) {
  const Tree tree(environment.machine_root);
  const Answer answer = ask_daemon(environment);
  const auto status = answer ? *answer : std::nullopt;
  const auto settings = read_settings(environment.config);
  const control::UpRequest request = settings ? *settings : control::UpRequest{};
  const auto cards = find_cards(tree);

  Findings all;
  const auto add = [&all](Findings findings) {
    std::ranges::move(findings, std::back_inserter(all));
  };
  add(kernel_findings(tree));
  // Host memory needs no GPU.
  if (request.backend == control::Backend::vram) {
    add(driver_findings(tree, cards, status));
    add(card_findings(tree, cards, survey(tree, cards)));
  }
  add(privilege_findings(tree, environment.is_root));
  add(swap_findings(tree, request.priority));
  add(service_findings(tree));
  add({check_settings(settings)});
  add(check_daemon(answer, has_orphans(environment.socket)));
  return all;
}

int doctor(const Arguments& arguments, const Environment& environment) {
  bool json = false;
  po::options_description options("Options");
  options.add_options()("json", po::bool_switch(&json), "for programs: one object");
  const auto values = read_options(arguments, options, kDoctorHelp, environment);
  if (!values) return values.error();
  const Findings findings = look(environment);
  environment.out << (json ? findings_json(findings) : findings_text(findings));
  return std::ranges::count(findings, Outcome::failure, &Finding::result) > 0 ? kFailed : kDone;
}

}  // namespace

Command doctor_command() {
  return {"doctor", "[--json]", "check whether this machine has what it needs", doctor};
}

}  // namespace vramswap::swapctl
