#include "daemon/worker/store/vram_store.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "cuda/context.hpp"
#include "cuda/device.hpp"
#include "cuda/driver.hpp"
#include "cuda/memory_use.hpp"
#include "cuda/page_kernel.hpp"
#include "cuda/vram.hpp"
#include "daemon/base/directory.hpp"
#include "daemon/base/rounding.hpp"
#include "daemon/system/log.hpp"
#include "daemon/system/proc.hpp"
#include "daemon/worker/store/vram_copier.hpp"

namespace vramswap {
namespace {

// How long, and how often, to try again if the card has no room for the context.
constexpr std::chrono::seconds kRoomTimeout{5};
constexpr std::chrono::milliseconds kRoomInterval{10};
// The assumed size of a context if it cannot be measured, or if the measured size is out of these
// bounds, because other programs took or freed memory meanwhile. 528 MiB on an H200.
constexpr std::uint64_t kUsualContextBytes = 608ULL << 20;
constexpr std::uint64_t kSmallestContextBytes = 128ULL << 20;
constexpr std::uint64_t kLargestContextBytes = 2ULL << 30;
// Added to the measured size, for memory that the driver takes while the worker serves.
constexpr std::uint64_t kMarginBytes = 32ULL << 20;
constexpr std::uint64_t kLeastRoom = 8ULL << 20;

// Whether an import that failed with this error may succeed later. 999 (UNKNOWN) is not such an
// error: the driver returns it for a descriptor without memory. can_import_fresh_memory() tells
// that from a failure of the driver as a whole.
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

// On a full card it gives the reserve up. That memory is free once the supervisor and the service
// manager have closed it, too.
cuda::Result<cuda::Context> create_context(const cuda::Driver& driver,
                                           const cuda::DeviceInfo& device, ContextRoom& room) {
  const bool had_reserve = static_cast<bool>(room.reserve);
  const auto deadline = std::chrono::steady_clock::now() + kRoomTimeout;
  for (;;) {
    auto context = cuda::Context::create(driver, device);
    const bool is_full =
        !context && context.error().code == cuda::api::CUDA_ERROR_OUT_OF_MEMORY && had_reserve;
    if (!is_full || std::chrono::steady_clock::now() > deadline) return context;
    room.give_up();
    std::this_thread::sleep_for(kRoomInterval);
  }
}

// The context found room, but the driver takes more later: 17 MiB on an H200. A worker that
// replaces a dead one finds the room that the dead one left, which is just enough.
void make_room_for_the_rest(const cuda::Context& context, ContextRoom& room) {
  const auto deadline = std::chrono::steady_clock::now() + kRoomTimeout;
  const bool had_reserve = static_cast<bool>(room.reserve);
  for (;;) {
    const auto left = context.memory_info();
    room.is_tight = left && left->free_bytes < kMarginBytes;
    if (!left || left->free_bytes >= kLeastRoom || !had_reserve) return;
    if (std::chrono::steady_clock::now() > deadline) return;
    room.give_up();
    std::this_thread::sleep_for(kRoomInterval);
  }
}

// Used by all programs on the card; nothing if NVML cannot tell.
std::optional<std::uint64_t> used_memory(const std::string& uuid, const std::string& driver_path) {
  const auto used = cuda::used_memory(uuid, driver_path);
  if (used) return *used;
  log_info(used.error().message());
  return std::nullopt;
}

// `compiled` holds the compiled kernel; if it is empty, this function fills it.
cuda::Result<cuda::PageKernel> load_page_kernel(const cuda::Context& context, UniqueFd& compiled,
                                                HostMemory memory) {
  if (compiled) {
    const auto image = read_file(fmt::format("/proc/self/fd/{}", compiled.get()));
    auto kernel = cuda::PageKernel::load(context, image ? *image : "");
    if (kernel) return kernel;
    log_error("compiling the page kernel again: " + kernel.error().message());
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
  StorePlace place() const override { return StorePlace::card; }

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
  VramDevice(cuda::Context context, std::optional<std::uint64_t> used_before, DriverFiles& files,
             HostMemory memory, ContextRoom& room, std::string drm_directory)
      : context_(std::move(context)),
        room_(room),
        used_before_(used_before),
        driver_path_(files.path),
        drm_directory_(std::move(drm_directory)) {
    auto kernel = load_page_kernel(context_, files.page_kernel, memory);
    if (kernel) {
      shared_.kernel = *std::move(kernel);
    } else {
      log_error("no page kernel, so pages are copied one by one, which is slower: " +
                kernel.error().message());
    }
  }

  StorePlace place() const override { return StorePlace::card; }

  Result<StoreDeviceInfo> info() override {
    const auto memory = context_.memory_info();
    if (!memory) return memory.error();
    const auto granularity = cuda::VramMemory::granularity(context_);
    if (!granularity) return granularity.error();
    const cuda::DeviceInfo& device = context_.device();
    if (room_.context_bytes == 0) room_.context_bytes = measure_context(*granularity);
    return StoreDeviceInfo{
        .name = device.name,
        .uuid = device.uuid,
        .free_bytes = memory->free_bytes,
        .total_bytes = memory->total_bytes,
        .granularity_bytes = *granularity,
        .context_bytes = room_.context_bytes,
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

  Result<UniqueFd> set_aside(std::uint64_t size_bytes) override {
    const auto fd = cuda::VramMemory::create_fd(context_, size_bytes);
    if (!fd) return fd.error();
    return UniqueFd(*fd);
  }

  Result<std::unique_ptr<Copier>> make_copier(std::span<std::byte> host) override {
    if (const auto current = context_.make_current(); !current) return current.error();
    return make_vram_copier(context_, shared_, host);
  }

 private:
  // Other programs may take or free memory meanwhile, so the difference may be wrong.
  std::uint64_t measure_context(std::uint64_t granularity) const {
    const auto used =
        used_before_ ? used_memory(context_.device().uuid, driver_path_) : std::nullopt;
    if (used && *used == *used_before_) return 0;
    if (used && *used >= *used_before_ + kSmallestContextBytes &&
        *used <= *used_before_ + kLargestContextBytes) {
      return round_up(*used - *used_before_ + kMarginBytes, granularity);
    }
    log_info(fmt::format("the size of a context cannot be measured: setting {} MiB aside for it",
                         kUsualContextBytes >> 20));
    return kUsualContextBytes;
  }

  cuda::Context context_;
  ContextRoom& room_;
  const std::optional<std::uint64_t> used_before_;  // before the context was made
  const std::string driver_path_;
  VramCopierShared shared_;
  std::string drm_directory_;
};

}  // namespace

Result<std::unique_ptr<StoreDevice>> make_vram_device(const std::string& selector,
                                                      DriverFiles& files, HostMemory memory,
                                                      ContextRoom& room,
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
  std::optional<std::uint64_t> used_before;
  if (room.context_bytes == 0) used_before = used_memory(device->uuid, files.path);
  auto context = create_context(*driver, *device, room);
  if (!context) return context.error();
  make_room_for_the_rest(*context, room);
  return std::make_unique<VramDevice>(*std::move(context), used_before, files, memory, room,
                                      drm_directory);
}

}  // namespace vramswap
