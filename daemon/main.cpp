#include <fmt/format.h>
#include <unistd.h>

#include <boost/program_options.hpp>
#include <cerrno>
#include <iostream>

#include "daemon/supervisor/supervisor.hpp"
#include "daemon/system/log.hpp"
#include "daemon/worker/process/worker.hpp"

namespace {

namespace po = boost::program_options;

constexpr int kExitFailed = 1;
constexpr int kExitUsage = 2;
constexpr int kExitRefused = 2;  // not worth another try: the unit does not restart it then
// Where the supervisor puts a worker's end of their channel.
constexpr int kChannel = 3;

}  // namespace

int main(int argc, char** argv) {
  po::options_description options(
      "vramswapd serves swap on VRAM. It is started by vramswap or systemd");
  options.add_options()("detached", "log to the kernel's log once it is ready")  //
      ("scratch",
       "make a device without swap, for as long as its client stays; for vramswap bench")  //
      ("worker", "serve a supervisor on descriptor 3; for its own use")                    //
      ("image", po::value<int>(), "go on as this worker; for its own use")                 //
      ("inherit", po::value<std::string>(), "go on as this daemon; for its own use")       //
      ("takes-over-from", po::value<int>(),
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
  if (given.contains("takes-over-from")) {
    const int version = given["takes-over-from"].as<int>();
    if (version == vramswap::handover_version()) return 0;
    std::cerr << fmt::format("vramswapd " VRAMSWAP_VERSION
                             ": cannot take over from the one that runs (handover {}, not "
                             "{}): take the swap down, then up again\n",
                             version, vramswap::handover_version());
    return kExitFailed;
  }
  vramswap::prepare_log();
  if (given.contains("worker")) {
    return given.contains("image") ? vramswap::run_worker(-1, given["image"].as<int>())
                                   : vramswap::run_worker(kChannel);
  }
  if (geteuid() != 0) {
    std::cerr << "vramswapd: needs root\n";
    return kExitFailed;
  }
  vramswap::SupervisorOptions supervisor;
  supervisor.detached = given.contains("detached");
  if (given.contains("scratch")) {
    supervisor.purpose = vramswap::Purpose::scratch;
    supervisor.runtime_directory = vramswap::control::kScratchRuntimeDirectory;
  }
  if (given.contains("inherit")) supervisor.inherited = given["inherit"].as<std::string>();
  const auto result = vramswap::run_supervisor(std::move(supervisor));
  if (result) return 0;
  vramswap::log_error(result.error().message);
  const int code = result.error().code;
  return code == EPROTO || code == EOWNERDEAD ? kExitRefused : kExitFailed;
}
