#include "daemon/supervisor/machine/old_program.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/stat.h>

#include "daemon/handover/worker_socket.hpp"
#include "daemon/system/own_program.hpp"

namespace vramswap {
namespace {

bool is_another_program(const UniqueFd& program) {
  struct stat its {};
  struct stat ours {};
  const auto own = own_program();
  if (!own || fstat(*own, &ours) != 0 || fstat(program.get(), &its) != 0) return false;
  return its.st_dev != ours.st_dev || its.st_ino != ours.st_ino;
}

UniqueFd program_of_worker(const std::string& socket) {
  const auto connection = worker_socket::connect(socket);
  if (!connection) return {};
  UniqueFd program(
      open(fmt::format("/proc/{}/exe", connection->worker).c_str(), O_RDONLY | O_CLOEXEC));
  // The worker listens still. If it had ended before, the number could be another process's.
  pollfd end{connection->channel.get(), POLLRDHUP, 0};
  if (poll(&end, 1, 0) != 0) return {};
  return program;
}

}  // namespace

UniqueFd find_old_program(UniqueFd kept, const std::string& runtime_directory) {
  if (kept && is_another_program(kept)) return kept;
  for (const std::string& socket : worker_socket::find(runtime_directory)) {
    UniqueFd program = program_of_worker(socket);
    if (program && is_another_program(program)) return program;
  }
  return {};
}

}  // namespace vramswap
