#include "daemon/worker/store/ram_store.hpp"

#include <sys/mman.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "daemon/system/proc.hpp"

namespace vramswap {
namespace {

class RamStore final : public Store {
 public:
  // mlockall(MCL_FUTURE) makes the mapping resident at once, so a store that does not fit into
  // memory fails here and not at a later write.
  static Result<std::unique_ptr<Store>> map(UniqueFd fd, std::uint64_t size_bytes) {
    const auto memory = map_host_memory("ram store", fd.get(), size_bytes);
    if (!memory) return memory.error();
    return std::make_unique<RamStore>(std::move(fd), *memory);
  }

  RamStore(UniqueFd fd, std::span<std::byte> memory) : fd_(std::move(fd)), memory_(memory) {}
  RamStore(const RamStore&) = delete;
  ~RamStore() override { munmap(memory_.data(), memory_.size()); }

  std::uint64_t address() const override { return reinterpret_cast<std::uint64_t>(memory_.data()); }
  std::uint64_t size_bytes() const override { return memory_.size(); }
  StorePlace place() const override { return StorePlace::host; }

  Result<UniqueFd> export_fd() override {
    UniqueFd copy = fd_.duplicate();
    if (!copy) return fail_errno("ram store", "F_DUPFD_CLOEXEC", errno);
    return copy;
  }

  Result<void> scrub() override {
    std::memset(memory_.data(), 0, memory_.size());
    return {};
  }

 private:
  UniqueFd fd_;
  std::span<std::byte> memory_;
};

class RamCopier final : public Copier {
 public:
  Result<void> begin(Direction direction, unsigned, std::span<const Copy> batch) override {
    for (const Copy& copy : batch) {
      void* stored = reinterpret_cast<void*>(copy.address);
      if (direction == Direction::to_host) {
        std::memcpy(copy.host, stored, copy.bytes);
      } else {
        std::memcpy(stored, copy.host, copy.bytes);
      }
    }
    return {};
  }
  Result<void> wait(Direction, unsigned, std::size_t) override { return {}; }
};

class RamDevice final : public StoreDevice {
 public:
  RamDevice(HostMemory memory, std::string meminfo_path)
      : memory_(memory), meminfo_path_(std::move(meminfo_path)) {}

  StorePlace place() const override { return StorePlace::host; }

  Result<StoreDeviceInfo> info() override {
    const auto memory = read_memory_info(meminfo_path_);
    if (!memory) return memory.error();
    return StoreDeviceInfo{.name = "ram",
                           .uuid = "",
                           .free_bytes = memory->available_bytes,
                           .total_bytes = memory->total_bytes,
                           .granularity_bytes = 1 << 20,
                           .drives_display = false};
  }

  Result<std::unique_ptr<Store>> create(std::uint64_t size_bytes) override {
    auto fd = create_host_memory("vramswap-ram-store", size_bytes, memory_);
    if (!fd) return fd.error();
    return RamStore::map(*std::move(fd), size_bytes);
  }

  Result<std::unique_ptr<Store>> import(UniqueFd fd, std::uint64_t size_bytes) override {
    struct stat status {};
    if (fstat(fd.get(), &status) != 0) return fail_errno("ram store", "fstat", errno);
    if (std::cmp_not_equal(status.st_size, size_bytes)) {
      return fail_errno("ram store", "size check", EINVAL);
    }
    return RamStore::map(std::move(fd), size_bytes);
  }

  Result<std::unique_ptr<Copier>> make_copier(std::span<std::byte>) override {
    return std::make_unique<RamCopier>();
  }

 private:
  const HostMemory memory_;
  const std::string meminfo_path_;
};

}  // namespace

std::unique_ptr<StoreDevice> make_ram_device(HostMemory memory, std::string meminfo_path) {
  return std::make_unique<RamDevice>(memory, std::move(meminfo_path));
}

}  // namespace vramswap
