#include "tests/fake_cuda/state.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <string>

namespace fake_cuda {
namespace {

thread_local int thread_device = -1;

/// The count of all copies, shared through a file.
std::atomic<std::uint64_t>* open_copy_count(const std::string& path) {
  using Count = std::atomic<std::uint64_t>;
  static_assert(Count::is_always_lock_free);
  int fd = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0 || ftruncate(fd, sizeof(Count)) != 0) {
    std::perror(path.c_str());
    std::abort();
  }
  void* count =
      mmap(nullptr, sizeof(Count), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, 0);
  close(fd);
  if (count == MAP_FAILED) {
    std::perror(path.c_str());
    std::abort();
  }
  return static_cast<Count*>(count);
}

}  // namespace

State& state() {
  static State& only = *new State;  // never destroyed: threads may call until the process ends
  return only;
}

int State::device_of(api::CUdevice ordinal) const {
  int count = static_cast<int>(devices.size());
  if (ordinal < 0 || ordinal >= count) {
    return -1;
  }
  return configuration.pci_order ? ordinal : count - 1 - ordinal;
}

bool State::is_accessible(api::CUdeviceptr address, std::size_t bytes) {
  std::lock_guard lock(mutex);
  for (const Reservation& reservation : reservations) {
    auto base = reinterpret_cast<std::uintptr_t>(reservation.base);
    if (reservation.accessible && address >= base && address - base <= reservation.size_bytes &&
        bytes <= reservation.size_bytes - (address - base)) {
      return true;
    }
  }
  return false;
}

void initialise() {
  State& s = state();
  s.configuration = read_configuration();
  const std::string& directory = s.configuration.directory;
  mkdir(directory.c_str(), 0700);  // opening files in it reports what went wrong
  s.devices.clear();
  for (int i = 0; i < s.configuration.devices; ++i) {
    s.devices.emplace_back(directory + "/device" + std::to_string(i), s.configuration.memory_bytes);
  }
  if (s.copies != nullptr) {
    munmap(s.copies, sizeof(*s.copies));
  }
  s.copies = open_copy_count(directory + "/copies");
  s.initialised = true;
}

api::CUresult enter(std::string_view call) {
  State& s = state();
  if (!s.initialised) {
    return api::CUDA_ERROR_NOT_INITIALIZED;
  }
  if (api::CUresult lost = s.sticky; lost != api::CUDA_SUCCESS) {
    return lost;
  }
  return s.configuration.ordered_result(call);
}

api::CUresult enter_with_context(std::string_view call) {
  api::CUresult result = enter(call);
  if (result == api::CUDA_SUCCESS && thread_device < 0) {
    return api::CUDA_ERROR_INVALID_CONTEXT;
  }
  return result;
}

int current_device() {
  return thread_device;
}

void set_current_device(int device) {
  thread_device = device;
}

void wait_while_hung() {
  while (state().hung) {
    pause();
  }
}

}  // namespace fake_cuda
