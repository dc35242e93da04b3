// vramswap-load: serves a worker with a load in the kernel's place, checks every byte, and prints
// what it did.
#include <fmt/format.h>

#include <boost/program_options.hpp>
#include <cstdio>
#include <future>
#include <iostream>

#include "daemon/worker/page_map.hpp"
#include "tests/load/load_generator.hpp"
#include "tests/load/worker_process.hpp"

namespace {

namespace po = boost::program_options;
using namespace vramswap;

struct Settings {
  std::string worker;
  std::string backend = "ram";
  std::string gpu;
  unsigned segments = 1;
  std::uint64_t segment_mib = 256;
  unsigned connections = 1;
  unsigned seconds = 5;
  bool unhardened = false;
  load::LoadOptions load;
};

po::options_description describe(Settings& settings) {
  po::options_description options("options");
  auto add = options.add_options();
  add("help", "this text");
  add("worker", po::value(&settings.worker)->required(), "the program test_worker");
  add("backend", po::value(&settings.backend), "ram or vram");
  add("gpu", po::value(&settings.gpu), "which GPU");
  add("segments", po::value(&settings.segments), "number of segments");
  add("segment-mib", po::value(&settings.segment_mib), "size of each");
  add("connections", po::value(&settings.connections), "I/O threads, and sockets a segment");
  add("depth", po::value(&settings.load.depth), "requests in flight on each socket");
  add("read-min", po::value(&settings.load.read_pages.min), "pages");
  add("read-max", po::value(&settings.load.read_pages.max), "pages");
  add("write-min", po::value(&settings.load.write_pages.min), "pages");
  add("write-max", po::value(&settings.load.write_pages.max), "pages");
  add("write-share", po::value(&settings.load.write_share), "0..1");
  add("discard-share", po::value(&settings.load.discard_share), "0..1");
  add("one-thread", po::bool_switch(&settings.load.one_thread),
      "a connection's requests and replies by one thread: for reads or writes alone");
  add("seed", po::value(&settings.load.seed), "of the random numbers");
  add("seconds", po::value(&settings.seconds), "duration");
  add("unhardened", po::bool_switch(&settings.unhardened), "no realtime threads, no locked memory");
  return options;
}

template <class T>
T value_or_exit(Result<T> result) {
  if (!result) {
    std::cerr << "vramswap-load: " << result.error().message << '\n';
    std::exit(1);
  }
  if constexpr (!std::is_void_v<T>) return *std::move(result);
}

struct LoadedSegment {
  UniqueFd page_map;
  UniqueFd store;
  std::vector<UniqueFd> sockets;
  std::unique_ptr<load::LoadGenerator> generator;

  load::LoadResult run(std::chrono::seconds duration) {
    std::vector<int> fds;
    for (const auto& socket : sockets) fds.push_back(socket.get());
    auto result = generator->run(fds, duration);
    result.wrong_words += generator->verify(fds).wrong_words;
    return result;
  }
};

load::LoadResult run(const Settings& settings) {
  std::vector<std::string> command{settings.worker};
  if (settings.unhardened) command.emplace_back("--unhardened");
  auto worker = value_or_exit(load::WorkerProcess::spawn(command));
  const auto backend = settings.backend == "vram" ? control::Backend::vram : control::Backend::ram;
  const auto device = value_or_exit(worker.start(backend, settings.gpu, settings.connections));
  std::cout << "on " << device.name << '\n';

  const std::uint64_t bytes = settings.segment_mib << 20;
  std::vector<LoadedSegment> segments(settings.segments);
  std::vector<std::future<load::LoadResult>> running;
  for (std::uint32_t id = 0; id < settings.segments; ++id) {
    auto& segment = segments[id];
    segment.page_map = value_or_exit(PageMap::create(bytes / sizeof(load::Page)));
    segment.store = value_or_exit(worker.create(id, bytes, segment.page_map.get()));
    segment.sockets = value_or_exit(worker.connect(id, settings.connections));
    segment.generator = std::make_unique<load::LoadGenerator>(id, bytes, settings.load);
  }
  for (auto& segment : segments) {
    running.push_back(std::async(std::launch::async, &LoadedSegment::run, &segment,
                                 std::chrono::seconds(settings.seconds)));
  }
  load::LoadResult total;
  for (auto& result : running) total.add(result.get());
  for (std::uint32_t id = 0; id < settings.segments; ++id) value_or_exit(worker.remove(id));
  return total;
}

}  // namespace

int main(int argc, char** argv) {
  Settings settings;
  try {
    const auto options = describe(settings);
    po::variables_map values;
    po::store(po::parse_command_line(argc, argv, options), values);
    if (values.count("help") > 0) {
      std::cout << options;
      return 0;
    }
    po::notify(values);
  } catch (const po::error& error) {
    std::cerr << "vramswap-load: " << error.what() << '\n';
    return 2;
  }
  const auto result = run(settings);
  std::cout << result.summary() << '\n';
  const bool good =
      result.wrong_words == 0 && result.failed_replies == 0 && result.ended_connections == 0;
  return good ? 0 : 1;
}
