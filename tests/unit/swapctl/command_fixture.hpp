// Runs commands against a directory of the test's own: config files, control socket, no daemon.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sstream>
#include <string>
#include <vector>

#include "swapctl/bench/bench.hpp"
#include "swapctl/doctor/doctor.hpp"
#include "swapctl/run.hpp"
#include "tests/support/temp_directory.hpp"
#include "tests/unit/swapctl/fake_daemon.hpp"

namespace vramswap::swapctl {

struct CommandTest : testing::Test {
  int run(const std::vector<const char*>& arguments) {
    out.str("");
    err.str("");
    return swapctl::run(arguments, commands(), environment);
  }

  // As in main.cpp.
  static std::vector<Command> commands() {
    auto all = swap_commands();
    all.push_back(bench_command());
    all.push_back(doctor_command());
    return all;
  }

  static control::Status one_segment() {
    return {.version = "0.1.0",
            .supervisor_pid = 42,
            .segments = {{.device = "/dev/nbd0",
                          .size_bytes = 1ULL << 30,
                          .used_bytes = 512ULL << 20,
                          .priority = 1500,
                          .backend = control::Backend::vram,
                          .store = "NVIDIA H200",
                          .gpu_uuid = "GPU-11111111-2222",
                          .state = "active"}}};
  }

  TempDirectory directory;
  std::ostringstream out;
  std::ostringstream err;
  Environment environment{
      .out = out,
      .err = err,
      .is_root = true,
      .socket = directory / "control",
      .config = {.file = directory / "vramswap.conf", .directory = directory / "vramswap.conf.d"},
      .start_daemon = [](const auto&) -> Result<ControlClient> {
        return fail("no daemon in this test");
      }};
};

inline constexpr const char* kOneSegmentTable =
    "NAME      SIZE USED PRIO STORE       STATE\n"
    "/dev/nbd0   1G 512M 1500 NVIDIA H200 active\n"
    "total       1G 512M\n";

}  // namespace vramswap::swapctl
