#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include <cerrno>
#include <chrono>
#include <cstddef>
#include <iostream>
#include <iterator>
#include <thread>

#include "tests/load/load_generator.hpp"
#include "tests/unit/worker/io_thread_fixture.hpp"

// ThreadSanitizer does not know that reading a spliced reply happens after sending it.
// The stored bytes are compared instead.
extern "C" const char* __tsan_default_suppressions();
extern "C" const char* __tsan_default_suppressions() {
  return "race:ram_store.cpp";
}

namespace vramswap {
namespace {

using load::Command;
using load::Page;
using std::chrono::milliseconds;
using std::chrono::seconds;

TEST_F(IoThreadTest, ServesManyConnectionsOfManySegments) {
  const auto thread = start();
  std::list<load::LoadGenerator> generators;
  std::vector<std::thread> clients;
  std::vector<load::LoadResult> results(3);
  std::list<UniqueFd> sockets;
  for (std::uint32_t i = 0; i < results.size(); ++i) {
    ServedSegment& segment = make_segment();
    std::vector<int> fds;
    for (int k = 0; k < 2; ++k) {
      fds.push_back(sockets.emplace_back(connect(*thread, segment)).get());
    }
    auto& generator = generators.emplace_back(
        i, kSegmentBytes, load::LoadOptions{.depth = 8, .discard_share = 0.1, .seed = i});
    clients.emplace_back([&generator, &result = results[i], fds] {
      result = generator.run(fds, seconds(1));
      result.add(generator.verify(fds));
    });
  }
  for (auto& client : clients) client.join();
  for (const auto& result : results) {
    EXPECT_GT(result.operations, 0U);
    EXPECT_EQ(result.wrong_words, 0U) << result.summary();
    EXPECT_EQ(result.failed_replies, 0U);
    EXPECT_EQ(result.ended_connections, 0U);
  }
}

TEST_F(IoThreadTest, SharesASegmentWithOtherThreads) {
  const auto first = start();
  const auto second = start();
  ServedSegment& segment = make_segment();
  const UniqueFd sockets[] = {connect(*first, segment), connect(*second, segment)};
  load::LoadGenerator generator(1, kSegmentBytes, {.depth = 32, .read_pages = {1, 8}});
  const std::array fds{sockets[0].get(), sockets[1].get()};
  auto result = generator.run(fds, seconds(1));
  result.add(generator.verify(fds));
  EXPECT_EQ(result.wrong_words, 0U) << result.summary();
  EXPECT_EQ(result.failed_replies, 0U);
  EXPECT_EQ(result.ended_connections, 0U);
}

TEST_F(IoThreadTest, TheLongestRequestsBackToBack) {
  const auto thread = start();
  ServedSegment& segment = make_segment();
  const auto socket = connect(*thread, segment);
  load::LoadGenerator generator(1, kSegmentBytes,
                                {.depth = 6, .read_pages = {256, 256}, .write_pages = {256, 256}});
  const auto result = generator.run(std::array{socket.get()}, seconds(1));
  EXPECT_GT(result.operations, 0U);
  EXPECT_EQ(result.wrong_words, 0U) << result.summary();
  EXPECT_EQ(result.ended_connections, 0U);
}

TEST_F(IoThreadTest, ReportsHowEachConnectionEnds) {
  const auto thread = start();
  ServedSegment& segment = make_segment();
  const auto says_goodbye = connect(*thread, segment);
  ASSERT_TRUE(load::send_header(says_goodbye.get(), {.command = Command::disconnect}));
  EXPECT_FALSE(load::receive_reply(says_goodbye.get()));
  EXPECT_EQ(next_report().end, ConnectionEnd::disconnected);

  // As the kernel does it: NBD_CMD_DISC, then the end of the socket.
  auto leaves = connect(*thread, segment);
  ASSERT_TRUE(load::send_header(leaves.get(), {.command = Command::disconnect}));
  leaves.reset();
  EXPECT_EQ(next_report().end, ConnectionEnd::disconnected);

  connect(*thread, segment).reset();
  EXPECT_EQ(next_report().end, ConnectionEnd::hung_up);

  const auto talks_nonsense = connect(*thread, segment);
  ASSERT_TRUE(load::send_header(talks_nonsense.get(), {.magic = 0x25609512}));
  EXPECT_FALSE(load::receive_reply(talks_nonsense.get()));
  EXPECT_EQ(next_report().end, ConnectionEnd::broken);

  const auto dropped = connect(*thread, segment);
  ASSERT_TRUE(thread->drop(segment));
  EXPECT_FALSE(load::receive_reply(dropped.get()));
  const auto report = next_report();
  EXPECT_EQ(report.end, ConnectionEnd::dropped);
  EXPECT_EQ(report.segment_id, segment.id);
  EXPECT_EQ(segment.open_connections, 0U);
}

TEST_F(IoThreadTest, DropEndsOneSegmentOnly) {
  const auto thread = start();
  ServedSegment& dropped = make_segment();
  ServedSegment& kept = make_segment();
  const auto first = connect(*thread, dropped);
  const auto second = connect(*thread, kept);
  const auto third = connect(*thread, dropped);
  ASSERT_TRUE(write_page(second, 1, 1));
  ASSERT_TRUE(thread->drop(dropped));
  next_report();
  next_report();
  EXPECT_EQ(dropped.open_connections, 0U);
  EXPECT_EQ(kept.open_connections, 1U);
  EXPECT_EQ(read_page(second, 1, 1), 0U);
}

TEST_F(IoThreadTest, BadClientsDisturbNoOther) {
  const auto thread = start();
  ServedSegment& segment = make_segment();
  const auto good = connect(*thread, segment);
  std::vector<UniqueFd> bad;

  // Half a request, then nothing.
  bad.push_back(connect(*thread, segment));
  const auto header = load::encode({.command = Command::read, .length = kPageBytes});
  ASSERT_EQ(send(bad.back().get(), header.data(), 14, 0), 14);
  EXPECT_TRUE(write_page(good, 1, 1));

  // A payload that stalls, and one that ends midway.
  const auto begin_write = [&] {
    bad.push_back(connect(*thread, segment));
    Page content;
    load::fill(content, 10, 9);
    ASSERT_TRUE(load::send_header(
        bad.back().get(),
        {.command = Command::write, .offset = 10 * kPageBytes, .length = 8 * kPageBytes}));
    ASSERT_TRUE(load::send_page(bad.back().get(), content, true));
    ASSERT_EQ(send(bad.back().get(), content.data(), 100, 0), 100);
  };
  begin_write();
  begin_write();
  bad.back().reset();
  EXPECT_EQ(next_report().end, ConnectionEnd::hung_up);
  EXPECT_EQ(read_page(good, 1, 1), 0U);

  // Nonsense.
  bad.push_back(connect(*thread, segment));
  ASSERT_EQ(send(bad.back().get(), "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", 35, 0), 35);
  EXPECT_EQ(next_report().end, ConnectionEnd::broken);
  EXPECT_EQ(read_page(good, 1, 1), 0U);

  // A request is refused, and the connection keeps working.
  ASSERT_TRUE(
      load::send_header(bad[0].get(), {.command = Command::read}));  // the other half, shifted
  EXPECT_TRUE(write_page(good, 2, 2));
  EXPECT_EQ(read_page(good, 2, 2), 0U);
}

TEST_F(IoThreadTest, ARefusedRequestIsAnsweredAndTheConnectionKeepsWorking) {
  const auto thread = start();
  ServedSegment& segment = make_segment();
  const auto socket = connect(*thread, segment);
  for (const auto& [header, error] : {
           std::pair{load::RequestHeader{.command = Command{77}, .length = 4096}, EINVAL},
           std::pair{load::RequestHeader{.offset = 512, .length = 4096}, EINVAL},
           std::pair{load::RequestHeader{.offset = kSegmentBytes, .length = 4096}, EINVAL},
           std::pair{load::RequestHeader{.command = Command::write, .length = 0}, EINVAL},
       }) {
    ASSERT_TRUE(load::send_header(socket.get(), header));
    const auto reply = load::receive_reply(socket.get());
    ASSERT_TRUE(reply);
    EXPECT_EQ(reply->error, static_cast<std::uint32_t>(error));
  }
  EXPECT_TRUE(write_page(socket, 0, 1));
  EXPECT_EQ(read_page(socket, 0, 1), 0U);
}

// It has far more READs in flight than its share of staging memory, and takes none of the replies.
TEST_F(IoThreadTest, AClientThatReadsNothingDisturbsNoOtherAndThenGetsItAll) {
  const auto thread = start();
  ServedSegment& segment = make_segment();
  const auto good = connect(*thread, segment);
  const auto idle = connect(*thread, segment);
  for (std::uint64_t page = 0; page < 64; ++page) ASSERT_TRUE(write_page(good, page, 5));
  // Replies that a socket takes without privileges, too: each lends a chunk of its own.
  constexpr int kReads = 200;
  for (int i = 0; i < kReads; ++i) {
    ASSERT_TRUE(send_read(idle, static_cast<std::uint64_t>(i % 64), 1));
    if (i < 32) std::this_thread::sleep_for(milliseconds(1));
  }
  for (std::uint64_t page = 100; page < 200; ++page) {
    const auto start_time = std::chrono::steady_clock::now();
    ASSERT_TRUE(write_page(good, page, 6));
    ASSERT_EQ(read_page(good, page, 6), 0U);
    EXPECT_LT(std::chrono::steady_clock::now() - start_time, seconds(1));
  }
  for (int i = 0; i < kReads; ++i) ASSERT_EQ(receive_read(idle, 1, 5), 0U) << i;
}

// A slow reader's lent pages must hold until it has read them, however much the others read.
TEST_F(IoThreadTest, LentPagesAreNotReusedBeforeTheyWereRead) {
  const auto thread = start();
  ServedSegment& segment = make_segment();
  ServedSegment& busy_segment = make_segment();
  const auto slow = connect(*thread, segment);
  const UniqueFd busy[] = {connect(*thread, busy_segment), connect(*thread, busy_segment)};
  for (std::uint64_t page = 0; page < 256; ++page) ASSERT_TRUE(write_page(slow, page, 3));

  load::LoadGenerator generator(9, kSegmentBytes, {.depth = 8});
  load::LoadResult result;
  std::thread client([&] {
    result = generator.run(std::array{busy[0].get(), busy[1].get()}, seconds(2));
  });
  std::size_t wrong = 0;
  const auto end = std::chrono::steady_clock::now() + seconds(2);
  while (std::chrono::steady_clock::now() < end) {
    for (std::uint64_t page = 0; page < 256; page += 8) ASSERT_TRUE(send_read(slow, page, 8));
    std::this_thread::sleep_for(milliseconds(20));
    for (int i = 0; i < 32; ++i) {
      wrong += receive_read(slow, 8, 3);
      if (i % 8 == 0) std::this_thread::sleep_for(milliseconds(1));
    }
  }
  client.join();
  EXPECT_EQ(wrong, 0U);
  EXPECT_EQ(result.wrong_words, 0U) << result.summary();
  EXPECT_EQ(result.ended_connections, 0U);
}

// The same for a connection that is closed to us while the other side still reads.
TEST_F(IoThreadTest, LentPagesHoldAfterTheConnectionWasDropped) {
  const auto thread = start();
  ServedSegment& segment = make_segment();
  ServedSegment& busy_segment = make_segment();
  const auto slow = connect(*thread, segment);
  for (std::uint64_t page = 0; page < 8; ++page) ASSERT_TRUE(write_page(slow, page, 3));
  for (int i = 0; i < 16; ++i) ASSERT_TRUE(send_read(slow, 0, 8));
  std::this_thread::sleep_for(milliseconds(50));
  ASSERT_TRUE(thread->drop(segment));
  EXPECT_EQ(next_report().end, ConnectionEnd::dropped);

  const auto busy = connect(*thread, busy_segment);
  load::LoadGenerator generator(9, kSegmentBytes, {.depth = 8});
  const auto result = generator.run(std::array{busy.get()}, milliseconds(500));
  EXPECT_EQ(result.wrong_words, 0U) << result.summary();
  for (int i = 0; i < 16; ++i) EXPECT_EQ(receive_read(slow, 8, 3), 0U) << i;
  EXPECT_FALSE(load::receive_reply(slow.get()));
}

// Sockets that are never read again, as the kernel leaves them until it gets new ones.
TEST_F(IoThreadTest, DeadSocketsWithUnreadRepliesDoNotStopTheOthers) {
  const auto thread = start();
  ServedSegment& segment = make_segment();
  const auto good = connect(*thread, segment);
  ASSERT_TRUE(write_page(good, 0, 1));
  std::vector<UniqueFd> dead;
  for (int i = 0; i < 4; ++i) {
    dead.push_back(connect(*thread, segment));
    for (int k = 0; k < 40; ++k) {
      ASSERT_TRUE(send_read(dead.back(), 0, 1));
      if (k < 32) std::this_thread::sleep_for(milliseconds(1));
    }
    shutdown(dead.back().get(), SHUT_RDWR);
    EXPECT_EQ(next_report().end, ConnectionEnd::hung_up);
  }
  EXPECT_TRUE(write_page(good, 1, 2));
  dead.clear();
  EXPECT_EQ(read_page(good, 1, 2), 0U);
}

// The kernel gave up a connection, sent its WRITE again over another and then newer bytes for the
// same page: requests left on the old one must not be served any more.
TEST_F(IoThreadTest, NothingIsServedThatAConnectionLeftBehind) {
  const auto slow_thread = start();
  const auto thread = start();
  ServedSegment& segment = make_segment();
  const auto blocks = connect(*slow_thread, segment);
  const auto given_up = connect(*slow_thread, segment);
  const auto good = connect(*thread, segment);

  device_.holds_next_write = true;
  ASSERT_TRUE(send_write(blocks, 100, 1));
  device_.arrived.acquire();
  ASSERT_TRUE(send_write(given_up, 7, 1));
  shutdown(given_up.get(), SHUT_RDWR);
  ASSERT_TRUE(write_page(good, 7, 1));
  ASSERT_TRUE(write_page(good, 7, 2));
  device_.gate.release();
  EXPECT_EQ(next_report().end, ConnectionEnd::hung_up);
  EXPECT_EQ(read_page(good, 7, 2), 0U);
}

TEST_F(IoThreadTest, EndsWithConnectionsOpenAndRepliesUnread) {
  ServedSegment& segment = make_segment();
  UniqueFd socket;
  {
    const auto thread = start();
    socket = connect(*thread, segment);
    ASSERT_TRUE(write_page(socket, 0, 1));
    ASSERT_TRUE(send_read(socket, 0, 1));
    std::this_thread::sleep_for(milliseconds(50));
  }
  EXPECT_EQ(receive_read(socket, 1, 1), 0U);
  EXPECT_FALSE(load::receive_reply(socket.get()));
}

TEST_F(IoThreadTest, SaysWhyItCannotStart) {
  device_.makes_no_copier = true;
  const auto thread = IoThread::start(device_, report_write_.get(), {.realtime = false});
  ASSERT_FALSE(thread);
  EXPECT_EQ(thread.error().message, "no copier today");
}

using IoThreadDeathTest = IoThreadTest;

// Not an error reply, which would be a SIGBUS for the process that owns the page.
TEST_F(IoThreadDeathTest, AFailedStoreEndsTheProcess) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  for (const bool writes : {false, true}) {
    EXPECT_EXIT(
        {
          const auto thread = start();
          const auto socket = connect(*thread, make_segment());
          write_page(socket, 0, 1);
          device_.fails = true;
          if (writes) {
            write_page(socket, 0, 2);
          } else {
            read_page(socket, 0, 1);
          }
          std::_Exit(0);
        },
        testing::ExitedWithCode(kExitStoreFailed), "the store has failed");
  }
}

// As an old kernel does, or the filter of an old container's runtime.
void refuse_epoll_pwait2() {
  sock_filter code[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_epoll_pwait2, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const sock_fprog program{.len = std::size(code), .filter = code};
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
      prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0) {
    std::_Exit(2);
  }
}

TEST_F(IoThreadDeathTest, AKernelWithoutItsWaitIsRefusedAtTheStart) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(
      {
        refuse_epoll_pwait2();
        const auto thread = IoThread::start(device_, -1, {.realtime = false});
        std::cerr << (thread ? "it started" : thread.error().message);
        std::_Exit(0);
      },
      testing::ExitedWithCode(0), "epoll_pwait2 .it needs Linux 5.11.: ENOSYS");
}

}  // namespace
}  // namespace vramswap
