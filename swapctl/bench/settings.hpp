// The options of `bench`.
#pragma once

#include <boost/program_options/options_description.hpp>
#include <cstdint>
#include <string>
#include <vector>

#include "daemon/control/protocol.hpp"
#include "swapctl/bench/measure.hpp"

namespace vramswap::swapctl {

struct BenchSettings {
  std::uint64_t size_bytes = 256ULL << 20;  // of the scratch segment on each GPU
  TestPlan plan;
  bool json = false;
  std::string plot;                  // the file; empty: none
  std::vector<std::string> targets;  // empty: all
};

// `settings` must outlive the returned object.
boost::program_options::options_description bench_options(BenchSettings& settings);
// The options of `up` that say where a segment is and how it is served.
boost::program_options::options_description scratch_options(
    const boost::program_options::options_description& up);

// The request that makes the daemon create a scratch segment on each GPU of `up`.
control::UpRequest scratch_request(control::UpRequest up, std::uint64_t size_bytes);

}  // namespace vramswap::swapctl
