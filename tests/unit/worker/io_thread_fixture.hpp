// I/O threads on a store in host memory, and the tests' ends of their connections.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>

#include <chrono>
#include <list>
#include <random>
#include <semaphore>
#include <thread>

#include "daemon/base/page_size.hpp"
#include "daemon/worker/io/io_thread.hpp"
#include "daemon/worker/store/ram_store.hpp"
#include "tests/support/kernel_peer.hpp"

namespace vramswap {

// Host memory, with copies that can be held up or made to fail.
class FaultyDevice final : public StoreDevice {
 public:
  StorePlace place() const override { return ram_->place(); }
  Result<StoreDeviceInfo> info() override { return ram_->info(); }
  Result<std::unique_ptr<Store>> create(std::uint64_t size_bytes) override {
    return ram_->create(size_bytes);
  }
  Result<std::unique_ptr<Store>> import(UniqueFd fd, std::uint64_t size_bytes) override {
    return ram_->import(std::move(fd), size_bytes);
  }
  Result<std::unique_ptr<Copier>> make_copier(std::span<std::byte> host) override {
    if (makes_no_copier) return fail("no copier today");
    return std::make_unique<FaultyCopier>(*this, ram_->make_copier(host).value());
  }

  bool makes_no_copier = false;
  std::atomic<bool> fails = false;
  // Every write from host to store first takes a random time, up to this.
  std::chrono::microseconds longest_delay{0};
  // The next read waits at the gate, too, once it is under way.
  std::atomic<bool> holds_next_read = false;
  // The next write from host to store waits at the gate until it is opened.
  std::atomic<bool> holds_next_write = false;
  std::binary_semaphore arrived{0};
  std::binary_semaphore gate{0};

 private:
  class FaultyCopier final : public Copier {
   public:
    FaultyCopier(FaultyDevice& device, std::unique_ptr<Copier> copier)
        : device_(device), copier_(std::move(copier)) {}
    Result<void> begin(Direction direction, unsigned slot, std::span<const Copy> batch) override {
      if (device_.fails) return fail("the store has failed");
      if (direction == Direction::from_host) {
        if (device_.holds_next_write.exchange(false)) {
          device_.arrived.release();
          device_.gate.acquire();
        }
        if (device_.longest_delay.count() > 0) {
          std::this_thread::sleep_for(device_.longest_delay * random_() / random_.max());
        }
      }
      return copier_->begin(direction, slot, batch);
    }
    Result<void> wait(Direction direction, unsigned slot, std::size_t copies) override {
      if (direction == Direction::to_host && device_.holds_next_read.exchange(false)) {
        device_.arrived.release();
        device_.gate.acquire();
      }
      return copier_->wait(direction, slot, copies);
    }

   private:
    FaultyDevice& device_;
    std::unique_ptr<Copier> copier_;
    std::minstd_rand random_;
  };

  std::unique_ptr<StoreDevice> ram_ = make_ram_device();
};

class IoThreadTest : public testing::Test {
 protected:
  static constexpr std::uint64_t kPages = 2048;
  static constexpr std::uint64_t kSegmentBytes = kPages * kPageBytes;

  IoThreadTest() {
    int ends[2];
    EXPECT_EQ(pipe2(ends, O_CLOEXEC), 0);
    report_read_ = UniqueFd(ends[0]);
    report_write_ = UniqueFd(ends[1]);
  }

  std::unique_ptr<IoThread> start() {
    auto thread = IoThread::start(device_, report_write_.get(), {.realtime = false});
    EXPECT_TRUE(thread) << thread.error().message;
    return *std::move(thread);
  }

  ServedSegment& make_segment() {
    ServedSegment& segment = segments_.emplace_back();
    segment.id = static_cast<std::uint32_t>(segments_.size());
    segment.store = device_.create(kSegmentBytes).value();
    const auto fd = PageMap::create(kPages).value();
    segment.set_pages(PageMap::map(fd.get(), kPages).value());
    return segment;
  }

  UniqueFd connect(IoThread& thread, ServedSegment& segment) {
    auto [ours, theirs] = load::make_connection();
    EXPECT_TRUE(thread.add(std::make_unique<Connection>(std::move(theirs), segment)));
    // Every test ends.
    const timeval timeout{20, 0};
    setsockopt(ours.get(), SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
    return std::move(ours);
  }

  IoReport next_report() {
    pollfd wait{report_read_.get(), POLLIN, 0};
    EXPECT_EQ(poll(&wait, 1, 20'000), 1) << "no report";
    IoReport report{};
    if (wait.revents != 0) {
      EXPECT_EQ(read(report_read_.get(), &report, sizeof report),
                static_cast<ssize_t>(sizeof report));
    }
    return report;
  }

  static bool send_write(const UniqueFd& socket, std::uint64_t page, std::uint32_t version) {
    load::Page content;
    load::fill(content, page, version);
    return load::send_header(socket.get(), {.command = load::Command::write,
                                            .offset = page * kPageBytes,
                                            .length = kPageBytes}) &&
           load::send_page(socket.get(), content, false);
  }
  static bool write_page(const UniqueFd& socket, std::uint64_t page, std::uint32_t version) {
    if (!send_write(socket, page, version)) return false;
    const auto reply = load::receive_reply(socket.get());
    return reply && reply->error == 0;
  }
  static bool send_read(const UniqueFd& socket, std::uint64_t page, std::uint32_t pages) {
    return load::send_header(socket.get(), {.command = load::Command::read,
                                            .cookie = page,
                                            .offset = page * kPageBytes,
                                            .length = pages * std::uint32_t{kPageBytes}});
  }
  // Receives the reply to a READ and returns the number of wrong words in it.
  static std::size_t receive_read(const UniqueFd& socket, std::uint32_t pages,
                                  std::uint32_t version) {
    const auto reply = load::receive_reply(socket.get());
    if (!reply || reply->error != 0) return ~std::size_t{0};
    std::size_t wrong = 0;
    for (std::uint32_t i = 0; i < pages; ++i) {
      load::Page content;
      if (!load::receive_page(socket.get(), content)) return ~std::size_t{0};
      wrong += load::count_wrong_words(content, reply->cookie + i, version);
    }
    return wrong;
  }
  static std::size_t read_page(const UniqueFd& socket, std::uint64_t page, std::uint32_t version) {
    return send_read(socket, page, 1) ? receive_read(socket, 1, version) : ~std::size_t{0};
  }

  FaultyDevice device_;
  UniqueFd report_read_;
  UniqueFd report_write_;
  std::list<ServedSegment> segments_;
};

}  // namespace vramswap
