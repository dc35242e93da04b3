#include "swapctl/bench/run_tests.hpp"

#include <cerrno>
#include <utility>

namespace vramswap::swapctl {
namespace {

template <class T>
Result<void> keep(std::optional<T>& where, const Result<T>& measured) {
  if (!measured) return measured.error();
  where = *measured;
  return {};
}

Result<void> read_tests(const DirectFile& file, const TestRun& run, Measured& row) {
  const auto& [plan, environment, on_target, observer] = run;
  if (auto kept =
          keep(row.sequential_read, measure_sequential(file, Direction::read, plan, observer));
      !kept) {
    return kept;
  }
  if (auto kept = keep(row.random_read, measure_random(file, Direction::read, plan, observer));
      !kept) {
    return kept;
  }
  return keep(row.single_read, measure_single_reads(file, plan, observer));
}

Result<void> write_tests(const DirectFile& file, const TestRun& run, Measured& row) {
  const auto& [plan, environment, on_target, observer] = run;
  if (auto kept =
          keep(row.sequential_write, measure_sequential(file, Direction::write, plan, observer));
      !kept) {
    return kept;
  }
  return keep(row.random_write, measure_random(file, Direction::write, plan, observer));
}

Result<Measured> row_of(Measured row, const Result<void>& tested) {
  if (!tested && tested.error().code == EINTR) return tested.error();
  if (!tested) row.problem = tested.error().message;
  return row;
}

}  // namespace

Result<Measured> test_target(const Target& target, const TestRun& run) {
  run.on_target(target.name);
  Measured row{.target = target};
  const auto file = DirectFile::open_for_reading(target.name, target.size_bytes);
  if (!file) return row_of(std::move(row), std::unexpected(file.error()));
  const auto tested = read_tests(*file, run, row);
  return row_of(std::move(row), tested);
}

Result<Measured> test_scratch(const control::SegmentStatus& segment, const TestRun& run) {
  run.on_target(kScratchName);
  Measured row{.target = {.name = kScratchName,
                          .kind = segment.store,
                          .size_bytes = segment.size_bytes,
                          .used_bytes = 0}};
  const auto file =
      DirectFile::open_scratch(segment.device, segment.size_bytes, run.environment.swaps_path,
                               run.environment.block_directory);
  if (!file) return row_of(std::move(row), std::unexpected(file.error()));
  // Writes first, because a page that was never written is answered without reading the store.
  auto tested = write_tests(*file, run, row);
  if (tested) tested = read_tests(*file, run, row);
  return row_of(std::move(row), tested);
}

}  // namespace vramswap::swapctl
