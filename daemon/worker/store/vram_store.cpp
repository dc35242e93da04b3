#include "daemon/worker/store/vram_store.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <utility>
#include <vector>

#include "cuda/context.hpp"
#include "cuda/device.hpp"
#include "cuda/driver.hpp"
#include "cuda/page_kernel.hpp"
#include "cuda/vram.hpp"
#include "daemon/base/directory.hpp"
#include "daemon/system/log.hpp"
#include "daemon/system/proc.hpp"
#include "daemon/worker/store/vram_copier.hpp"

namespace vramswap {
namespace {

// Whether an import that failed so may succeed later. 999 (UNKNOWN) is not among these: it is what
// the driver says of a descriptor without memory. can_import_fresh_memory() tells that from a
// failure of the driver as a whole.
bool may_pass(const cuda::Error& error) {
  switch (error.code) {
    case cuda::api::CUDA_SUCCESS:  // not an error of the driver
    case cuda::api::CUDA_ERROR_OUT_OF_MEMORY:
    case cuda::api::CUDA_ERROR_DEVICE_UNAVAILABLE:
    case cuda::api::CUDA_ERROR_OPERATING_SYSTEM:
    case cuda::api::CUDA_ERROR_NOT_SUPPORTED:
    case cuda::api::CUDA_ERROR_SYSTEM_NOT_READY:
    case cuda::api::CUDA_ERROR_SYSTEM_DRIVER_MISMATCH:
      return true;
    default:
      return cuda::context_is_lost(error.code);
  }
}

// Whether memory can be allocated, exported and imported at this moment.
bool can_import_fresh_memory(const cuda::Context& context) {
  const auto size_bytes = cuda::VramMemory::granularity(context);
  if (!size_bytes) return false;
  const auto fresh = cuda::VramMemory::create(context, *size_bytes);
  if (!fresh) return false;
  const auto exported = fresh->export_fd();
  if (!exported) return false;
  const UniqueFd fd(*exported);
  return cuda::VramMemory::import(context, fd.get(), *size_bytes).has_value();
}

// CUDA reports a display only if the driver limits the run time of kernels, which it does not under
// Wayland desktops. The Linux kernel's list of connectors shows those displays too.
bool has_connected_display(const std::string& drm_directory, const std::string& pci_address) {
  std::error_code error;
  const auto names = list_directory(drm_directory);
  if (!names) return false;
  for (const std::string& name : *names) {
    const auto connector = std::filesystem::path(drm_directory) / name;
    const auto device = std::filesystem::canonical(connector, error);
    if (error || device.native().find(pci_address) == std::string::npos) continue;
    const auto status = read_file(connector / "status");
    if (status && *status == "connected\n") return true;
  }
  return false;
}

cuda::Result<cuda::Driver> load_driver(DriverFiles& files) {
  if (files.library) {
    return cuda::Driver::load(fmt::format("/proc/self/fd/{}", files.library.get()).c_str());
  }
  auto driver = cuda::Driver::load();
  if (!driver) return driver;
  if (const auto file = driver->open_file()) {
    files.library = UniqueFd(*file);
    files.path = driver->path();
  } else {
    log_error("later workers will load the driver by its name: " + file.error().message());
  }
  return driver;
}

// `compiled` holds the kernel as it was compiled before, or does so afterwards.
cuda::Result<cuda::PageKernel> load_page_kernel(const cuda::Context& context, UniqueFd& compiled,
                                                HostMemory memory) {
  if (compiled) {
    const auto image = read_file(fmt::format("/proc/self/fd/{}", compiled.get()));
    auto kernel = cuda::PageKernel::load(context, image ? *image : "");
    if (kernel) return kernel;
    log_error("the page kernel is compiled again: " + kernel.error().message());
    compiled.reset();
  }
  const auto image = cuda::PageKernel::compile(context);
  if (!image) return cuda::PageKernel::load(context);
  auto file = create_host_memory("vramswap-page-kernel", image->size(), memory);
  const auto bytes = static_cast<ssize_t>(image->size());
  if (file && pwrite(file->get(), image->data(), image->size(), 0) == bytes) {
    compiled = *std::move(file);
  }
  auto kernel = cuda::PageKernel::load(context, *image);
  return kernel ? std::move(kernel) : cuda::PageKernel::load(context);
}

class VramStore final : public Store {
 public:
  explicit VramStore(cuda::VramMemory memory) : memory_(std::move(memory)) {}

  std::uint64_t address() const override { return memory_.device_pointer(); }
  std::uint64_t size_bytes() const override { return memory_.size_bytes(); }

  Result<UniqueFd> export_fd() override {
    const auto fd = memory_.export_fd();
    if (!fd) return fd.error();
    return UniqueFd(*fd);
  }

  Result<void> scrub() override {
    if (const auto result = memory_.scrub(); !result) return result.error();
    return {};
  }

 private:
  cuda::VramMemory memory_;
};

class VramDevice final : public StoreDevice {
 public:
  VramDevice(cuda::Context context, UniqueFd& compiled_kernel, HostMemory memory,
             std::string drm_directory)
      : context_(std::move(context)), drm_directory_(std::move(drm_directory)) {
    auto kernel = load_page_kernel(context_, compiled_kernel, memory);
    if (kernel) {
      shared_.kernel = *std::move(kernel);
    } else {
      log_error("no page kernel, so pages are copied one by one, which is slower: " +
                kernel.error().message());
    }
  }

  Result<StoreDeviceInfo> info() override {
    const auto memory = context_.memory_info();
    if (!memory) return memory.error();
    const auto granularity = cuda::VramMemory::granularity(context_);
    if (!granularity) return granularity.error();
    const cuda::DeviceInfo& device = context_.device();
    return StoreDeviceInfo{
        .name = device.name,
        .uuid = device.uuid,
        .free_bytes = memory->free_bytes,
        .total_bytes = memory->total_bytes,
        .granularity_bytes = *granularity,
        .drives_display =
            device.drives_display || has_connected_display(drm_directory_, device.pci_address),
        .is_exclusive = device.is_exclusive};
  }

  Result<std::unique_ptr<Store>> create(std::uint64_t size_bytes) override {
    auto memory = cuda::VramMemory::create(context_, size_bytes);
    if (!memory) return memory.error();
    auto store = std::make_unique<VramStore>(*std::move(memory));
    if (auto scrubbed = store->scrub(); !scrubbed) return scrubbed.error();
    return store;
  }

  Result<std::unique_ptr<Store>> import(UniqueFd fd, std::uint64_t size_bytes) override {
    auto memory = cuda::VramMemory::import(context_, fd.get(), size_bytes);
    if (!memory && !may_pass(memory.error()) && can_import_fresh_memory(context_)) {
      // The driver did its work for fresh memory between the two attempts.
      memory = cuda::VramMemory::import(context_, fd.get(), size_bytes);
      if (!memory && !may_pass(memory.error())) return Error{memory.error().message(), ESTALE};
    }
    if (!memory) return Error{memory.error().message()};
    return std::make_unique<VramStore>(*std::move(memory));
  }

  Result<std::unique_ptr<Copier>> make_copier(std::span<std::byte> host) override {
    if (const auto current = context_.make_current(); !current) return current.error();
    return make_vram_copier(context_, shared_, host);
  }

 private:
  cuda::Context context_;
  VramCopierShared shared_;
  std::string drm_directory_;
};

}  // namespace

Result<std::unique_ptr<StoreDevice>> make_vram_device(const std::string& selector,
                                                      DriverFiles& files, HostMemory memory,
                                                      const std::string& drm_directory) {
  // The driver caches compiled kernels here; by default it uses the home directory of root. If it
  // cannot write here, a worker takes 0.1 s longer to start.
  setenv("CUDA_CACHE_PATH", "/var/cache/vramswap", 0);
  // The driver loads the page kernel now. The first launch may come when no page is free.
  setenv("CUDA_MODULE_LOADING", "EAGER", 0);
  const auto driver = load_driver(files);
  if (!driver) return driver.error();
  const auto device = cuda::select_device(*driver, selector.empty() ? "0" : selector);
  if (!device) return device.error();
  if (!device->supports_fd_export) {
    return fail(device->label() +
                ": does not support memory held by a file descriptor, which vramswap needs");
  }
  if (device->is_prohibited) {
    return fail(device->label() +
                ": its compute mode is prohibited: nvidia-smi --compute-mode=0 changes that");
  }
  auto context = cuda::Context::create(*driver, *device);
  if (!context) return context.error();
  return std::make_unique<VramDevice>(*std::move(context), files.page_kernel, memory,
                                      drm_directory);
}

}  // namespace vramswap
