// vramswap-engine-bench: the daemon's I/O threads and the per-request algorithm under the same load
// in the kernel's place, on the same device, in turn.
#include <fmt/format.h>

#include <boost/program_options.hpp>
#include <cstdio>
#include <iostream>
#include <regex>

#include "tests/bench/engine_server.hpp"
#include "tests/bench/measured_server.hpp"
#include "tests/bench/per_request_server.hpp"
#include "tests/bench/report.hpp"

namespace {

namespace po = boost::program_options;
using namespace vramswap;
using namespace vramswap::bench;

constexpr const char* kDescription =
    "Measures the engine against the per-request algorithm, in one process, over socketpairs.\n"
    "The load sends and receives as the kernel's nbd driver does, and checks every byte.\n"
    "\n"
    "Exit status: 0 done; 1 a wrong word, a failed reply or a connection that ended, or, with\n"
    "--check, a target that was missed; 2 wrong usage. The targets are for --backend vram: on the\n"
    "ram store, where a copy costs next to nothing, --check asks only that all is served.\n"
    "\n"
    "Options";

struct Settings {
  std::string backend = "vram";
  std::string gpu;
  std::uint64_t segment_mib = 0;
  unsigned rounds = 3;
  unsigned milliseconds = 400;
  unsigned warm_up_milliseconds = 100;
  std::string only;
  bool engine_only = false;
  bool list = false;
  bool check = false;
  bool markdown = false;
  bool realtime = false;

  bool on_vram() const { return backend == "vram"; }
  std::uint64_t segment_bytes() const {
    const std::uint64_t mib = segment_mib > 0 ? segment_mib : on_vram() ? 1024 : 256;
    return mib << 20;
  }
  TableStyle style() const { return markdown ? TableStyle::markdown : TableStyle::plain; }
};

po::options_description describe(Settings& settings) {
  po::options_description options(kDescription);
  auto add = options.add_options();
  add("help", "this text");
  add("backend", po::value(&settings.backend), "vram (default) or ram");
  add("gpu", po::value(&settings.gpu), "which GPU: index, UUID or PCI address");
  add("segment-mib", po::value(&settings.segment_mib),
      "memory of each server: 1024 of VRAM, 256 of RAM");
  add("rounds", po::value(&settings.rounds), "measurements of each server and load: 3");
  add("milliseconds", po::value(&settings.milliseconds), "of one measurement: 400");
  add("warm-up-milliseconds", po::value(&settings.warm_up_milliseconds), "before each: 100");
  add("only", po::value(&settings.only), "loads whose names this regular expression finds");
  add("engine-only", po::bool_switch(&settings.engine_only), "nothing to compare with");
  add("list", po::bool_switch(&settings.list), "the names of the loads");
  add("check", po::bool_switch(&settings.check), "fail where a target is missed");
  add("markdown", po::bool_switch(&settings.markdown), "tables for a README");
  add("realtime", po::bool_switch(&settings.realtime), "the engine's threads at SCHED_RR");
  return options;
}

// Throws the error for a wrong command line.
std::vector<Cell> choose_cells(const Settings& settings) {
  if (settings.backend != "ram" && settings.backend != "vram") {
    throw po::error("--backend is ram or vram");
  }
  if (settings.rounds == 0 || settings.milliseconds == 0) {
    throw po::error("--rounds and --milliseconds are positive");
  }
  if (settings.check && settings.engine_only) {
    throw po::error("--check compares, --engine-only does not");
  }
  std::vector<Cell> cells = all_cells();
  const std::regex only(settings.only);
  std::erase_if(cells, [&](const Cell& cell) { return !std::regex_search(cell.name, only); });
  if (cells.empty()) throw po::error("--only " + settings.only + " leaves nothing; see --list");
  return cells;
}

// Seen at once, also where the program is cut off later.
void say(const std::string& line) {
  std::fputs((line + "\n").c_str(), stderr);
  std::fflush(stderr);
}

struct Servers {
  std::unique_ptr<MeasuredServer> baseline;   // the per-request server; none with --engine-only
  std::unique_ptr<MeasuredServer> candidate;  // the engine

  template <class Work>
  Result<void> for_each(Work work) {
    for (auto* server : {baseline.get(), candidate.get()}) {
      if (server == nullptr) continue;
      if (auto result = work(*server); !result) return result;
    }
    return {};
  }
};

Result<Servers> start(StoreAccess& access, const Settings& settings, unsigned threads) {
  Servers servers;
  if (!settings.engine_only) {
    auto server = PerRequestServer::start(access, settings.segment_bytes());
    if (!server) return server.error();
    servers.baseline = std::make_unique<MeasuredServer>("per-request", *std::move(server), 1,
                                                        settings.segment_bytes());
  }
  auto server = EngineServer::start(access.device(), {.segment_bytes = settings.segment_bytes(),
                                                      .threads = threads,
                                                      .realtime = settings.realtime});
  if (!server) return server.error();
  servers.candidate =
      std::make_unique<MeasuredServer>("engine", *std::move(server), 2, settings.segment_bytes());
  return servers;
}

Result<CellResult> measure(Servers& servers, const Cell& cell, const Settings& settings) {
  const Duration duration{std::chrono::milliseconds(settings.warm_up_milliseconds),
                          std::chrono::milliseconds(settings.milliseconds)};
  CellResult result{.cell = cell, .engine = {}, .per_request = {}};
  for (unsigned round = 0; round < settings.rounds; ++round) {
    auto measured = servers.for_each([&](MeasuredServer& server) -> Result<void> {
      const auto measurement = server.measure(cell, duration);
      if (!measurement) return measurement.error();
      const bool engine = &server == servers.candidate.get();
      (engine ? result.engine : result.per_request).push_back(*measurement);
      return {};
    });
    if (!measured) return measured.error();
  }
  return result;
}

Result<std::vector<CellResult>> measure_all(const std::vector<Cell>& cells,
                                            const Settings& settings) {
  auto access = settings.on_vram() ? open_vram(settings.gpu) : open_ram();
  if (!access) return access.error();
  const auto info = (*access)->device().info();
  if (!info) return info.error();
  fmt::print("On {}, {} MiB for each server; {}medians of {} rounds of {} ms.\n\n", info->name,
             settings.segment_bytes() >> 20, settings.engine_only ? "" : "engine / per-request, ",
             settings.rounds, settings.milliseconds);
  std::fflush(stdout);

  unsigned threads = 1;
  for (const Cell& cell : cells) threads = std::max(threads, cell.connections);
  auto servers = start(**access, settings, threads);
  if (!servers) return servers.error();
  auto written = servers->for_each([](MeasuredServer& server) {
    say(server.name() + ": writing every page");
    return server.write_all();
  });
  if (!written) return written.error();

  std::vector<CellResult> results;
  for (const Cell& cell : cells) {
    auto result = measure(*servers, cell, settings);
    if (!result) return result.error();
    say(fmt::format("{}/{} {}", results.size() + 1, cells.size(), one_line(*result)));
    results.push_back(*std::move(result));
  }
  auto verified = servers->for_each([](MeasuredServer& server) {
    say(server.name() + ": reading every page");
    return server.verify();
  });
  if (!verified) return verified.error();
  return results;
}

int run(const std::vector<Cell>& cells, const Settings& settings) {
  const auto results = measure_all(cells, settings);
  if (!results) {
    std::cerr << "vramswap-engine-bench: " << results.error().message << '\n';
    return 1;
  }
  fmt::print("{}\n", measurements_table(*results, settings.style()));
  if (settings.engine_only || !settings.on_vram()) return 0;
  const std::size_t missed = count_missed_targets(*results);
  fmt::print("{}\n{} targets missed\n", targets_table(*results, settings.style()), missed);
  return settings.check && missed > 0 ? 1 : 0;
}

}  // namespace

int main(int argc, char** argv) {
  Settings settings;
  std::vector<Cell> cells;
  try {
    const auto options = describe(settings);
    po::variables_map values;
    po::store(po::parse_command_line(argc, argv, options), values);
    if (values.count("help") > 0) {
      std::cout << options;
      return 0;
    }
    po::notify(values);
    cells = choose_cells(settings);
  } catch (const std::exception& error) {
    std::cerr << "vramswap-engine-bench: " << error.what() << '\n';
    return 2;
  }
  if (settings.list) {
    for (const Cell& cell : cells) fmt::print("{}\n", cell.name);
    return 0;
  }
  return run(cells, settings);
}
