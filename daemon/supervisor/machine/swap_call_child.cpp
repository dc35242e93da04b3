#include "daemon/supervisor/machine/swap_call_child.hpp"

#include <fmt/format.h>
#include <sys/wait.h>

#include "daemon/base/wait_status.hpp"
#include "daemon/control/daemon_arguments.hpp"
#include "daemon/system/own_program.hpp"

namespace vramswap {

Result<Child> start_swap_call(asio::io_context& io, std::vector<std::string> call) {
  const auto own = own_program();
  if (!own) return own.error();
  Program program{
      .path = "vramswapd", .executable = *own, .arguments = {kDaemonArgument0, kSwapCallOption}};
  for (std::string& word : call) program.arguments.push_back(std::move(word));
  return Child::start(io, program);
}

Result<void> swap_call_result(const std::string& device, const char* call,
                              const Result<int>& status) {
  if (!status) {
    return Error{fmt::format("{}: {}: {}", device, call, status.error().message),
                 status.error().code};
  }
  if (*status == 0) return {};
  if (WIFEXITED(*status)) return fail_errno(device, call, WEXITSTATUS(*status));
  return fail(fmt::format("{}: {}: {}", device, call, describe_wait_status(*status)));
}

}  // namespace vramswap
