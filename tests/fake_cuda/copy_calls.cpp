// Streams, copies and the host memory registered for them.
#include <sys/types.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <mutex>

#include "tests/fake_cuda/state.hpp"

namespace api = vramswap::cuda::api;
using fake_cuda::CopyFault;
using fake_cuda::enter_with_context;
using fake_cuda::HostRange;
using fake_cuda::state;

struct vramswap::cuda::api::CUstream_st {
  struct Copy {
    void* target;
    const void* source;
    std::size_t bytes;
  };
  int device;
  std::size_t queued = 0;
  std::array<Copy, 1024> queue{};
};

namespace {

using Copy = api::CUstream_st::Copy;

void carry_out(const Copy& copy, int device) {
  auto& s = state();
  std::uint64_t number = s.copies->fetch_add(1) + 1;
  if (number != s.configuration.fault_at_copy) {
    std::memcpy(copy.target, copy.source, copy.bytes);
    return;
  }
  switch (s.configuration.copy_fault) {
    case CopyFault::kill:
      std::memcpy(copy.target, copy.source, copy.bytes / 2);
      kill(getpid(), SIGKILL);
      break;
    case CopyFault::hang:
      s.hung = true;
      break;
    case CopyFault::reset:
      s.devices[static_cast<std::size_t>(device)].reset();
      s.sticky = s.configuration.fault_code;
      break;
    case CopyFault::error:
      s.sticky = s.configuration.fault_code;
      break;
    case CopyFault::none:
      break;
  }
}

api::CUresult drain(api::CUstream stream) {
  for (std::size_t i = 0; i < stream->queued; ++i) {
    carry_out(stream->queue[i], stream->device);
    fake_cuda::wait_while_hung();
    if (state().sticky != api::CUDA_SUCCESS) {
      break;
    }
  }
  stream->queued = 0;
  return state().sticky;
}

api::CUresult enqueue(api::CUstream stream, const Copy& copy, api::CUdeviceptr device_address) {
  if (!state().is_accessible(device_address, copy.bytes)) {
    return api::CUDA_ERROR_INVALID_VALUE;
  }
  if (stream->queued == stream->queue.size()) {
    if (auto result = drain(stream); result != api::CUDA_SUCCESS) {
      return result;
    }
  }
  stream->queue[stream->queued++] = copy;
  return api::CUDA_SUCCESS;
}

}  // namespace

api::CUresult cuMemHostRegister_v2(void* memory, std::size_t bytes, unsigned int) {
  if (auto result = enter_with_context("cuMemHostRegister_v2"); result != api::CUDA_SUCCESS) {
    return result;
  }
  if (memory == nullptr || bytes == 0) {
    return api::CUDA_ERROR_INVALID_VALUE;
  }
  std::lock_guard lock(state().mutex);
  auto& table = state().registrations;
  auto* begin = static_cast<std::byte*>(memory);
  auto overlaps = [&](const HostRange& other) {
    return other.base != nullptr && begin < other.base + other.size_bytes &&
           other.base < begin + bytes;
  };
  if (std::ranges::any_of(table, overlaps)) {
    return api::CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED;
  }
  auto free = std::ranges::find(table, nullptr, &HostRange::base);
  if (free == table.end()) {
    return api::CUDA_ERROR_OUT_OF_MEMORY;
  }
  *free = {.base = begin, .size_bytes = bytes};
  return api::CUDA_SUCCESS;
}

api::CUresult cuMemHostUnregister(void* memory) {
  if (auto result = enter_with_context("cuMemHostUnregister"); result != api::CUDA_SUCCESS) {
    return result;
  }
  std::lock_guard lock(state().mutex);
  auto& table = state().registrations;
  auto found = std::ranges::find(table, static_cast<std::byte*>(memory), &HostRange::base);
  if (memory == nullptr || found == table.end()) {
    return api::CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED;
  }
  *found = {};
  return api::CUDA_SUCCESS;
}

api::CUresult cuStreamCreate(api::CUstream* stream, unsigned int) {
  if (auto result = enter_with_context("cuStreamCreate"); result != api::CUDA_SUCCESS) {
    return result;
  }
  *stream = new api::CUstream_st{.device = fake_cuda::current_device()};
  return api::CUDA_SUCCESS;
}

api::CUresult cuStreamDestroy_v2(api::CUstream stream) {
  auto result = enter_with_context("cuStreamDestroy_v2");
  if (result == api::CUDA_SUCCESS) {
    result = drain(stream);
  }
  delete stream;
  return result;
}

api::CUresult cuStreamSynchronize(api::CUstream stream) {
  if (auto result = enter_with_context("cuStreamSynchronize"); result != api::CUDA_SUCCESS) {
    return result;
  }
  fake_cuda::wait_while_hung();
  return drain(stream);
}

api::CUresult cuMemcpyHtoDAsync_v2(api::CUdeviceptr target, const void* source, std::size_t bytes,
                                   api::CUstream stream) {
  if (auto result = enter_with_context("cuMemcpyHtoDAsync_v2"); result != api::CUDA_SUCCESS) {
    return result;
  }
  return enqueue(stream, {reinterpret_cast<void*>(target), source, bytes}, target);
}

api::CUresult cuMemcpyDtoHAsync_v2(void* target, api::CUdeviceptr source, std::size_t bytes,
                                   api::CUstream stream) {
  if (auto result = enter_with_context("cuMemcpyDtoHAsync_v2"); result != api::CUDA_SUCCESS) {
    return result;
  }
  return enqueue(stream, {target, reinterpret_cast<const void*>(source), bytes}, source);
}
