// The memory of a fake device, shared by all processes (README.md says how).
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace fake_cuda {

class DeviceMemory {
 public:
  /// Opens or makes the device's file at `path`.
  DeviceMemory(std::string path, std::uint64_t total_bytes);

  std::uint64_t total_bytes() const { return total_bytes_; }

  /// The memory that no allocation of any process covers.
  std::uint64_t free_bytes() const;

  /// A new file descriptor that holds `size_bytes` of the device; -1 if there is no such range
  /// free. Its file position is where the range begins: the one thing that travels with an open
  /// file description from process to process.
  int allocate(std::uint64_t size_bytes) const;
  /// The same as near to the end of the device as possible. -1 also for 0 bytes.
  int allocate_last(std::uint64_t size_bytes) const;

  struct Range {
    std::uint64_t offset;
    std::uint64_t size_bytes;
  };
  /// What `fd` holds of this device; nothing if it did not come from allocate(), or from a device
  /// that has been reset since.
  std::optional<Range> range_of(int fd) const;

  /// Loses all content: descriptors that exist are good for nothing any more.
  void reset() const;

 private:
  std::string path_;
  std::uint64_t total_bytes_;
};

}  // namespace fake_cuda
