#include "daemon/worker/io/write_fence.hpp"

#include <barrier>
#include <chrono>
#include <cstring>
#include <random>
#include <thread>

#include "tests/unit/worker/io_thread_fixture.hpp"

namespace vramswap {
namespace {

using load::Command;
using load::Page;
using std::chrono::milliseconds;
using std::chrono::seconds;

bool is_readable_within(const UniqueFd& socket, milliseconds limit) {
  pollfd wait{socket.get(), POLLIN, 0};
  return poll(&wait, 1, static_cast<int>(limit.count())) > 0;
}

TEST(WriteFenceTest, APageHasOneClaimant) {
  WriteFence fence(16);
  const auto a = Claimant::create().value();
  const auto b = Claimant::create().value();
  EXPECT_TRUE(fence.claim(2, 3, a));
  EXPECT_TRUE(fence.claim(4, 2, a));  // page 4 again
  EXPECT_TRUE(fence.claim(6, 10, b));
  EXPECT_FALSE(fence.claim(0, 16, b));  // takes 0 and 1
  EXPECT_FALSE(fence.claim(1, 1, a));
  fence.release(0, 16, b);
  EXPECT_TRUE(fence.claim(1, 1, a));
  EXPECT_FALSE(fence.claim(5, 1, b));
  fence.release(2, 3, a);
  EXPECT_TRUE(fence.claim(4, 1, b));
  fence.release(4, 2, a);  // b's page stays b's
  EXPECT_FALSE(fence.claim(4, 1, a));
  EXPECT_TRUE(fence.claim(5, 1, b));
}

TEST(WriteFenceTest, ClaimantsDifferAndComeBack) {
  {
    std::vector<Claimant> all;
    while (auto claimant = Claimant::create()) all.push_back(*std::move(claimant));
    EXPECT_EQ(all.size(), 255U);
    std::vector<bool> seen(256);
    for (const auto& claimant : all) {
      EXPECT_FALSE(seen[claimant.id()]);
      seen[claimant.id()] = true;
    }
    EXPECT_FALSE(seen[0]);
  }
  EXPECT_TRUE(Claimant::create());
}

// Ranges claimed by halves in opposite orders.
TEST(WriteFenceTest, CollidingThreadsBothSucceedInTheEnd) {
  WriteFence fence(2);
  std::uint64_t counter = 0;
  std::barrier start(2);
  const auto work = [&](std::uint64_t first) {
    const auto self = Claimant::create().value();
    start.arrive_and_wait();
    for (int i = 0; i < 100'000; ++i) {
      while (!fence.claim(first, 1, self) || !fence.claim(1 - first, 1, self)) {
        fence.release(0, 2, self);
        std::this_thread::sleep_for(std::chrono::microseconds(50));
      }
      ++counter;
      fence.release(0, 2, self);
    }
  };
  std::thread other(work, 1);
  work(0);
  other.join();
  EXPECT_EQ(counter, 200'000U);
}

using StalledThreadTest = IoThreadTest;

// The kernel gave up a connection whose thread is in the middle of its WRITE, and sent that again.
TEST_F(StalledThreadTest, AResentWriteWaitsForTheOneThatIsBeingStored) {
  const auto stalled_thread = start();
  const auto thread = start();
  ServedSegment& segment = make_segment();
  const auto given_up = connect(*stalled_thread, segment);
  const auto good = connect(*thread, segment);

  device_.holds_next_write = true;
  ASSERT_TRUE(send_write(given_up, 7, 1));
  device_.arrived.acquire();
  shutdown(given_up.get(), SHUT_RDWR);
  ASSERT_TRUE(send_write(good, 7, 1));
  EXPECT_FALSE(is_readable_within(good, milliseconds(200)));
  device_.gate.release();
  ASSERT_TRUE(load::receive_reply(good.get()));
  ASSERT_TRUE(write_page(good, 7, 2));
  next_report();
  EXPECT_EQ(read_page(good, 7, 2), 0U);
}

// Other pages do not matter.
TEST_F(StalledThreadTest, OnlyTheSamePagesWait) {
  const auto stalled_thread = start();
  const auto thread = start();
  ServedSegment& segment = make_segment();
  const auto stalled = connect(*stalled_thread, segment);
  const auto good = connect(*thread, segment);
  device_.holds_next_write = true;
  ASSERT_TRUE(send_write(stalled, 7, 1));
  device_.arrived.acquire();
  EXPECT_TRUE(write_page(good, 6, 1));
  EXPECT_TRUE(write_page(good, 8, 1));
  device_.gate.release();
  EXPECT_TRUE(load::receive_reply(stalled.get()));
}

// One I/O thread's part without the thread, so that it can be stopped anywhere.
struct Server {
  Server(StoreDevice& device, ServedSegment& segment)
      : copier(device.make_copier(staging.memory()).value()),
        ends(load::make_connection()),
        connection(std::move(ends.second), segment) {}

  // Collects the requests that the other end has sent, and does not serve them yet.
  void collect() {
    const auto area = staging.receive_area(0);
    const ssize_t bytes = recv(connection.socket.get(), area.data(), area.size(), MSG_DONTWAIT);
    ASSERT_GT(bytes, 0);
    batch.collect(connection, area.first(static_cast<std::size_t>(bytes)), nullptr);
  }
  Batch::Outcome run() {
    const auto outcome = batch.start(*copier).value();
    if (outcome == Batch::Outcome::started) {
      EXPECT_TRUE(batch.finish_changes(*copier));
    }
    batch.clear();
    return outcome;
  }

  Staging staging = Staging::create().value();
  Batch batch{staging, Claimant::create().value(), 0};
  std::unique_ptr<Copier> copier;
  std::pair<UniqueFd, UniqueFd> ends;
  const UniqueFd& kernel = ends.first;
  Connection connection;
};

// The thread stops between taking the request and claiming its pages, while the kernel sends it
// again over another connection, and then something newer.
TEST_F(StalledThreadTest, AReceivedButUnclaimedRequestIsDropped) {
  ServedSegment& segment = make_segment();
  segment.fence.emplace(kPages);
  for (const auto command : {Command::write, Command::trim, Command::write_zeroes}) {
    Server stalled(device_, segment);
    Server good(device_, segment);
    const auto send_first = [&](const UniqueFd& socket) {
      return command == Command::write
                 ? send_write(socket, 7, 1)
                 : load::send_header(
                       socket.get(),
                       {.command = command, .offset = 7 * kPageBytes, .length = kPageBytes});
    };
    ASSERT_TRUE(send_first(stalled.kernel));
    stalled.collect();
    shutdown(stalled.kernel.get(), SHUT_RDWR);
    ASSERT_TRUE(send_first(good.kernel));
    good.collect();
    EXPECT_EQ(good.run(), Batch::Outcome::started);
    ASSERT_TRUE(send_write(good.kernel, 7, 2));
    good.collect();
    EXPECT_EQ(good.run(), Batch::Outcome::started);

    EXPECT_EQ(stalled.run(), Batch::Outcome::given_up);
    Page stored;
    std::memcpy(stored.data(),
                reinterpret_cast<const void*>(segment.store->address() + 7 * kPageBytes),
                sizeof stored);
    EXPECT_EQ(load::count_wrong_words(stored, 7, 2), 0U);
    EXPECT_EQ(segment.pages->at(7), PageState::valid);
    // Nothing is left claimed.
    EXPECT_TRUE(segment.fence->claim(0, kPages, Claimant::create().value()));
    segment.fence.emplace(kPages);
  }
}

// The kernel's own end closes, as when the device is given new sockets.
TEST_F(StalledThreadTest, AClosedConnectionCountsAsGivenUpToo) {
  ServedSegment& segment = make_segment();
  segment.fence.emplace(kPages);
  Server server(device_, segment);
  ASSERT_TRUE(send_write(server.kernel, 7, 1));
  server.collect();
  server.ends.first.reset();
  EXPECT_EQ(server.run(), Batch::Outcome::given_up);
  EXPECT_EQ(segment.pages->count(PageState::valid), 0U);
}

// The kernel in short: a WRITE that is not answered within a moment is sent again over the other
// connection, the first one being shut down before; then newer bytes follow there.
TEST_F(StalledThreadTest, NoGivenUpWriteEverLandsOnANewerOne) {
  device_.longest_delay = std::chrono::microseconds(300);
  const std::unique_ptr<IoThread> threads[] = {start(), start()};
  ServedSegment& segment = make_segment();
  std::mt19937 random(1);
  std::uint32_t version = 0;
  int given_up = 0;
  const auto end = std::chrono::steady_clock::now() + seconds(2);
  UniqueFd sockets[] = {connect(*threads[0], segment), connect(*threads[1], segment)};
  for (unsigned turn = 0; std::chrono::steady_clock::now() < end; turn ^= 1) {
    UniqueFd& first = sockets[turn];
    const UniqueFd& second = sockets[turn ^ 1];
    const std::uint64_t page = random() % 4;
    ++version;
    ASSERT_TRUE(send_write(first, page, version));
    std::this_thread::sleep_for(std::chrono::microseconds(random() % 400));
    if (is_readable_within(first, milliseconds(0))) {
      ASSERT_TRUE(load::receive_reply(first.get()));
      continue;
    }
    ++given_up;
    shutdown(first.get(), SHUT_RDWR);
    ASSERT_TRUE(write_page(second, page, version));
    ASSERT_TRUE(write_page(second, page, ++version));
    next_report();
    ASSERT_EQ(read_page(second, page, version), 0U) << given_up;
    first = connect(*threads[turn], segment);
  }
  EXPECT_GT(given_up, 0);
}

}  // namespace
}  // namespace vramswap
