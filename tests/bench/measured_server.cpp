#include "tests/bench/measured_server.hpp"

#include <fmt/format.h>

#include <ctime>
#include <span>

#include "daemon/base/page_size.hpp"

namespace vramswap::bench {
namespace {

std::chrono::nanoseconds process_cpu_time() {
  timespec time{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return std::chrono::seconds(time.tv_sec) + std::chrono::nanoseconds(time.tv_nsec);
}

double microseconds(std::chrono::nanoseconds value) {
  return std::chrono::duration<double, std::micro>(value).count();
}

}  // namespace

double Measurement::value(Metric metric) const {
  switch (metric) {
    case Metric::throughput:
      return operations_per_second;
    case Metric::p50:
      return p50_us;
    case Metric::p99:
      return p99_us;
    case Metric::cpu_per_page:
      return cpu_us_per_page;
  }
  return 0;
}

Result<void> MeasuredServer::check(const std::string& what, const load::LoadResult& result) const {
  const bool good = result.operations > 0 && result.wrong_words == 0 &&
                    result.failed_replies == 0 && result.ended_connections == 0;
  if (!good) return fail(fmt::format("{}: {}: {}", name_, what, result.summary()));
  return {};
}

// `work` gets the sockets and returns whether all was well.
template <class Work>
Result<void> MeasuredServer::with_connections(unsigned count, const std::string& what, Work work) {
  auto sockets = server_->connect(count);
  if (!sockets) return fail(fmt::format("{}: {}: {}", name_, what, sockets.error().message));
  std::vector<int> fds;
  for (const auto& socket : *sockets) fds.push_back(socket.get());
  Result<void> worked = work(std::span<const int>(fds));
  Result<void> ended = server_->disconnect(*std::move(sockets));
  if (!ended) return fail(fmt::format("{}: {}: {}", name_, what, ended.error().message));
  return worked;
}

Result<void> MeasuredServer::write_all() {
  return with_connections(1, "writing every page", [&](std::span<const int> sockets) {
    return check("writing every page", load_.write_all(sockets));
  });
}

Result<void> MeasuredServer::verify() {
  return with_connections(1, "reading every page", [&](std::span<const int> sockets) {
    return check("reading every page", load_.verify(sockets));
  });
}

// On a machine that is busy with other things, its threads may start when the time is over.
load::LoadResult MeasuredServer::run(std::span<const int> sockets,
                                     std::chrono::milliseconds duration) {
  constexpr int kTries = 10;
  load::LoadResult result;
  for (int i = 0; i < kTries && result.operations == 0; ++i) {
    result = load_.run(sockets, duration);
    if (result.ended_connections > 0) break;
  }
  return result;
}

Result<Measurement> MeasuredServer::measure(const Cell& cell, const Duration& duration) {
  load_.set_options(cell.load);
  Measurement measurement{};
  const auto work = [&](std::span<const int> sockets) -> Result<void> {
    if (duration.warm_up.count() > 0) {
      if (auto warm = check(cell.name, run(sockets, duration.warm_up)); !warm) return warm;
    }
    const auto cpu_before = process_cpu_time();
    const auto result = run(sockets, duration.measured);
    const auto server_cpu = process_cpu_time() - cpu_before - result.cpu_time;
    const double seconds = std::chrono::duration<double>(result.elapsed).count();
    const auto bytes = static_cast<double>(result.read_bytes + result.written_bytes);
    const auto& latency = cell.reads() ? result.read_latency : result.write_latency;
    measurement = {.operations_per_second = static_cast<double>(result.operations) / seconds,
                   .bytes_per_second = bytes / seconds,
                   .p50_us = microseconds(latency.percentile(0.5)),
                   .p99_us = microseconds(latency.percentile(0.99)),
                   .cpu_us_per_page = microseconds(server_cpu) / (bytes / kPageBytes),
                   .load_us_per_request =
                       microseconds(result.cpu_time) / static_cast<double>(result.operations)};
    return check(cell.name, result);
  };
  if (auto done = with_connections(cell.connections, cell.name, work); !done) {
    return done.error();
  }
  return measurement;
}

}  // namespace vramswap::bench
