// A server, the load that it gets, and what that costs. Every byte that it returns is checked.
#pragma once

#include <chrono>
#include <memory>
#include <span>
#include <string>

#include "tests/bench/cell.hpp"
#include "tests/bench/server.hpp"
#include "tests/load/load_generator.hpp"

namespace vramswap::bench {

struct Duration {
  std::chrono::milliseconds warm_up{100};  // not counted
  std::chrono::milliseconds measured{400};
};

struct Measurement {
  double operations_per_second;
  double bytes_per_second;
  // Of the reads, where there are any.
  double p50_us;
  double p99_us;
  // CPU time of this process without the threads of the load, for each 4 KiB moved.
  double cpu_us_per_page;
  // CPU time of the load for each request: no server can be faster.
  double load_us_per_request;

  double value(Metric metric) const;
};

class MeasuredServer {
 public:
  // Servers with different `id`s hold different bytes.
  MeasuredServer(std::string name, std::unique_ptr<Server> server, std::uint32_t id,
                 std::uint64_t segment_bytes)
      : name_(std::move(name)), server_(std::move(server)), load_(id, segment_bytes) {}

  const std::string& name() const { return name_; }

  // Errors of all three: a wrong word, a failed reply, a connection that ended, nothing served.
  Result<void> write_all();
  Result<Measurement> measure(const Cell& cell, const Duration& duration);
  Result<void> verify();

 private:
  Result<void> check(const std::string& what, const load::LoadResult& result) const;
  load::LoadResult run(std::span<const int> sockets, std::chrono::milliseconds duration);
  template <class Work>
  Result<void> with_connections(unsigned count, const std::string& what, Work work);

  std::string name_;
  std::unique_ptr<Server> server_;
  load::LoadGenerator load_;
};

}  // namespace vramswap::bench
