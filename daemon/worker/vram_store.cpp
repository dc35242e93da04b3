#include "daemon/worker/vram_store.hpp"

#include <cerrno>
#include <filesystem>
#include <utility>
#include <vector>

#include "cuda/context.hpp"
#include "cuda/device.hpp"
#include "cuda/driver.hpp"
#include "cuda/host_registration.hpp"
#include "cuda/stream.hpp"
#include "cuda/vram.hpp"
#include "daemon/system/proc.hpp"

namespace vramswap {
namespace {

std::unexpected<Error> fail_cuda(const cuda::Error& error) {
  return std::unexpected(Error{error.message()});
}

// The driver does not say "there was a reset" (CUDA_ERROR_UNKNOWN was seen), so it is told from
// what passes: a machine without memory, and a context that is broken itself.
Error import_error(const cuda::Error& error) {
  const bool passes =
      error.code == cuda::api::CUDA_ERROR_OUT_OF_MEMORY || cuda::context_is_lost(error.code);
  return {error.message(), passes ? 0 : ESTALE};
}

// CUDA tells of a display only where the driver limits the run time of kernels, which Wayland
// desktops do not ask for; the kernel's list of connectors knows them too.
bool has_connected_display(const std::string& drm_directory, const std::string& pci_address) {
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(drm_directory, error)) {
    const auto device = std::filesystem::canonical(entry.path(), error);
    if (error || device.native().find(pci_address) == std::string::npos) continue;
    const auto status = read_file(entry.path() / "status");
    if (status && *status == "connected\n") return true;
  }
  return false;
}

class VramStore final : public Store {
 public:
  explicit VramStore(cuda::VramMemory memory) : memory_(std::move(memory)) {}

  std::uint64_t address() const override { return memory_.device_pointer(); }
  std::uint64_t size_bytes() const override { return memory_.size_bytes(); }

  Result<UniqueFd> export_fd() override {
    const auto fd = memory_.export_fd();
    if (!fd) return fail_cuda(fd.error());
    return UniqueFd(*fd);
  }

  Result<void> scrub() override {
    if (const auto result = memory_.scrub(); !result) return fail_cuda(result.error());
    return {};
  }

 private:
  cuda::VramMemory memory_;
};

// One stream, so the copies of a batch run in order and one wait is enough for all of them.
class VramCopier final : public Copier {
 public:
  VramCopier(cuda::HostRegistration registration, cuda::Stream stream)
      : registration_(std::move(registration)), stream_(std::move(stream)) {}

  Result<void> to_host(std::span<const Copy> batch) override {
    for (const Copy& copy : batch) {
      const auto queued = stream_.copy_to_host(copy.host, copy.address, copy.bytes);
      if (!queued) return fail_cuda(queued.error());
    }
    return synchronize();
  }

  Result<void> from_host(std::span<const Copy> batch) override {
    for (const Copy& copy : batch) {
      const auto queued = stream_.copy_from_host(copy.address, copy.host, copy.bytes);
      if (!queued) return fail_cuda(queued.error());
    }
    return synchronize();
  }

 private:
  Result<void> synchronize() {
    if (const auto done = stream_.synchronize(); !done) return fail_cuda(done.error());
    return {};
  }

  cuda::HostRegistration registration_;
  cuda::Stream stream_;
};

class VramDevice final : public StoreDevice {
 public:
  VramDevice(cuda::Context context, std::string drm_directory)
      : context_(std::move(context)), drm_directory_(std::move(drm_directory)) {}

  Result<StoreDeviceInfo> info() override {
    const auto memory = context_.memory_info();
    if (!memory) return fail_cuda(memory.error());
    const auto granularity = cuda::VramMemory::granularity(context_);
    if (!granularity) return fail_cuda(granularity.error());
    const cuda::DeviceInfo& device = context_.device();
    return StoreDeviceInfo{
        .name = device.name,
        .uuid = device.uuid,
        .pci_address = device.pci_address,
        .free_bytes = memory->free_bytes,
        .total_bytes = memory->total_bytes,
        .granularity_bytes = *granularity,
        .drives_display =
            device.drives_display || has_connected_display(drm_directory_, device.pci_address)};
  }

  Result<std::unique_ptr<Store>> create(std::uint64_t size_bytes) override {
    auto memory = cuda::VramMemory::create(context_, size_bytes);
    if (!memory) return fail_cuda(memory.error());
    auto store = std::make_unique<VramStore>(*std::move(memory));
    if (auto scrubbed = store->scrub(); !scrubbed) return std::unexpected(scrubbed.error());
    return store;
  }

  Result<std::unique_ptr<Store>> import(UniqueFd fd, std::uint64_t size_bytes) override {
    auto memory = cuda::VramMemory::import(context_, fd.get(), size_bytes);
    if (!memory) return std::unexpected(import_error(memory.error()));
    return std::make_unique<VramStore>(*std::move(memory));
  }

  Result<std::unique_ptr<Copier>> make_copier(std::span<std::byte> host) override {
    if (const auto current = context_.make_current(); !current) return fail_cuda(current.error());
    auto registration = cuda::HostRegistration::create(context_, host);
    if (!registration) return fail_cuda(registration.error());
    auto stream = cuda::Stream::create(context_);
    if (!stream) return fail_cuda(stream.error());
    return std::make_unique<VramCopier>(*std::move(registration), *std::move(stream));
  }

 private:
  cuda::Context context_;
  std::string drm_directory_;
};

}  // namespace

Result<std::unique_ptr<StoreDevice>> make_vram_device(const std::string& selector,
                                                      const std::string& drm_directory) {
  const auto driver = cuda::Driver::load();
  if (!driver) return fail_cuda(driver.error());
  const auto device = cuda::select_device(*driver, selector.empty() ? "0" : selector);
  if (!device) return fail_cuda(device.error());
  if (!device->supports_fd_export) {
    return fail(device->label() + ": cannot hold memory by a file descriptor, which swap needs");
  }
  auto context = cuda::Context::create(*driver, *device);
  if (!context) return fail_cuda(context.error());
  return std::make_unique<VramDevice>(*std::move(context), drm_directory);
}

}  // namespace vramswap
