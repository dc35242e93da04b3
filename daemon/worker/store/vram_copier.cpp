#include "daemon/worker/store/vram_copier.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <utility>

#include "cuda/host_registration.hpp"
#include "cuda/stream.hpp"
#include "cuda/wait.hpp"
#include "daemon/worker/io/transmission.hpp"

namespace vramswap {
namespace {

static_assert(kPageBytes == cuda::PageKernel::kPageBytes);

constexpr std::size_t kDirections = 2;
// Completion flags: the GPU writes one word when a page is done.
constexpr std::size_t kFlagBytes =
    kDirections * Copier::kSlots * Copier::kMaxPages * sizeof(std::uint32_t);

constexpr std::size_t kLongBatchBytes = 512 << 10;
constexpr std::size_t kLongCopyBytes = 64 << 10;

// How long to sleep over the flags before asking the driver at each look, which also reports
// errors. Longer than any batch on a busy card, because a thread that asks holds the driver's lock,
// and all other threads wait for it. (With 0.2 ms, 8 threads that read 1 MiB each had a quarter of
// the throughput.)
constexpr std::chrono::milliseconds kFlagWait{20};

struct FreeFlags {
  void operator()(void* memory) const { std::free(memory); }
};

class VramCopier final : public Copier {
 public:
  struct Parts {
    cuda::HostRegistration host;
    std::unique_ptr<std::uint32_t[], FreeFlags> flags;
    cuda::HostRegistration flags_registration;
    std::array<cuda::Stream, kDirections> streams;
  };

  VramCopier(Parts parts, VramCopierShared& shared, std::span<std::byte> host)
      : parts_(std::move(parts)), shared_(shared), host_(host) {}

  Result<void> begin(Direction direction, unsigned slot, std::span<const Copy> batch) override {
    Pending& pending = pending_of(direction, slot);
    if (!std::exchange(pending.is_under_way, true) && under_way_++ == 0) ++shared_.busy;
    // Never 0, the initial value of the flags.
    if (++last_tag_ == 0) ++last_tag_;
    pending.tag = last_tag_;
    pending.flag_count = 0;
    pending.copies = batch.size();
    // For a single copy, the copy engine is faster: it needs 6.6 us for a page and 6.9 us for 8,
    // the page kernel 7.3 us and 7.7 us. If several threads copy, the driver's lock decides, which
    // every call takes. The page kernel needs one call less (8 threads, a page each: 12 us instead
    // of 25 us).
    const bool alone = shared_.busy.load(std::memory_order_relaxed) == 1;
    if (shared_.kernel && is_long(batch)) return copy_each(direction, slot, batch);
    if (shared_.kernel && (batch.size() > 1 || !alone) && is_aligned(batch)) {
      return launch(direction, slot, batch);
    }
    if (auto result = copy(direction, batch); !result) return result;
    if (!alone || !stream(direction).has_write_value()) return {};
    std::fill_n(pending.flags_of_copy.begin(), batch.size(), std::uint16_t{1});
    return mark(direction, slot);
  }

  Result<void> wait(Direction direction, unsigned slot, std::size_t copies) override {
    Pending& pending = pending_of(direction, slot);
    const bool all = copies == pending.copies;
    auto result = wait_for_flags(direction, slot, copies);
    // Once, however often the caller waits for all of it.
    const bool is_over = all && std::exchange(pending.is_under_way, false);
    if (is_over && --under_way_ == 0) --shared_.busy;
    return result;
  }

 private:
  struct Pending {
    bool is_under_way = false;
    std::uint32_t tag = 0;
    std::size_t flag_count = 0;  // 0: only the driver knows when the batch is done
    std::size_t copies = 0;
    // For each copy: how many flags must be set for it and all copies before it to be done.
    std::array<std::uint16_t, kMaxPages> flags_of_copy{};
  };

  static Result<void> checked(const cuda::Result<void>& result) {
    if (!result) return result.error();
    return {};
  }

  static std::size_t index(Direction direction) { return direction == Direction::to_host ? 0 : 1; }
  static std::size_t first_flag(Direction direction, unsigned slot) {
    return (index(direction) * kSlots + slot) * kMaxPages;
  }
  cuda::Stream& stream(Direction direction) { return parts_.streams[index(direction)]; }
  Pending& pending_of(Direction direction, unsigned slot) {
    return pending_[index(direction)][slot];
  }
  cuda::api::CUdeviceptr flag_address(Direction direction, unsigned slot) const {
    return parts_.flags_registration.device_pointer() +
           first_flag(direction, slot) * sizeof(std::uint32_t);
  }

  Result<void> launch(Direction direction, unsigned slot, std::span<const Copy> batch) {
    Pending& pending = pending_of(direction, slot);
    // All copies concern one store, so page numbers relative to the first copy are enough.
    const cuda::api::CUdeviceptr device = batch.front().address;
    std::size_t count = 0;
    std::size_t index_in_batch = 0;
    const auto flush = [&]() -> Result<void> {
      cuda::PageKernel::Batch launch{
          .device = device,
          .host = parts_.host.device_pointer(),
          .flags = flag_address(direction, slot) + pending.flag_count * sizeof(std::uint32_t),
          .tag = pending.tag,
          .pages = pages_,
          .count = count};
      pending.flag_count += std::exchange(count, 0);
      const auto& kernel = *shared_.kernel;
      return checked(direction == Direction::to_host
                         ? kernel.copy_to_host(stream(direction), launch)
                         : kernel.copy_from_host(stream(direction), launch));
    };
    for (const Copy& copy : batch) {
      auto page = static_cast<std::int32_t>(
          (static_cast<std::int64_t>(copy.address) - static_cast<std::int64_t>(device)) /
          kPageBytes);
      auto offset = static_cast<std::uint32_t>(copy.host - host_.data());
      for (std::size_t done = 0; done < copy.bytes; done += kPageBytes) {
        pages_[count++] = {page++, offset};
        offset += kPageBytes;
        if (count < pages_.size()) continue;
        if (auto result = flush(); !result) return result;
      }
      pending.flags_of_copy[index_in_batch++] =
          static_cast<std::uint16_t>(pending.flag_count + count);
    }
    return count > 0 ? flush() : Result<void>{};
  }

  // Many bytes in long copies: the copy engine writes them to host memory faster than the page
  // kernel, and one call per copy is cheap in comparison (8 threads that read 1 MiB each: 22 GB/s
  // against 15 GB/s; 4 threads that read 4 x 128 KiB: 16 GB/s against 18 GB/s).
  bool is_long(std::span<const Copy> batch) {
    std::size_t bytes = 0;
    for (const Copy& copy : batch) bytes += copy.bytes;
    return bytes >= kLongBatchBytes && bytes / batch.size() >= kLongCopyBytes &&
           parts_.streams.front().has_write_value();
  }
  Result<void> copy_each(Direction direction, unsigned slot, std::span<const Copy> batch) {
    Pending& pending = pending_of(direction, slot);
    for (std::size_t i = 0; i < batch.size(); ++i) {
      if (auto result = copy(direction, batch.subspan(i, 1)); !result) return result;
      pending.flags_of_copy[i] = static_cast<std::uint16_t>(i + 1);
      if (auto result = mark(direction, slot); !result) return result;
    }
    return {};
  }

  // Makes the GPU set the next flag when everything queued before is done.
  Result<void> mark(Direction direction, unsigned slot) {
    const std::size_t flag = pending_of(direction, slot).flag_count++;
    return checked(
        stream(direction).write_value(flag_address(direction, slot) + flag * sizeof(std::uint32_t),
                                      pending_of(direction, slot).tag));
  }

  // Whether the page kernel can copy the batch. Only bytes received after a refused WRITE of an odd
  // length are not aligned.
  static bool is_aligned(std::span<const Copy> batch) {
    return std::ranges::all_of(batch, [](const Copy& copy) {
      return reinterpret_cast<std::uintptr_t>(copy.host) % cuda::PageKernel::kHostAlignment == 0;
    });
  }

  // For when the page kernel is missing or gains nothing.
  Result<void> copy(Direction direction, std::span<const Copy> batch) {
    if (batch.size() > 1 && stream(direction).has_batch_copy()) return copy_batch(direction, batch);
    for (const Copy& copy : batch) {
      const auto queued =
          direction == Direction::to_host
              ? stream(direction).copy_to_host(copy.host, copy.address, copy.bytes)
              : stream(direction).copy_from_host(copy.address, copy.host, copy.bytes);
      if (!queued) return queued.error();
    }
    return {};
  }

  // 8 scattered pages took 9.9 us this way, and 21.6 us with one copy call per page.
  Result<void> copy_batch(Direction direction, std::span<const Copy> batch) {
    for (std::size_t i = 0; i < batch.size(); ++i) {
      const auto host =
          parts_.host.device_pointer() + static_cast<std::uint64_t>(batch[i].host - host_.data());
      targets_[i] = direction == Direction::to_host ? host : batch[i].address;
      sources_[i] = direction == Direction::to_host ? batch[i].address : host;
      bytes_[i] = batch[i].bytes;
    }
    return checked(stream(direction).copy_batch(std::span(targets_).first(batch.size()),
                                                std::span(sources_).first(batch.size()),
                                                std::span(bytes_).first(batch.size())));
  }

  Result<void> wait_for_flags(Direction direction, unsigned slot, std::size_t copies) {
    const Pending& pending = pending_of(direction, slot);
    if (pending.flag_count == 0) return checked(stream(direction).synchronize());
    const std::span<std::uint32_t> flags(parts_.flags.get() + first_flag(direction, slot),
                                         pending.flags_of_copy[copies - 1]);
    cuda::Wait wait;
    for (std::uint32_t& flag : flags) {
      while (!is_set(flag, pending.tag)) {
        wait.pause();
        if (wait.slept() < kFlagWait) continue;
        const auto done = stream(direction).is_done();
        if (!done) return done.error();
        if (*done && !is_set(flag, pending.tag)) {
          return fail("GPU: a batch has ended, but not every page was reported as done");
        }
      }
    }
    return {};
  }

  // Acquires: the copied bytes may be read only after this.
  static bool is_set(std::uint32_t& flag, std::uint32_t tag) {
    return std::atomic_ref(flag).load(std::memory_order_acquire) == tag;
  }

  Parts parts_;
  VramCopierShared& shared_;
  const std::span<std::byte> host_;
  unsigned under_way_ = 0;
  std::uint32_t last_tag_ = 0;
  Pending pending_[kDirections][kSlots] = {};
  // The arguments of one call to the driver.
  std::array<cuda::PageKernel::Page, cuda::PageKernel::kMaxPages> pages_{};
  std::array<cuda::api::CUdeviceptr, kMaxPages> targets_{};
  std::array<cuda::api::CUdeviceptr, kMaxPages> sources_{};
  std::array<std::size_t, kMaxPages> bytes_{};
};

}  // namespace

Result<std::unique_ptr<Copier>> make_vram_copier(const cuda::Context& context,
                                                 VramCopierShared& shared,
                                                 std::span<std::byte> host) {
  auto registration = cuda::HostRegistration::create(context, host);
  if (!registration) return registration.error();
  std::unique_ptr<std::uint32_t[], FreeFlags> flags(
      static_cast<std::uint32_t*>(std::aligned_alloc(kPageBytes, kFlagBytes)));
  if (!flags) return fail_errno("GPU flags", "aligned_alloc", ENOMEM);
  std::fill_n(flags.get(), kFlagBytes / sizeof(std::uint32_t), 0U);
  auto flags_registration = cuda::HostRegistration::create(
      context, std::as_writable_bytes(std::span(flags.get(), kFlagBytes / sizeof(std::uint32_t))));
  if (!flags_registration) return flags_registration.error();
  // One per direction, so that copies in one direction do not wait for the other.
  auto first = cuda::Stream::create(context);
  if (!first) return first.error();
  auto second = cuda::Stream::create(context);
  if (!second) return second.error();
  return std::make_unique<VramCopier>(VramCopier::Parts{*std::move(registration),
                                                        std::move(flags),
                                                        *std::move(flags_registration),
                                                        {*std::move(first), *std::move(second)}},
                                      shared, host);
}

}  // namespace vramswap
