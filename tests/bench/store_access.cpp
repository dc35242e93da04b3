#include "tests/bench/store_access.hpp"

#include <cstring>
#include <utility>

#include "cuda/context.hpp"
#include "cuda/host_registration.hpp"
#include "cuda/stream.hpp"
#include "daemon/worker/store/ram_store.hpp"
#include "daemon/worker/store/vram_store.hpp"

namespace vramswap::bench {
namespace {

Result<void> checked(const cuda::Result<void>& result) {
  if (!result) return fail(result.error().message());
  return {};
}

class VramQueue final : public CopyQueue {
 public:
  VramQueue(cuda::HostRegistration registration, cuda::Stream stream)
      : registration_(std::move(registration)), stream_(std::move(stream)) {}

  Result<void> to_host(std::byte* host, std::uint64_t address, std::size_t bytes) override {
    return checked(stream_.copy_to_host(host, address, bytes));
  }
  Result<void> from_host(const std::byte* host, std::uint64_t address, std::size_t bytes) override {
    return checked(stream_.copy_from_host(address, host, bytes));
  }
  Result<void> wait() override { return checked(stream_.synchronize()); }

 private:
  cuda::HostRegistration registration_;
  cuda::Stream stream_;
};

class VramAccess final : public StoreAccess {
 public:
  VramAccess(std::unique_ptr<ContextRoom> room, std::unique_ptr<StoreDevice> device,
             cuda::Context context)
      : room_(std::move(room)), device_(std::move(device)), context_(std::move(context)) {}

  StoreDevice& device() override { return *device_; }

  Result<std::unique_ptr<CopyQueue>> make_queue(std::span<std::byte> host) override {
    if (auto current = checked(context_.make_current()); !current) {
      return current.error();
    }
    auto registration = cuda::HostRegistration::create(context_, host);
    if (!registration) return fail(registration.error().message());
    auto stream = cuda::Stream::create(context_);
    if (!stream) return fail(stream.error().message());
    return std::make_unique<VramQueue>(*std::move(registration), *std::move(stream));
  }

 private:
  std::unique_ptr<ContextRoom> room_;
  std::unique_ptr<StoreDevice> device_;
  cuda::Context context_;  // the same one: a device's primary context is one a process
};

class RamQueue final : public CopyQueue {
 public:
  Result<void> to_host(std::byte* host, std::uint64_t address, std::size_t bytes) override {
    std::memcpy(host, reinterpret_cast<const void*>(address), bytes);
    return {};
  }
  Result<void> from_host(const std::byte* host, std::uint64_t address, std::size_t bytes) override {
    std::memcpy(reinterpret_cast<void*>(address), host, bytes);
    return {};
  }
  Result<void> wait() override { return {}; }
};

class RamAccess final : public StoreAccess {
 public:
  StoreDevice& device() override { return *device_; }
  Result<std::unique_ptr<CopyQueue>> make_queue(std::span<std::byte>) override {
    return std::make_unique<RamQueue>();
  }

 private:
  std::unique_ptr<StoreDevice> device_ = make_ram_device();
};

}  // namespace

Result<std::unique_ptr<StoreAccess>> open_vram(const std::string& gpu) {
  DriverFiles files;
  auto room = std::make_unique<ContextRoom>();
  auto device = make_vram_device(gpu, files, HostMemory::swappable, *room);
  if (!device) return device.error();
  const auto driver = cuda::Driver::load();
  if (!driver) return fail(driver.error().message());
  const auto info = cuda::select_device(*driver, gpu.empty() ? "0" : gpu);
  if (!info) return fail(info.error().message());
  auto context = cuda::Context::create(*driver, *info);
  if (!context) return fail(context.error().message());
  return std::make_unique<VramAccess>(std::move(room), *std::move(device), *std::move(context));
}

Result<std::unique_ptr<StoreAccess>> open_ram() {
  return std::make_unique<RamAccess>();
}

}  // namespace vramswap::bench
