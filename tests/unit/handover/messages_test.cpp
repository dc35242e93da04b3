#include "daemon/handover/messages.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>

#include "daemon/handover/channel.hpp"

namespace vramswap::messages {
namespace {

using testing::HasSubstr;

template <class T>
T request_back(const T& value) {
  const auto decoded = decode_request(encode(Request{value}));
  EXPECT_TRUE(decoded) << decoded.error().message;
  return std::get<T>(decoded.value());
}

template <class T>
T message_back(const T& value) {
  const auto decoded = decode_message(encode(Message{value}));
  EXPECT_TRUE(decoded) << decoded.error().message;
  return std::get<T>(decoded.value());
}

TEST(Messages, RequestsReadBack) {
  const auto start = request_back(Start{.backend = control::Backend::ram,
                                        .gpu = "GPU-1234",
                                        .io_threads = 4,
                                        .rendezvous = "/run/x",
                                        .doze_after = std::chrono::seconds(60),
                                        .hang_timeout = std::chrono::seconds(9),
                                        .driver_path = "/lib/libcuda.so.1",
                                        .has_page_kernel = true});
  EXPECT_EQ(start.backend, control::Backend::ram);
  EXPECT_EQ(start.gpu, "GPU-1234");
  EXPECT_EQ(start.io_threads, 4U);
  EXPECT_EQ(start.rendezvous, "/run/x");
  EXPECT_EQ(start.doze_after, std::chrono::seconds(60));
  EXPECT_EQ(start.hang_timeout, std::chrono::seconds(9));
  EXPECT_EQ(start.driver_path, "/lib/libcuda.so.1");
  EXPECT_TRUE(start.has_page_kernel);

  const auto create = request_back(Create{.segment = 3, .size_bytes = 1ULL << 40});
  EXPECT_EQ(create.segment, 3U);
  EXPECT_EQ(create.size_bytes, 1ULL << 40);

  const auto import = request_back(Import{.segment = 4, .size_bytes = 2ULL << 20});
  EXPECT_EQ(import.segment, 4U);
  EXPECT_EQ(import.size_bytes, 2ULL << 20);

  const auto connect = request_back(Connect{.segment = 5, .connections = {{17, 2}, {18, 0}}});
  EXPECT_EQ(connect.segment, 5U);
  ASSERT_EQ(connect.connections.size(), 2U);
  EXPECT_EQ(connect.connections[0].id, 17U);
  EXPECT_EQ(connect.connections[0].thread, 2U);

  EXPECT_EQ(request_back(Remove{.segment = 6}).segment, 6U);
  EXPECT_EQ(request_back(Describe{.text = "{\"a\":1}"}).text, "{\"a\":1}");
  request_back(Adopt{});
  EXPECT_EQ(request_back(HandOver{.segment = 7}).segment, 7U);
  EXPECT_EQ(request_back(Replace{.program = "/sbin/x"}).program, "/sbin/x");
  EXPECT_TRUE(request_back(Replace{.program = "", .leaves_card = true}).leaves_card);
  Start without_card;
  without_card.leaves_card = true;
  EXPECT_TRUE(request_back(without_card).leaves_card);
  const auto prepare = request_back(PrepareMove{8, {.serial = 9, .place = StorePlace::host}});
  EXPECT_EQ(prepare.segment, 8U);
  EXPECT_EQ(prepare.store, (StoreId{.serial = 9, .place = StorePlace::host}));
  EXPECT_EQ(request_back(FinishMove{10}).segment, 10U);
  EXPECT_EQ(request_back(AbandonMove{11}).segment, 11U);
  request_back(ShareDriver{});
  const auto driver = message_back(Driver{.path = "/lib/libcuda.so.1", .has_page_kernel = true});
  EXPECT_EQ(driver.path, "/lib/libcuda.so.1");
  EXPECT_TRUE(driver.has_page_kernel);
}

TEST(Messages, StatsReadBack) {
  request_back(ReportStats{});
  request_back(Ping{});
  control::IoStats io{.counted_for = std::chrono::nanoseconds(1ULL << 50),
                      .reads = {.requests = 1ULL << 40, .pages = 1ULL << 41, .latency = {}},
                      .writes = {.requests = 3, .pages = 4, .latency = {}},
                      .trims = 5,
                      .trimmed_pages = 6,
                      .errors = 7,
                      .batches = 8,
                      .batched_requests = 9,
                      .largest_batch = 10};
  EXPECT_EQ(message_back(Stats{io}).io, io);
  for (unsigned i = 0; i < 40; ++i) {
    io.reads.latency.record(std::chrono::nanoseconds(1ULL << i));
    io.writes.latency.record(std::chrono::nanoseconds(i * i));
  }
  EXPECT_EQ(message_back(Stats{io}).io, io);
}

// However wide the latencies are spread.
TEST(Messages, StatsFitAPacket) {
  control::IoStats io;
  for (std::size_t bucket = 0; bucket < LatencyHistogram::kBuckets; ++bucket) {
    io.reads.latency.add(bucket, ~std::uint64_t{0} / LatencyHistogram::kBuckets);
    io.writes.latency.add(bucket, ~std::uint64_t{0} / LatencyHistogram::kBuckets);
  }
  EXPECT_LT(encode(Message{Stats{io}}).size(), kMaxPacketBytes);
}

TEST(Messages, StatsWithoutAHistogramAreAnError) {
  control::IoStats io;
  io.reads.latency.add(7, 8);
  const std::string text = encode(Message{Stats{io}});
  for (const char* buckets : {"[99999,8]", "[7]", "[-1,8]", "[\"7\",8]", "7"}) {
    auto wrong = text;
    wrong.replace(wrong.find("[7,8]"), 5, buckets);
    EXPECT_FALSE(decode_message(wrong)) << buckets;
  }
}

TEST(Messages, AnswersReadBack) {
  const auto device = message_back(Started{{.name = "NVIDIA \"Card\"",
                                            .uuid = "GPU-1",
                                            .free_bytes = 1ULL << 33,
                                            .total_bytes = 1ULL << 34,
                                            .granularity_bytes = 2 << 20,
                                            .drives_display = true}})
                          .device;
  EXPECT_EQ(device.name, "NVIDIA \"Card\"");
  EXPECT_EQ(device.uuid, "GPU-1");
  EXPECT_EQ(device.free_bytes, 1ULL << 33);
  EXPECT_EQ(device.total_bytes, 1ULL << 34);
  EXPECT_EQ(device.granularity_bytes, 2U << 20);
  EXPECT_TRUE(device.drives_display);

  message_back(Done{});
  const auto failed = message_back(Failed{"nbd0: \n why", ESTALE});
  EXPECT_EQ(failed.message, "nbd0: \n why");
  EXPECT_EQ(failed.code, ESTALE);
  EXPECT_EQ(message_back(StateChanged{WorkerState::dozing}).state, WorkerState::dozing);
  EXPECT_EQ(message_back(LostPagesChanged{7}).segment, 7U);
  const auto adopted = message_back(Adopted{"text", WorkerState::serving, {{3, {{7, 1}}}}});
  EXPECT_EQ(adopted.description, "text");
  EXPECT_EQ(adopted.state, WorkerState::serving);
  ASSERT_EQ(adopted.segments.size(), 1U);
  EXPECT_EQ(adopted.segments[0].id, 3U);
  ASSERT_EQ(adopted.segments[0].connections.size(), 1U);
  EXPECT_EQ(adopted.segments[0].connections[0].id, 7U);
  for (const auto end : {ConnectionEnd::disconnected, ConnectionEnd::hung_up, ConnectionEnd::broken,
                         ConnectionEnd::dropped}) {
    const auto ended = message_back(ConnectionEnded{.segment = 9, .connection = 4, .end = end});
    EXPECT_EQ(ended.segment, 9U);
    EXPECT_EQ(ended.connection, 4U);
    EXPECT_EQ(ended.end, end);
  }
}

TEST(Messages, AnotherVersionIsNamed) {
  auto text = encode(Request{Remove{1}});
  const std::string ours = fmt::format("\"version\":{}", kVersion);
  const auto at = text.find(ours);
  ASSERT_NE(at, std::string::npos);
  text.replace(at, ours.size(), "\"version\":99");
  const auto request = decode_request(text);
  ASSERT_FALSE(request);
  EXPECT_THAT(request.error().message,
              HasSubstr(fmt::format("different versions (99 and {})", kVersion)));
}

TEST(Messages, GarbageIsAnErrorNotAnException) {
  for (const char* text :
       {"", "{", "7", "[]", "{}", "\"\"", R"({"version":6})", R"({"version":"3"})",
        R"({"version":6,"kind":0})", R"({"version":6,"kind":99,"fields":{}})",
        R"({"version":6,"kind":-1,"fields":{}})", R"({"version":6,"kind":"0","fields":{}})",
        R"({"version":6,"kind":0,"fields":7})", R"({"version":6,"kind":0,"fields":{}})"}) {
    EXPECT_FALSE(decode_request(text)) << text;
    EXPECT_FALSE(decode_message(text)) << text;
  }
}

}  // namespace
}  // namespace vramswap::messages
