#include "daemon/handover/pool_description.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace vramswap {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

PoolDescription some_description() {
  PoolDescription description{
      .sequence = 1ULL << 40,
      .pool_id = 0xfedcba98,
      .request = {.size = control::Percent{80},
                  .priority = -1,
                  .gpus = {"0", "GPU-\"2\""},
                  .segment_size_bytes = 1ULL << 28,
                  .connections = 0,
                  .reconnect_timeout = std::chrono::seconds(30),
                  .doze_after = std::chrono::seconds(0),
                  .hang_timeout = std::chrono::seconds(7)},
      .connections = 4,
      .devices = {},
      .segments = {},
      .loans = {{.bytes = 5ULL << 30, .is_held = true, .purpose = "a game", .since = 1'900'000'001},
                {.purpose = "vramswap lend"}}};
  for (unsigned i = 0; i < 2; ++i) {
    description.devices.push_back({.start = {.backend = control::Backend::vram,
                                             .gpu = fmt::format("GPU-{}", i),
                                             .io_threads = 4,
                                             .rendezvous = fmt::format("/run/worker-{}", i),
                                             .doze_after = std::chrono::seconds(60 + i),
                                             .hang_timeout = std::chrono::seconds(10 + i)},
                                   .info = {.name = "NVIDIA H200",
                                            .uuid = fmt::format("GPU-{}-2222", i),
                                            .free_bytes = 1ULL << 36,
                                            .total_bytes = 1ULL << 37,
                                            .granularity_bytes = 2 << 20,
                                            .drives_display = i == 1},
                                   .worker_bytes = 300ULL << 20,
                                   .restarts = 5 + i});
  }
  description.segments = {{.id = 0,
                           .device = 0,
                           .size_bytes = 1ULL << 35,
                           .priority = -2,
                           .generation = 0,
                           .lost_pages = 0,
                           .lost_at = 0},
                          {.id = 3,
                           .device = 1,
                           .size_bytes = 1ULL << 34,
                           .priority = 99,
                           .generation = 2,
                           .lost_pages = 1ULL << 33,
                           .corrupt_pages = 1ULL << 34,
                           .lost_at = 1'900'000'000,
                           .nbd_index = 8,
                           .request_limit = 1 << 20,
                           .is_lent = true}};
  return description;
}

std::string replaced(std::string text, std::string_view from, std::string_view to) {
  const auto at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from << " in " << text;
  return at == std::string::npos ? text : text.replace(at, from.size(), to);
}

std::string error_of(const std::string& text) {
  const auto description = decode_pool_description(text);
  EXPECT_FALSE(description) << text;
  return description ? "" : description.error().message;
}

TEST(PoolDescription, ReadsBack) {
  const auto back = decode_pool_description(encode(some_description()));
  ASSERT_TRUE(back) << back.error().message;
  EXPECT_EQ(back->sequence, 1ULL << 40);
  EXPECT_EQ(back->pool_id, 0xfedcba98);
  EXPECT_EQ(back->connections, 4U);
  EXPECT_EQ(back->request.size, control::Size{control::Percent{80}});
  EXPECT_EQ(back->request.priority, -1);
  EXPECT_EQ(back->request.gpus, (std::vector<std::string>{"0", "GPU-\"2\""}));
  EXPECT_EQ(back->request.segment_size_bytes, 1ULL << 28);
  EXPECT_EQ(back->request.reconnect_timeout, std::chrono::seconds(30));
  EXPECT_EQ(back->request.doze_after, std::chrono::seconds(0));
  EXPECT_EQ(back->request.hang_timeout, std::chrono::seconds(7));
  ASSERT_EQ(back->devices.size(), 2U);
  const auto& device = back->devices[1];
  EXPECT_EQ(device.start.backend, control::Backend::vram);
  EXPECT_EQ(device.start.gpu, "GPU-1");
  EXPECT_EQ(device.start.io_threads, 4U);
  EXPECT_EQ(device.start.rendezvous, "/run/worker-1");
  EXPECT_EQ(device.start.doze_after, std::chrono::seconds(61));
  EXPECT_EQ(device.start.hang_timeout, std::chrono::seconds(11));
  EXPECT_EQ(device.info.uuid, "GPU-1-2222");
  EXPECT_TRUE(device.info.drives_display);
  EXPECT_EQ(device.worker_bytes, 300ULL << 20);
  EXPECT_EQ(device.restarts, 6U);
  ASSERT_EQ(back->segments.size(), 2U);
  EXPECT_EQ(back->segments[0].priority, -2);
  const auto& segment = back->segments[1];
  EXPECT_EQ(segment.id, 3U);
  EXPECT_EQ(segment.device, 1U);
  EXPECT_EQ(segment.size_bytes, 1ULL << 34);
  EXPECT_EQ(segment.priority, 99);
  EXPECT_EQ(segment.generation, 2U);
  EXPECT_EQ(segment.lost_pages, 1ULL << 33);
  EXPECT_EQ(segment.corrupt_pages, 1ULL << 34);
  EXPECT_EQ(segment.lost_at, 1'900'000'000);
  EXPECT_EQ(segment.nbd_index, 8);
  EXPECT_EQ(segment.request_limit, 1U << 20);
  // And the rest of it.
  EXPECT_EQ(encode(*back), encode(some_description()));
}

TEST(PoolDescription, AnotherVersionIsNamedWithAdvice) {
  const std::string version = fmt::format("\"version\":{}", messages::kVersion);
  const std::string other = fmt::format("\"version\":{}", messages::kVersion + 1);
  const auto error = error_of(replaced(encode(some_description()), version, other));
  EXPECT_THAT(error, HasSubstr(fmt::format("({}, this is {})", messages::kVersion + 1,
                                           messages::kVersion)));
  EXPECT_THAT(error, HasSubstr("take it down with that version"));
  // Checked first: the rest of the text may mean anything.
  EXPECT_THAT(error_of("{" + other + "}"), HasSubstr("another version"));
}

TEST(PoolDescription, ADeviceThatIsNotThereIsAnError) {
  auto description = some_description();
  description.segments[1].device = 2;
  EXPECT_THAT(error_of(encode(description)), StartsWith("malformed description of a pool"));
  description.segments[1].device = ~0U;
  EXPECT_THAT(error_of(encode(description)), StartsWith("malformed description of a pool"));
}

TEST(PoolDescription, AFaultyUpRequestIsAnError) {
  const std::string good = encode(some_description());
  EXPECT_THAT(error_of(replaced(good, R"(\"priority\":-1)", R"(\"priority\":-7)")),
              HasSubstr("priority"));
  EXPECT_THAT(error_of(replaced(good, R"(\"type\":\"up\")", R"(\"type\":\"status\")")),
              StartsWith("malformed description of a pool"));
}

TEST(PoolDescription, GarbageIsAnErrorNotAnException) {
  const std::string good = encode(some_description());
  for (const std::string& text :
       {std::string(), std::string("{"), std::string("[]"), std::string("7"), std::string("{}"),
        std::string("nbd0"), good.substr(0, good.size() / 2),
        replaced(good, "\"sequence\":", "\"sequenz\":"),
        replaced(good, "\"devices\":[", "\"devices\":[7,"),
        replaced(good, "\"lost_pages\":0", "\"lost_pages\":\"0\"")}) {
    EXPECT_THAT(error_of(text), StartsWith("malformed description of a pool")) << text;
  }
}

}  // namespace
}  // namespace vramswap
