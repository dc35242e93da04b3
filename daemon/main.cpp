#include <fmt/format.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>
#include <boost/program_options.hpp>
#include <cerrno>
#include <csignal>
#include <iostream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "daemon/control/daemon_arguments.hpp"
#include "daemon/control/protocol.hpp"
#include "daemon/control/scratch.hpp"
#include "daemon/supervisor/machine/real_machine.hpp"
#include "daemon/supervisor/machine/swap_call.hpp"
#include "daemon/supervisor/service.hpp"
#include "daemon/supervisor/supervisor.hpp"
#include "daemon/system/cpu.hpp"
#include "daemon/system/log.hpp"
#include "daemon/system/own_program.hpp"
#include "daemon/worker/process/worker.hpp"

namespace {

namespace po = boost::program_options;
using namespace vramswap;

constexpr int kExitFailed = 1;
constexpr int kExitUsage = 2;
constexpr int kExitRefused = 2;  // another try is in vain: the unit does not restart it then
// Where the supervisor puts a worker's end of their channel.
constexpr int kChannel = 3;
// More I/O threads cost locked memory and gain nothing, because one bus leads to the GPU.
constexpr unsigned kMaxDefaultConnections = 8;

PoolOptions pool_options(bool is_scratch, const KernelPaths& paths) {
  PoolOptions pool;
  pool.default_connections =
      std::min(count_physical_cores(allowed_cpus(), paths.cpu_directory), kMaxDefaultConnections);
  pool.runtime_directory = control::kRuntimeDirectory;
  pool.device_prefix = kSwapDevicePrefix;
  if (!is_scratch) return pool;
  pool.runtime_directory = control::kScratchRuntimeDirectory;
  pool.device_prefix = kScratchDevicePrefix;
  pool.makes_swap_area = false;
  pool.keeps_reserve = false;
  // An earlier scratch segment that is being removed is gone in a moment.
  pool.waits_for_operation = true;
  pool.up_already = "another vramswap bench runs";
  return pool;
}

// systemd-run cannot choose argument 0, by which systemd spares a process at shutdown, so the
// daemon executes itself again. Returns if it has the name, or cannot have it.
void take_daemon_name(int argc, char** argv) {
  // The kernel would name a program that is executed by a descriptor after the descriptor's number.
  prctl(PR_SET_NAME, "vramswapd");
  const auto own = own_program();
  if (std::string_view(argv[0]) == kDaemonArgument0 || !own) return;
  std::vector<std::string> arguments(argv, argv + argc);
  arguments[0] = kDaemonArgument0;
  (void)execute(*own, arguments);
}

}  // namespace

int main(int argc, char** argv) {
  if (const auto result = make_swap_call(argc, argv)) return *result;
  po::options_description options("vramswapd serves swap on VRAM. vramswap or systemd starts it");
  options.add_options()(option_name(kDetachedOption),
                        "log to the kernel's log once it is ready")  //
      (option_name(kScratchOption),
       "make a device without swap until the client leaves; for vramswap bench")    //
      (option_name(kWorkerOption), "serve a supervisor on descriptor 3; internal")  //
      ("handover-fd", po::value<int>(), "continue as this worker; internal")        //
      (option_name(kInheritOption), po::value<std::string>(),
       "continue as this daemon; internal")  //
      (option_name(kTakesOverFromOption), po::value<int>(),
       "succeed if it can take over swap that is up from a "
       "vramswapd with this version of the handover")  //
      ("version", "print the version")                 //
      ("help", "print this");
  po::variables_map given;
  try {
    po::store(po::command_line_parser(argc, argv)
                  .options(options)
                  .positional(po::positional_options_description{})
                  .run(),
              given);
  } catch (const po::error& error) {
    std::cerr << fmt::format("vramswapd: {}; see vramswapd --help\n", error.what());
    return kExitUsage;
  }
  if (given.contains("help")) {
    std::cout << options;
    return 0;
  }
  if (given.contains("version")) {
    std::cout << "vramswapd " VRAMSWAP_VERSION "\n";
    return 0;
  }
  if (given.contains(option_name(kTakesOverFromOption))) {
    const int version = given[option_name(kTakesOverFromOption)].as<int>();
    if (version == handover_version()) return 0;
    std::cerr << fmt::format("vramswapd " VRAMSWAP_VERSION
                             ": cannot take over from the running one (handover {}, not {}): take "
                             "the swap down, then up again\n",
                             version, handover_version());
    return kExitFailed;
  }
  prepare_log();
  if (given.contains(option_name(kWorkerOption))) {
    return given.contains("handover-fd") ? run_worker(-1, given["handover-fd"].as<int>())
                                         : run_worker(kChannel);
  }
  if (geteuid() != 0) {
    std::cerr << "vramswapd: needs root\n";
    return kExitFailed;
  }
  // The caller may have left it ignored; then the kernel keeps no wait status of children.
  std::signal(SIGCHLD, SIG_DFL);
  take_daemon_name(argc, argv);
  const KernelPaths paths;
  RealMachine real(paths);
  Machine machine = real.interfaces();
  SupervisorOptions supervisor;
  supervisor.detached = given.contains(option_name(kDetachedOption));
  supervisor.ends_with_client = given.contains(option_name(kScratchOption));
  supervisor.pool = pool_options(supervisor.ends_with_client, paths);
  if (given.contains(option_name(kInheritOption)))
    supervisor.inherited = given[option_name(kInheritOption)].as<std::string>();
  const auto result = run_supervisor(machine, std::move(supervisor));
  if (result) return 0;
  log_error(result.error().message);
  const int code = result.error().code;
  return code == EPROTO || code == EOWNERDEAD ? kExitRefused : kExitFailed;
}
