#include "swapctl/status_report.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "daemon/base/json.hpp"
#include "swapctl/io_report.hpp"
#include "tests/support/mebibyte.hpp"

namespace vramswap::swapctl {
namespace {

using control::Backend;
using control::SegmentStatus;
using control::Status;

SegmentStatus segment(std::string device, std::uint64_t used_bytes, int priority,
                      std::string gpu_uuid) {
  return {.device = std::move(device),
          .size_bytes = 1024 * kMiB,
          .used_bytes = used_bytes,
          .priority = priority,
          .backend = Backend::vram,
          .store = "NVIDIA H200",
          .gpu_uuid = std::move(gpu_uuid),
          .state = "active"};
}

Status status_of(std::vector<SegmentStatus> segments) {
  return {.version = "0.1.0", .supervisor_pid = 42, .segments = std::move(segments)};
}

TEST(StatusTable, NumbersAreRightAlignedAndTotalled) {
  EXPECT_EQ(status_table(status_of({segment("/dev/nbd0", 1024 * kMiB, 1500, "GPU-aaaaaaaa-1"),
                                    segment("/dev/nbd12", 217088, 99, "GPU-aaaaaaaa-1")})),
            "NAME       SIZE USED PRIO STORE       STATE\n"
            "/dev/nbd0    1G   1G 1500 NVIDIA H200 active\n"
            "/dev/nbd12   1G 212K   99 NVIDIA H200 active\n"
            "total        2G   1G\n");
}

TEST(StatusTable, SeveralGpusAreToldApart) {
  EXPECT_EQ(status_table(status_of({segment("/dev/nbd0", 0, 5, "GPU-aaaaaaaa-1111"),
                                    segment("/dev/nbd1", 0, 5, "GPU-bbbbbbbb-2222")})),
            "NAME      SIZE USED PRIO STORE                    STATE\n"
            "/dev/nbd0   1G   0B    5 NVIDIA H200 GPU-aaaaaaaa active\n"
            "/dev/nbd1   1G   0B    5 NVIDIA H200 GPU-bbbbbbbb active\n"
            "total       2G   0B\n");
}

TEST(StatusTable, ASegmentWithoutADeviceHasADash) {
  SegmentStatus ram{.device = "",
                    .size_bytes = 64 * kMiB,
                    .used_bytes = 0,
                    .priority = 0,
                    .backend = Backend::ram,
                    .store = "ram",
                    .gpu_uuid = "",
                    .state = "connecting"};
  EXPECT_EQ(status_table(status_of({ram})),
            "NAME  SIZE USED PRIO STORE STATE\n"
            "-      64M   0B    0 ram   connecting\n"
            "total  64M   0B\n");
}

TEST(StatusTable, HasTheStatesOfWorkersAndTheLostPages) {
  auto lossy = segment("/dev/nbd0", 0, 5, "GPU-aaaaaaaa-1111");
  lossy.generation = 1;
  lossy.lost_pages = 300;
  lossy.lost_at = 1700000000;
  auto status = status_of({lossy});
  status.workers = {{.store = "NVIDIA H200",
                     .gpu_uuid = "GPU-aaaaaaaa-1111",
                     .pid = 77,
                     .state = "serving",
                     .restarts = 2,
                     .last_pause_ms = 310,
                     .problem = "",
                     .notes = {"it rains", "it snows"}}};
  const auto text = status_table(status);
  EXPECT_NE(text.find("worker 77 of NVIDIA H200: serving, 2 restarts, last pause 310 ms\n"
                      "  it rains\n"
                      "  it snows\n"),
            std::string::npos)
      << text;
  EXPECT_NE(text.find("/dev/nbd0: 300 pages lost, last at 2023-11-1"), std::string::npos) << text;
  EXPECT_NE(text.find("generation 1\n"), std::string::npos) << text;
  status.segments[0].corrupt_pages = 2;
  EXPECT_THAT(status_table(status),
              testing::HasSubstr("/dev/nbd0: 300 pages lost (2 with wrong bytes), last at 2023-"));
}

TEST(StatusTable, ShowsWhereThePagesAreAndWhoHasTheVram) {
  auto away = segment("/dev/nbd0", 4096, 5, "GPU-aaaaaaaa-1111");
  away.place = "host memory";
  auto lent = segment("", 0, 5, "GPU-aaaaaaaa-1111");
  lent.state = control::kLentState;
  auto here = segment("/dev/nbd2", 0, 5, "GPU-aaaaaaaa-1111");
  here.place = "vram";
  auto status = status_of({away, lent, here});
  status.lent_bytes = 2048 * kMiB;
  status.loans = {
      {.bytes = std::nullopt, .is_held = true, .purpose = "game", .since = 1700000000},
      {.bytes = 1024 * kMiB, .is_held = false, .purpose = "vramswap lend", .since = 1700000000}};
  EXPECT_THAT(status_table(status),
              testing::MatchesRegex("NAME      SIZE USED PRIO STORE       STATE\n"
                                    "/dev/nbd0   1G   4K    5 host memory active\n"
                                    "-           1G   0B    5 NVIDIA H200 lent\n"
                                    "/dev/nbd2   1G   0B    5 NVIDIA H200 active\n"
                                    "total       3G   4K\n"
                                    "2G of VRAM are lent\n"
                                    "  all to game since 2023-11-1[0-9:. -]*\n"
                                    "  1G to vramswap lend since 2023-11-1[0-9:. -]*\n"));
  // What has not come back yet.
  status.loans.clear();
  EXPECT_THAT(status_table(status),
              testing::EndsWith("total       3G   4K\n2G of VRAM are lent\n"));
  status.lent_bytes = 0;
  EXPECT_THAT(status_table(status), testing::EndsWith("total       3G   4K\n"));
}

TEST(StatusTable, HostMemoryIsTheRightPlaceForTheRamBackend) {
  auto ram = segment("/dev/nbd0", 0, 5, "");
  ram.backend = Backend::ram;
  ram.store = "ram";
  ram.place = "host memory";
  EXPECT_THAT(status_table(status_of({ram})), testing::HasSubstr(" ram   active\n"));
}

// Any member of lend-group chooses it, and root's terminal shows it.
TEST(StatusTable, APurposeDoesNotControlTheTerminal) {
  auto status = status_of({segment("/dev/nbd0", 0, 5, "GPU-aaaaaaaa-1111")});
  status.loans = {{.purpose = "a\nb\033[2Jc\x7f"
                              "d\xc2\x9b"
                              "e\xc3\xa9\xc2"}};
  EXPECT_THAT(status_table(status), testing::HasSubstr("  all to a?b?[2Jc?d?e\xc3\xa9\xc2 since "));
}

TEST(StatusText, HasTheStatsOfEachWorker) {
  auto status = status_of({segment("/dev/nbd0", 0, 5, "GPU-aaaaaaaa-1111")});
  control::WorkerStatus worker;
  worker.store = "NVIDIA H200";
  worker.pid = 77;
  worker.state = "serving";
  status.workers.assign(3, worker);
  status.workers[0].io = control::IoStats{.errors = 3};
  status.workers[2].pid = 0;
  status.workers[2].state = "dead";
  EXPECT_EQ(status_text(status), status_table(status_of(status.segments)) +
                                     "worker 77 of NVIDIA H200: serving\n" +
                                     totals_text({.errors = 3}) +
                                     "worker 77 of NVIDIA H200: serving\n"
                                     "  no statistics: the worker did not answer\n"
                                     "worker 0 of NVIDIA H200: dead\n");
  // Rates where there are some, also if the last one is silent now.
  const IoRates rates{.errors = 9};
  EXPECT_THAT(status_text(status, {rates, std::nullopt}), testing::HasSubstr(rates_text(rates)));
  EXPECT_THAT(status_text(status, {std::nullopt, rates}),
              testing::HasSubstr(totals_text({.errors = 3})));
  // `up` and `reload` have nothing to tell of that.
  EXPECT_THAT(status_table(status), testing::Not(testing::HasSubstr("stats")));
  EXPECT_THAT(status_table(status), testing::Not(testing::HasSubstr("batch")));
}

TEST(StatusJson, HasTheStatsOfEachWorker) {
  auto status = status_of({segment("/dev/nbd0", 0, 5, "GPU-aaaaaaaa-1111")});
  status.workers.resize(2);
  status.workers[0].io = control::IoStats{.errors = 3};
  status.workers[1].notes = {"it rains"};
  const auto plain = parse_json(status_json(status)).at("workers");
  EXPECT_EQ(plain.at(0).at("io").at("errors"), 3);
  EXPECT_TRUE(plain.at(1).at("io").is_null());
  EXPECT_TRUE(plain.at(0).at("notes").empty());
  EXPECT_EQ(plain.at(1).at("notes").at(0), "it rains");
  EXPECT_FALSE(plain.at(0).contains("rates"));

  const std::string line = status_json_line(status, {IoRates{.errors = 9}, std::nullopt});
  EXPECT_EQ(line.find('\n'), line.size() - 1);
  const auto watched = parse_json(line).at("workers");
  EXPECT_EQ(watched.at(0).at("rates").at("errors"), 9);
  EXPECT_TRUE(watched.at(1).at("rates").is_null());
  EXPECT_EQ(watched.at(0).at("io"), plain.at(0).at("io"));
}

TEST(StatusJson, HasTheLoans) {
  auto status = status_of({segment("/dev/nbd0", 0, 5, "GPU-aaaaaaaa-1111")});
  status.segments[0].place = "host memory";
  status.lent_bytes = 7;
  status.loans = {{.bytes = std::nullopt, .is_held = true, .purpose = "game", .since = 9},
                  {.bytes = 5, .is_held = false, .purpose = "", .since = 8}};
  const auto json = parse_json(status_json(status));
  EXPECT_EQ(json.at("lent_bytes"), 7);
  EXPECT_EQ(json.at("segments").at(0).at("place"), "host memory");
  const auto& loans = json.at("loans");
  ASSERT_EQ(loans.size(), 2U);
  EXPECT_TRUE(loans.at(0).at("bytes").is_null());
  EXPECT_EQ(loans.at(0).at("is_held"), true);
  EXPECT_EQ(loans.at(0).at("purpose"), "game");
  EXPECT_EQ(loans.at(0).at("since"), 9);
  EXPECT_EQ(loans.at(1).at("bytes"), 5);
  EXPECT_EQ(loans.at(1).at("is_held"), false);
}

TEST(StatusJson, HasNumbersAndStableNames) {
  EXPECT_EQ(status_json(status_of({segment("/dev/nbd0", 4096, -2, "GPU-aaaaaaaa-1")})),
            R"({
  "version": 1,
  "daemon": {
    "version": "0.1.0",
    "pid": 42
  },
  "segments": [
    {
      "device": "/dev/nbd0",
      "size_bytes": 1073741824,
      "used_bytes": 4096,
      "priority": -2,
      "backend": "vram",
      "store": "NVIDIA H200",
      "gpu_uuid": "GPU-aaaaaaaa-1",
      "state": "active",
      "generation": 0,
      "lost_pages": 0,
      "corrupt_pages": 0,
      "lost_at": 0,
      "place": null
    }
  ],
  "workers": [],
  "loans": [],
  "lent_bytes": 0,
  "notes": [],
  "total": {
    "size_bytes": 1073741824,
    "used_bytes": 4096
  }
}
)");
}

TEST(StatusJson, AMissingValueIsNull) {
  const auto none = parse_json(status_json(std::nullopt));
  EXPECT_TRUE(none.at("daemon").is_null());
  EXPECT_EQ(none.at("segments"), nlohmann::json::array());
  EXPECT_EQ(none.at("total").at("size_bytes"), 0);
  EXPECT_EQ(none.at("loans"), nlohmann::json::array());
  EXPECT_EQ(none.at("lent_bytes"), 0);
  const auto one = parse_json(status_json(status_of({segment("", 0, 0, "")})));
  EXPECT_TRUE(one.at("segments").at(0).at("device").is_null());
  EXPECT_TRUE(one.at("segments").at(0).at("gpu_uuid").is_null());
}

}  // namespace
}  // namespace vramswap::swapctl
