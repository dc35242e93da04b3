// A histogram of latencies in buckets of equal relative width: hours of load take no more memory.
#pragma once

#include <algorithm>
#include <bit>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace vramswap {

class LatencyHistogram {
 private:
  static constexpr unsigned kStepBits = 4;  // 16 buckets from a power of two to the next
  static constexpr std::uint64_t kSteps = 1 << kStepBits;
  static constexpr unsigned kMaxBits = 40;  // 18 minutes; longer latencies share the last bucket

 public:
  static constexpr std::size_t kBuckets = (kMaxBits - kStepBits + 1) * kSteps;

  static std::size_t bucket_of(std::chrono::nanoseconds latency) {
    const std::uint64_t value = to_count(latency);
    if (value < kSteps) return value;
    const auto shift = static_cast<unsigned>(std::bit_width(value)) - 1 - kStepBits;
    return std::min<std::size_t>((shift + 1) * kSteps + ((value >> shift) - kSteps), kBuckets - 1);
  }

  // The longest latency that the bucket counts, in nanoseconds.
  static std::uint64_t upper_bound(std::size_t bucket) {
    if (bucket < kSteps) return bucket;
    if (bucket == kBuckets - 1) return ~std::uint64_t{0};
    const auto shift = bucket / kSteps - 1;
    return ((bucket % kSteps + kSteps + 1) << shift) - 1;
  }

  void record(std::chrono::nanoseconds latency) {
    add(bucket_of(latency), 1);
    raise_max(latency);
  }
  // `bucket` is below kBuckets.
  void add(std::size_t bucket, std::uint64_t count) {
    if (count == 0) return;
    buckets_.resize(kBuckets);
    buckets_[bucket] += count;
    count_ += count;
  }
  void raise_max(std::chrono::nanoseconds latency) { max_ = std::max(max_, to_count(latency)); }
  void add(const LatencyHistogram& other) {
    for (std::size_t i = 0; i < other.buckets_.size(); ++i) add(i, other.buckets_[i]);
    max_ = std::max(max_, other.max_);
  }

  // The latencies recorded after `earlier`, an old copy of this histogram. Their max is at most
  // 1/16 too high.
  LatencyHistogram since(const LatencyHistogram& earlier) const {
    LatencyHistogram later;
    for (std::size_t i = 0; i < buckets_.size(); ++i) {
      const std::uint64_t count = buckets_[i] - std::min(buckets_[i], earlier.count(i));
      if (count == 0) continue;
      later.add(i, count);
      later.max_ = std::min(upper_bound(i), max_);
    }
    return later;
  }

  // The latency below which `share` (0..1) of all are, at most 1/16 too high; 0 if there are none.
  std::chrono::nanoseconds percentile(double share) const {
    const auto wanted = static_cast<std::uint64_t>(share * static_cast<double>(count_));
    std::uint64_t seen = 0;
    for (std::size_t i = 0; i < buckets_.size(); ++i) {
      seen += buckets_[i];
      if (seen > wanted) return std::chrono::nanoseconds(std::min(upper_bound(i), max_));
    }
    return std::chrono::nanoseconds(max_);
  }
  std::chrono::nanoseconds max() const { return std::chrono::nanoseconds(max_); }
  std::uint64_t count() const { return count_; }
  std::uint64_t count(std::size_t bucket) const { return buckets_.empty() ? 0 : buckets_[bucket]; }

  bool operator==(const LatencyHistogram&) const = default;

 private:
  static std::uint64_t to_count(std::chrono::nanoseconds latency) {
    return static_cast<std::uint64_t>(std::max<std::int64_t>(latency.count(), 0));
  }

  std::vector<std::uint64_t> buckets_;  // kBuckets, or none before the first latency
  std::uint64_t count_ = 0;
  std::uint64_t max_ = 0;
};

}  // namespace vramswap
