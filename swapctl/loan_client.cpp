#include "swapctl/loan_client.hpp"

#include <fmt/format.h>

#include "swapctl/integer.hpp"
#include "swapctl/interruption.hpp"
#include "swapctl/progress_bar.hpp"

namespace vramswap::swapctl {
namespace {

constexpr std::int64_t kMaxWaitSeconds = 86400;

}  // namespace

boost::program_options::typed_value<std::string>* wait_option(
    std::optional<std::chrono::seconds>& wait) {
  return boost::program_options::value<std::string>()->value_name("SECONDS")->notifier(
      [&wait](const std::string& text) {
        wait = std::chrono::seconds(parse_integer<std::int64_t>("wait", text, 0, kMaxWaitSeconds));
      });
}

Result<control::Lent> borrow(ControlClient& client, const control::LendRequest& request,
                             const Environment& environment) {
  const auto interruption = Interruption::create();
  if (!interruption) return interruption.error();
  ProgressBar bar(environment.err, "free");
  const WaitOptions options{.interrupt_fd = interruption->fd(),
                            .on_progress = [&](const auto& progress) {
                              if (environment.err_is_terminal) bar.show(progress);
                            }};
  return ask<control::Lent>(client, request, options);
}

Error shortage(const control::Lent& lent) {
  return {fmt::format("{} of VRAM could not be freed, {} are free: {}",
                      control::format_bytes(lent.missing_bytes),
                      control::format_bytes(lent.freed_bytes), lent.problem)};
}

}  // namespace vramswap::swapctl
