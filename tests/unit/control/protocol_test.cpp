#include "daemon/control/protocol.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace vramswap::control {
namespace {

using testing::HasSubstr;

UpRequest some_up() {
  return {.size = Percent{80},
          .priority = 1500,
          .backend = Backend::vram,
          .gpus = {"0", "GPU-1234"},
          .segment_size_bytes = 1ULL << 28,
          .connections = 4,
          .reconnect_timeout = std::chrono::seconds(30),
          .doze_after = std::chrono::seconds(5),
          .hang_timeout = std::chrono::seconds(7)};
}

std::string replaced(std::string text, std::string_view from, std::string_view to) {
  const auto at = text.find(from);
  EXPECT_NE(at, std::string::npos) << text;
  return text.replace(at, from.size(), to);
}

TEST(Protocol, UpReadsBack) {
  const auto request = decode_request(encode(Request{some_up()}));
  ASSERT_TRUE(request) << request.error().message;
  const auto& up = std::get<UpRequest>(*request);
  EXPECT_EQ(up.size, Size{Percent{80}});
  EXPECT_EQ(up.priority, 1500);
  EXPECT_EQ(up.backend, Backend::vram);
  EXPECT_EQ(up.gpus, (std::vector<std::string>{"0", "GPU-1234"}));
  EXPECT_EQ(up.segment_size_bytes, 1ULL << 28);
  EXPECT_EQ(up.connections, 4U);
  EXPECT_EQ(up.reconnect_timeout, std::chrono::seconds(30));
  EXPECT_EQ(up.doze_after, std::chrono::seconds(5));
  EXPECT_EQ(up.hang_timeout, std::chrono::seconds(7));

  auto without = some_up();
  without.doze_after.reset();
  const auto back = decode_request(encode(Request{without}));
  ASSERT_TRUE(back) << back.error().message;
  EXPECT_EQ(std::get<UpRequest>(*back).doze_after, std::nullopt);
}

TEST(Protocol, TheOtherRequestsReadBack) {
  const auto down = decode_request(encode(Request{DownRequest{.force = true}}));
  ASSERT_TRUE(down);
  EXPECT_TRUE(std::get<DownRequest>(*down).force);
  const auto status = decode_request(encode(Request{StatusRequest{}}));
  ASSERT_TRUE(status);
  EXPECT_TRUE(std::holds_alternative<StatusRequest>(*status));
  const auto reload = decode_request(encode(Request{ReloadRequest{}}));
  ASSERT_TRUE(reload);
  EXPECT_TRUE(std::holds_alternative<ReloadRequest>(*reload));
}

TEST(Protocol, RepliesReadBack) {
  const Status status{.version = "0.1.0",
                      .supervisor_pid = 42,
                      .segments = {{.device = "/dev/nbd3",
                                    .size_bytes = 1ULL << 30,
                                    .used_bytes = 4096,
                                    .priority = 7,
                                    .backend = Backend::ram,
                                    .store = "ram",
                                    .gpu_uuid = "",
                                    .state = "active",
                                    .generation = 2,
                                    .lost_pages = 17,
                                    .corrupt_pages = 3,
                                    .lost_at = 1700000000}},
                      .workers = {{.store = "ram",
                                   .gpu_uuid = "",
                                   .pid = 43,
                                   .state = "serving",
                                   .restarts = 3,
                                   .last_pause_ms = 150,
                                   .problem = "none",
                                   .notes = {"it rains"}}},
                      .notes = {"it snows"}};
  const auto reply = decode_reply(encode(Reply{status}));
  ASSERT_TRUE(reply) << reply.error().message;
  const auto& back = std::get<Status>(*reply);
  EXPECT_EQ(back.version, "0.1.0");
  EXPECT_EQ(back.supervisor_pid, 42);
  ASSERT_EQ(back.segments.size(), 1U);
  EXPECT_EQ(back.segments[0].device, "/dev/nbd3");
  EXPECT_EQ(back.segments[0].used_bytes, 4096U);
  EXPECT_EQ(back.segments[0].state, "active");
  EXPECT_EQ(back.segments[0].generation, 2U);
  EXPECT_EQ(back.segments[0].lost_pages, 17U);
  EXPECT_EQ(back.segments[0].corrupt_pages, 3U);
  EXPECT_EQ(back.segments[0].lost_at, 1700000000);
  ASSERT_EQ(back.workers.size(), 1U);
  EXPECT_EQ(back.workers[0].pid, 43);
  EXPECT_EQ(back.workers[0].state, "serving");
  EXPECT_EQ(back.workers[0].restarts, 3U);
  EXPECT_EQ(back.workers[0].last_pause_ms, 150);
  EXPECT_EQ(back.workers[0].problem, "none");
  EXPECT_EQ(back.workers[0].notes, std::vector<std::string>{"it rains"});
  EXPECT_EQ(back.notes, std::vector<std::string>{"it snows"});

  const auto progress = decode_reply(encode(Reply{Progress{"/dev/nbd0", 1, 2}}));
  EXPECT_EQ(std::get<Progress>(*progress).total_bytes, 2U);
  const auto failure = decode_reply(encode(Reply{Failure{"no \"room\"\nleft"}}));
  EXPECT_EQ(std::get<Failure>(*failure).message, "no \"room\"\nleft");
  EXPECT_TRUE(std::holds_alternative<Done>(*decode_reply(encode(Reply{Done{}}))));
}

std::string line_with(std::optional<IoStats> io) {
  WorkerStatus worker;
  worker.pid = 43;
  worker.io = std::move(io);
  Status status;
  status.workers = {worker};
  return encode(Reply{status});
}

WorkerStatus worker_back(const std::string& line) {
  const auto reply = decode_reply(line);
  EXPECT_TRUE(reply) << reply.error().message;
  return reply ? std::get<Status>(*reply).workers.at(0) : WorkerStatus{};
}

TEST(Protocol, StatsReadBack) {
  IoStats io{.counted_for = std::chrono::seconds(5),
             .reads = {.requests = 2, .pages = 16, .latency = {}},
             .errors = 1};
  io.reads.latency.record(std::chrono::microseconds(12));
  io.reads.latency.record(std::chrono::microseconds(900));
  EXPECT_EQ(worker_back(line_with(io)).io, io);
}

// A daemon that was there before them is still understood.
TEST(Protocol, StatsMayBeMissing) {
  const std::string line = line_with(std::nullopt);
  EXPECT_EQ(worker_back(line).io, std::nullopt);
  EXPECT_EQ(worker_back(replaced(line, "\"io\":null,", "")).io, std::nullopt);
  EXPECT_EQ(worker_back(replaced(line, "\"io\":null,", "")).pid, 43);
  EXPECT_FALSE(decode_reply(replaced(line, "\"io\":null", "\"io\":7")));
}

TEST(Protocol, OneMessageIsOneLine) {
  EXPECT_EQ(encode(Reply{Failure{"two\nlines"}}).find('\n'), std::string::npos);
}

TEST(Protocol, AnotherVersionIsNamed) {
  const auto line = replaced(encode(Request{StatusRequest{}}), "\"protocol\":2", "\"protocol\":3");
  const auto request = decode_request(line);
  ASSERT_FALSE(request);
  EXPECT_THAT(request.error().message, HasSubstr("protocol 3"));
}

TEST(Protocol, OutOfRangeIsNamed) {
  const auto line = encode(Request{some_up()});
  for (const char* value : {"32768", "-2", "1.5", "\"1\"", "18446744073709551615"}) {
    const auto request =
        decode_request(replaced(line, "\"priority\":1500", std::string("\"priority\":") + value));
    ASSERT_FALSE(request) << value;
    EXPECT_THAT(request.error().message, HasSubstr("priority"));
  }
}

TEST(Protocol, GarbageIsAnErrorNotAnException) {
  for (const char* line :
       {"", "{", "[]", "7", "{}", "null", R"({"protocol":2})", R"({"protocol":2,"type":"up"})",
        R"({"protocol":2,"type":"dance"})", R"({"protocol":"2","type":"status"})",
        R"({"protocol":2.0,"type":"status"})", R"({"protocol":2,"type":"status","more":1e300})"}) {
    EXPECT_FALSE(decode_request(line)) << line;
    EXPECT_FALSE(decode_reply(line)) << line;
  }
}

}  // namespace
}  // namespace vramswap::control
