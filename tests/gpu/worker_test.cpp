// A worker on a real card, served with a load in the kernel's place: every byte is verified while
// it runs, after it was killed, and after its memory was given back. Where there are two cards,
// each has a worker, at the same time.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <future>
#include <string>
#include <thread>
#include <vector>

#include "cuda/device.hpp"
#include "cuda/driver.hpp"
#include "daemon/handover/page_map.hpp"
#include "tests/load/load_generator.hpp"
#include "tests/load/worker_process.hpp"
#include "tests/support/stored_zeros.hpp"

namespace vramswap::load {
namespace {

using std::chrono::seconds;

constexpr unsigned kSegments = 2;
constexpr unsigned kConnections = 4;
constexpr std::size_t kMaxGpus = 2;
// What contexts that come and go, ours and those of others, may change meanwhile.
constexpr std::uint64_t kToleranceBytes = 64 << 20;

std::uint64_t number_from_environment(const char* name, std::uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text != nullptr ? std::strtoull(text, nullptr, 10) : otherwise;
}

const std::uint64_t kSegmentBytes = number_from_environment("VRAMSWAP_LOAD_SEGMENT_MIB", 1024)
                                    << 20;
const seconds kDuration(number_from_environment("VRAMSWAP_LOAD_SECONDS", 60));
const std::uint64_t kPagesPerSegment = kSegmentBytes / sizeof(Page);

// Empty where there is no usable GPU; then `why_none` says why. No context is made here.
std::vector<cuda::DeviceInfo> find_gpus(std::string& why_none) {
  const auto driver = cuda::Driver::load();
  if (!driver) {
    why_none = driver.error().message();
    return {};
  }
  auto devices = cuda::list_devices(*driver);
  if (!devices) {
    why_none = devices.error().message();
    return {};
  }
  if (devices->size() > kMaxGpus) devices->resize(kMaxGpus);
  return *devices;
}

// One GPU, its worker and the segments that are on it.
class Gpu {
 public:
  explicit Gpu(const cuda::DeviceInfo& device, unsigned number) : device_(device) {
    for (std::uint32_t id = 0; id < kSegments; ++id) {
      segments_.push_back(
          {PageMap::create(kPagesPerSegment).value(),
           UniqueFd(),
           {},
           std::make_unique<LoadGenerator>(number * kSegments + id + 1, kSegmentBytes, options())});
    }
  }

  // The free memory that the new worker reports.
  std::uint64_t start_worker(bool hardened) {
    worker_.reset();
    std::vector<std::string> command{std::filesystem::read_symlink("/proc/self/exe").parent_path() /
                                     "test_worker"};
    if (!hardened) command.emplace_back("--unhardened");
    auto worker = WorkerProcess::spawn(command);
    if (!worker) throw std::runtime_error(worker.error().message);
    worker_ = std::make_unique<WorkerProcess>(*std::move(worker));
    std::vector<int> files;
    for (const UniqueFd& file : driver_files_) files.push_back(file.get());
    const messages::Start start{.backend = control::Backend::vram,
                                .gpu = device_.uuid,
                                .io_threads = kConnections,
                                .driver_path = driver_.path,
                                .has_page_kernel = driver_.has_page_kernel};
    const auto started = worker_->start(start, files);
    if (!started) throw std::runtime_error(started.error().message);
    EXPECT_EQ(started->uuid, device_.uuid);
    keep_driver();
    return started->free_bytes;
  }

  void create_segments() {
    for (std::uint32_t id = 0; id < kSegments; ++id) {
      Segment& segment = segments_[id];
      segment.store = worker_->create(id, kSegmentBytes, segment.page_map.get()).value();
      segment.sockets = worker_->connect(id, kConnections).value();
    }
  }

  void import_segments() {
    for (std::uint32_t id = 0; id < kSegments; ++id) {
      Segment& segment = segments_[id];
      const auto imported =
          worker_->import(id, kSegmentBytes, segment.page_map.get(), segment.store.get());
      EXPECT_TRUE(imported) << imported.error().message;
      segment.sockets = worker_->connect(id, kConnections).value();
    }
  }

  LoadResult run() {
    return on_all_segments([](LoadGenerator& generator, std::span<const int> sockets) {
      return generator.run(sockets, kDuration);
    });
  }

  // The worker dies in the middle of it.
  LoadResult run_until_killed() {
    std::thread killer([this] {
      std::this_thread::sleep_for(std::chrono::milliseconds(kDuration) / 10);
      worker_->kill();
    });
    auto result = run();
    killer.join();
    return result;
  }

  LoadResult verify() {
    return on_all_segments([](LoadGenerator& generator, std::span<const int> sockets) {
      return generator.verify(sockets);
    });
  }

  void remove_segments() {
    for (std::uint32_t id = 0; id < kSegments; ++id) {
      const auto removed = worker_->remove(id);
      EXPECT_TRUE(removed) << removed.error().message;
    }
  }

  // From now on every page shows what its store holds, which should be zeros.
  void expect_zeros_everywhere() {
    for (std::uint32_t id = 0; id < kSegments; ++id) {
      segments_[id].page_map = make_map_of_stored_zeros(kPagesPerSegment);
      segments_[id].generator = std::make_unique<LoadGenerator>(id, kSegmentBytes, options());
    }
  }

  void close_stores() {
    for (Segment& segment : segments_) segment.store.reset();
  }

 private:
  // The next worker loads what this one has loaded.
  void keep_driver() {
    auto shared = worker_->ask(messages::ShareDriver{}).value();
    driver_ = std::get<messages::Driver>(shared.message);
    driver_files_ = std::move(shared.fds);
    EXPECT_NE(driver_.path, "");
    EXPECT_TRUE(driver_.has_page_kernel);
    EXPECT_EQ(driver_files_.size(), 2U);
  }

  struct Segment {
    UniqueFd page_map;
    UniqueFd store;
    std::vector<UniqueFd> sockets;
    std::unique_ptr<LoadGenerator> generator;
  };

  // Sizes as the kernel has them: in by up to 8 pages, out by more.
  static LoadOptions options() {
    return {.read_pages = {1, 8}, .write_pages = {8, 256}, .write_share = 0.3};
  }

  template <class Function>
  LoadResult on_all_segments(Function function) {
    std::vector<std::future<LoadResult>> running;
    for (Segment& segment : segments_) {
      running.push_back(std::async(std::launch::async, [&segment, function] {
        std::vector<int> sockets;
        for (const auto& socket : segment.sockets) sockets.push_back(socket.get());
        return function(*segment.generator, sockets);
      }));
    }
    LoadResult total;
    for (auto& result : running) total.add(result.get());
    return total;
  }

  cuda::DeviceInfo device_;
  messages::Driver driver_;
  std::vector<UniqueFd> driver_files_;
  std::unique_ptr<WorkerProcess> worker_;
  std::vector<Segment> segments_;
};

class WorkerOnGpu : public testing::Test {
 protected:
  void SetUp() override {
    std::string why_none;
    const auto devices = find_gpus(why_none);
    for (const auto& device : devices) {
      gpus_.push_back(std::make_unique<Gpu>(device, static_cast<unsigned>(gpus_.size())));
    }
    const auto reason = why_not_hardened();
    hardened_ = reason.empty();
    if (!hardened_) fmt::print("not hardened: {}\n", reason);
  }

  template <class Function>
  void on_all_gpus(Function function) {
    std::vector<std::future<void>> running;
    for (std::size_t i = 0; i < gpus_.size(); ++i) {
      running.push_back(std::async(std::launch::async, function, std::ref(*gpus_[i]), i));
    }
    for (auto& done : running) done.get();
  }

  // Prints the counts of the run.
  void expect_clean(const char* what, std::size_t gpu, const LoadResult& result) {
    fmt::print("GPU {}, {}: {}\n", gpu, what, result.summary());
    std::fflush(stdout);
    EXPECT_GT(result.operations, 0U);
    EXPECT_EQ(result.wrong_words, 0U);
    EXPECT_EQ(result.failed_replies, 0U);
  }

  std::vector<std::unique_ptr<Gpu>> gpus_;
  bool hardened_ = false;
};

TEST_F(WorkerOnGpu, EveryByteIsRightUnderLoadAfterItsDeathAndAfterItIsFreed) {
  on_all_gpus([this](Gpu& gpu, std::size_t number) {
    const auto free_before = gpu.start_worker(hardened_);
    gpu.create_segments();
    const auto loaded = gpu.run();
    expect_clean("load", number, loaded);
    EXPECT_EQ(loaded.ended_connections, 0U);
    expect_clean("verify", number, gpu.verify());

    const auto killed = gpu.run_until_killed();
    expect_clean("load until killed", number, killed);
    EXPECT_EQ(killed.ended_connections, kSegments * kConnections);
    gpu.start_worker(hardened_);
    gpu.import_segments();
    expect_clean("verify after SIGKILL", number, gpu.verify());
    gpu.remove_segments();

    // The descriptors still hold the memory: look at its content.
    gpu.start_worker(hardened_);
    gpu.expect_zeros_everywhere();
    gpu.import_segments();
    expect_clean("verify zeros after Remove", number, gpu.verify());
    gpu.remove_segments();

    gpu.close_stores();
    const auto free_after = gpu.start_worker(hardened_);
    EXPECT_GE(free_after + kToleranceBytes, free_before);
  });
}

}  // namespace
}  // namespace vramswap::load

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  std::string why_none;
  if (!GTEST_FLAG_GET(list_tests) && vramswap::load::find_gpus(why_none).empty()) {
    std::printf("skipped: %s\n", why_none.c_str());
    return 77;
  }
  return RUN_ALL_TESTS();
}
