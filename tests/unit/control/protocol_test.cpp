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
          .hang_timeout = std::chrono::seconds(7),
          .lend_group = 44};
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
  EXPECT_EQ(up.lend_group, 44U);

  auto without = some_up();
  without.doze_after.reset();
  without.lend_group.reset();
  const auto back = decode_request(encode(Request{without}));
  ASSERT_TRUE(back) << back.error().message;
  EXPECT_EQ(std::get<UpRequest>(*back).doze_after, std::nullopt);
  EXPECT_EQ(std::get<UpRequest>(*back).lend_group, std::nullopt);
}

// The description of a pool that an earlier version made has a request without it.
TEST(Protocol, TheLendGroupMayBeMissing) {
  const auto line = encode(Request{some_up()});
  const auto back = decode_request(replaced(line, "\"lend_group\":44,", ""));
  ASSERT_TRUE(back) << back.error().message;
  EXPECT_EQ(std::get<UpRequest>(*back).lend_group, std::nullopt);
  for (const char* value : {"-1", "4294967295", "\"root\"", "1.5"}) {
    const auto bad =
        decode_request(replaced(line, "\"lend_group\":44", std::string("\"lend_group\":") + value));
    ASSERT_FALSE(bad) << value;
    EXPECT_THAT(bad.error().message, HasSubstr("lend_group")) << value;
  }
}

TEST(Protocol, LoansReadBack) {
  const auto all = decode_request(encode(Request{LendRequest{.is_held = true, .purpose = "game"}}));
  ASSERT_TRUE(all) << all.error().message;
  const auto& lend = std::get<LendRequest>(*all);
  EXPECT_EQ(lend.bytes, std::nullopt);
  EXPECT_TRUE(lend.is_held);
  EXPECT_EQ(lend.wait, std::nullopt);
  EXPECT_EQ(lend.purpose, "game");

  const auto some = decode_request(
      encode(Request{LendRequest{.bytes = 5, .wait = std::chrono::seconds(0), .purpose = "\n"}}));
  ASSERT_TRUE(some) << some.error().message;
  EXPECT_EQ(std::get<LendRequest>(*some).bytes, 5U);
  EXPECT_FALSE(std::get<LendRequest>(*some).is_held);
  EXPECT_EQ(std::get<LendRequest>(*some).wait, std::chrono::seconds(0));
  EXPECT_EQ(std::get<LendRequest>(*some).purpose, "\n");

  const auto take_back = decode_request(encode(Request{TakeBackRequest{}}));
  ASSERT_TRUE(take_back) << take_back.error().message;
  EXPECT_TRUE(std::holds_alternative<TakeBackRequest>(*take_back));

  const auto reply = decode_reply(encode(Reply{Lent{3, 1, "no room"}}));
  ASSERT_TRUE(reply) << reply.error().message;
  EXPECT_EQ(std::get<Lent>(*reply).freed_bytes, 3U);
  EXPECT_EQ(std::get<Lent>(*reply).missing_bytes, 1U);
  EXPECT_EQ(std::get<Lent>(*reply).problem, "no room");
}

TEST(Protocol, ALoanThatIsWrongIsNamed) {
  const auto line = encode(Request{LendRequest{
      .bytes = 5, .is_held = true, .wait = std::chrono::seconds(7), .purpose = "game"}});
  const std::string longest(kMaxPurposeBytes, 'x');
  struct {
    const char* from;
    std::string to;
    const char* says;
  } const table[] = {{"\"bytes\":5", "\"bytes\":-1", "bytes"},
                     {"\"bytes\":5", "\"bytes\":9223372036854775809", "bytes"},
                     {"\"bytes\":5", "\"bytes\":\"5\"", "bytes"},
                     {"\"bytes\":5,", "", "bytes"},
                     {"\"wait_s\":7", "\"wait_s\":-1", "wait_s"},
                     {"\"wait_s\":7", "\"wait_s\":86401", "wait_s"},
                     {"\"is_held\":true", "\"is_held\":1", "malformed"},
                     {"\"purpose\":\"game\"", "\"purpose\":7", "malformed"},
                     {"\"purpose\":\"game\"", "\"purpose\":\"x" + longest + "\"", "purpose"}};
  for (const auto& wrong : table) {
    const auto request = decode_request(replaced(line, wrong.from, wrong.to));
    ASSERT_FALSE(request) << wrong.to;
    EXPECT_THAT(request.error().message, HasSubstr(wrong.says)) << wrong.to;
  }
  EXPECT_TRUE(decode_request(replaced(line, "\"game\"", '"' + longest + '"')));
}

TEST(Protocol, TheListOfLoansReadsBack) {
  const std::vector<Loan> loans = {
      {.bytes = std::nullopt, .is_held = true, .purpose = "game", .since = 1700000000},
      {.bytes = 5, .is_held = false, .purpose = "vramswap lend", .since = 1}};
  const auto back = decode_loans(encode_loans(loans));
  ASSERT_TRUE(back) << back.error().message;
  ASSERT_EQ(back->size(), 2U);
  EXPECT_EQ(back->at(0).bytes, std::nullopt);
  EXPECT_TRUE(back->at(0).is_held);
  EXPECT_EQ(back->at(0).purpose, "game");
  EXPECT_EQ(back->at(0).since, 1700000000);
  EXPECT_EQ(back->at(1).bytes, 5U);
  EXPECT_FALSE(back->at(1).is_held);
  EXPECT_TRUE(decode_loans(encode_loans({}))->empty());
  EXPECT_FALSE(decode_loans("nonsense"));
  EXPECT_FALSE(decode_loans(replaced(encode_loans(loans), "\"bytes\":5", "\"bytes\":-5")));
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
                                    .lost_at = 1700000000,
                                    .place = "host memory"}},
                      .workers = {{.store = "ram",
                                   .gpu_uuid = "",
                                   .pid = 43,
                                   .state = "serving",
                                   .restarts = 3,
                                   .last_pause_ms = 150,
                                   .problem = "none",
                                   .notes = {"it rains"}}},
                      .notes = {"it snows"},
                      .loans = {{.bytes = 5, .is_held = true, .purpose = "game", .since = 7}},
                      .lent_bytes = 6};
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
  EXPECT_EQ(back.segments[0].place, "host memory");
  ASSERT_EQ(back.workers.size(), 1U);
  EXPECT_EQ(back.workers[0].pid, 43);
  EXPECT_EQ(back.workers[0].state, "serving");
  EXPECT_EQ(back.workers[0].restarts, 3U);
  EXPECT_EQ(back.workers[0].last_pause_ms, 150);
  EXPECT_EQ(back.workers[0].problem, "none");
  EXPECT_EQ(back.workers[0].notes, std::vector<std::string>{"it rains"});
  EXPECT_EQ(back.notes, std::vector<std::string>{"it snows"});
  ASSERT_EQ(back.loans.size(), 1U);
  EXPECT_EQ(back.loans[0].bytes, 5U);
  EXPECT_TRUE(back.loans[0].is_held);
  EXPECT_EQ(back.loans[0].purpose, "game");
  EXPECT_EQ(back.loans[0].since, 7);
  EXPECT_EQ(back.lent_bytes, 6U);

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

// A daemon that was there before loans were lends nothing.
TEST(Protocol, LoansMayBeMissing) {
  Status earlier;
  earlier.segments.emplace_back();
  std::string line = encode(Reply{earlier});
  for (const char* part : {"\"lent_bytes\":0,", "\"loans\":[],", "\"place\":\"\","}) {
    line = replaced(line, part, "");
  }
  const auto reply = decode_reply(line);
  ASSERT_TRUE(reply) << reply.error().message;
  const auto& status = std::get<Status>(*reply);
  EXPECT_TRUE(status.loans.empty());
  EXPECT_EQ(status.lent_bytes, 0U);
  EXPECT_EQ(status.segments.at(0).place, "");
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
