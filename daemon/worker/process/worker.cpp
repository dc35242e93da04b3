#include "daemon/worker/process/worker.hpp"

#include <fcntl.h>
#include <sys/prctl.h>

#include <csignal>

#include "daemon/system/hardening.hpp"
#include "daemon/system/log.hpp"
#include "daemon/worker/process/control_thread.hpp"

namespace vramswap {

int run_worker(int channel, int handover_fd, WorkerOptions options) {
  // Otherwise the kernel would name the process after the descriptor that it was started from.
  prctl(PR_SET_NAME, "vramswap-worker");
  // The worker ends when the supervisor says so. The supervisor handles a Ctrl-C and a stop of the
  // whole control group.
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGPIPE}) std::signal(signal, SIG_IGN);
  // Before CUDA is loaded, so that CUDA's memory is locked and its threads inherit IO_FLUSHER.
  if (options.hardened) {
    if (auto hardened = harden_process(); !hardened) {
      (void)send_packet(channel,
                        encode(messages::Message{messages::Failed{hardened.error().message}}));
      log_error(hardened.error().message);
      return 1;
    }
  }
  const auto run = [&]() -> Result<void> {
    if (handover_fd < 0) {
      UniqueFd owned(channel);
      fcntl(channel, F_SETFD, FD_CLOEXEC);
      return ControlThread(std::move(owned), std::move(options)).run();
    }
    auto received = read_handover(UniqueFd(handover_fd));
    if (!received) return received.error();
    return ControlThread(*std::move(received), std::move(options)).run();
  };
  if (auto result = run(); !result) {
    log_error(result.error().message);
    return 1;
  }
  return 0;
}

}  // namespace vramswap
