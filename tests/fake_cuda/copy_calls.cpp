// Streams, copies and the host memory registered for them.
#include <sys/types.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <list>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>

#include "cuda/page_kernel.hpp"
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

struct vramswap::cuda::api::CUfunc_st {
  enum class Kind { to_host, from_host, fault } kind;
  unsigned int max_pages;  // what its parameters have room for
};
struct vramswap::cuda::api::CUmod_st {
  std::string image;
  std::list<CUfunc_st> functions;
};

namespace {

using Copy = api::CUstream_st::Copy;
using vramswap::cuda::PageKernel;

void write_word(api::CUdeviceptr target, unsigned int value) {
  std::atomic_ref(*reinterpret_cast<unsigned int*>(target)).store(value, std::memory_order_release);
}

/// A page in VRAM with a defect: a process that reads it loses the context.
bool is_of_bad_page(const Copy& copy) {
  const auto& s = state();
  const auto source = reinterpret_cast<api::CUdeviceptr>(copy.source);
  if (s.configuration.bad_word == 0 || !state().is_accessible(source, copy.bytes)) {
    return false;
  }
  for (std::size_t offset = 0; offset < copy.bytes; offset += PageKernel::kPageBytes) {
    std::uint64_t word = 0;
    std::memcpy(&word, static_cast<const std::byte*>(copy.source) + offset, sizeof word);
    if (word == s.configuration.bad_word) {
      return true;
    }
  }
  return false;
}

void carry_out(const Copy& copy, int device) {
  auto& s = state();
  if (is_of_bad_page(copy)) {
    s.sticky = api::CUDA_ERROR_ECC_UNCORRECTABLE;
    return;
  }
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
    case CopyFault::flip:
      std::memcpy(copy.target, copy.source, copy.bytes);
      static_cast<std::byte*>(copy.target)[copy.bytes / 2] ^= std::byte{1};
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

/// CUDA_ERROR_NOT_READY: the device hangs, and queued work is never done.
api::CUresult drain(api::CUstream stream) {
  for (std::size_t i = 0; i < stream->queued; ++i) {
    if (!state().hung) {
      carry_out(stream->queue[i], stream->device);
    }
    if (state().hung) {
      return api::CUDA_ERROR_NOT_READY;
    }
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
    fake_cuda::wait_while_hung();
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

api::CUresult cuMemHostGetDevicePointer_v2(api::CUdeviceptr* pointer, void* memory, unsigned int) {
  if (auto result = enter_with_context("cuMemHostGetDevicePointer_v2");
      result != api::CUDA_SUCCESS) {
    return result;
  }
  std::lock_guard lock(state().mutex);
  auto* wanted = static_cast<std::byte*>(memory);
  auto holds = [&](const HostRange& range) {
    return range.base != nullptr && range.base <= wanted && wanted < range.base + range.size_bytes;
  };
  if (std::ranges::none_of(state().registrations, holds)) {
    return api::CUDA_ERROR_INVALID_VALUE;
  }
  // Unified addressing, as on every 64-bit Linux.
  *pointer = reinterpret_cast<api::CUdeviceptr>(memory);
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
    fake_cuda::wait_while_hung();
    result = drain(stream);
  }
  delete stream;
  return result;
}

// Without a stream: of the device's memory, which is set at once.
api::CUresult cuStreamQuery(api::CUstream stream) {
  if (auto result = enter_with_context("cuStreamQuery"); result != api::CUDA_SUCCESS) {
    return result;
  }
  if (state().hung) {
    return api::CUDA_ERROR_NOT_READY;
  }
  return stream == nullptr ? api::CUDA_SUCCESS : drain(stream);
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

api::CUresult cuMemcpyBatchAsync(api::CUdeviceptr* targets, api::CUdeviceptr* sources,
                                 std::size_t* bytes, std::size_t count, api::CUmemcpyAttributes*,
                                 std::size_t*, std::size_t, std::size_t* failed_index,
                                 api::CUstream stream) {
  if (auto result = enter_with_context("cuMemcpyBatchAsync"); result != api::CUDA_SUCCESS) {
    return result;
  }
  for (std::size_t i = 0; i < count; ++i) {
    const bool to_device = state().is_accessible(targets[i], bytes[i]);
    auto result = enqueue(
        stream,
        {reinterpret_cast<void*>(targets[i]), reinterpret_cast<const void*>(sources[i]), bytes[i]},
        to_device ? targets[i] : sources[i]);
    if (result != api::CUDA_SUCCESS) {
      *failed_index = i;
      return result;
    }
  }
  return api::CUDA_SUCCESS;
}

// A thread that waits for the word does not call again, so the stream does its work here.
api::CUresult cuStreamWriteValue32_v2(api::CUstream stream, api::CUdeviceptr target,
                                      unsigned int value, unsigned int) {
  if (auto result = enter_with_context("cuStreamWriteValue32_v2"); result != api::CUDA_SUCCESS) {
    return result;
  }
  // The word that is queued behind a hanging copy is never written.
  if (state().hung) {
    return api::CUDA_SUCCESS;
  }
  if (auto result = drain(stream); result != api::CUDA_SUCCESS) {
    return result == api::CUDA_ERROR_NOT_READY ? api::CUDA_SUCCESS : result;
  }
  write_word(target, value);
  return api::CUDA_SUCCESS;
}

api::CUresult cuModuleLoadDataEx(api::CUmodule* module, const void* image, unsigned int,
                                 api::CUjit_option*, void**) {
  if (auto result = enter_with_context("cuModuleLoadDataEx"); result != api::CUDA_SUCCESS) {
    return result;
  }
  const std::string_view text(static_cast<const char*>(image));
  if (text.find(".version") == text.npos) {
    return api::CUDA_ERROR_INVALID_VALUE;
  }
  if (!state().configuration.has_jit && !text.starts_with(fake_cuda::kCompiledMark)) {
    return api::CUDA_ERROR_JIT_COMPILER_NOT_FOUND;
  }
  *module = new api::CUmod_st{.image = static_cast<const char*>(image), .functions = {}};
  return api::CUDA_SUCCESS;
}

api::CUresult cuModuleUnload(api::CUmodule module) {
  delete module;
  return enter_with_context("cuModuleUnload");
}

api::CUresult cuModuleGetFunction(api::CUfunction* function, api::CUmodule module,
                                  const char* name) {
  if (auto result = enter_with_context("cuModuleGetFunction"); result != api::CUDA_SUCCESS) {
    return result;
  }
  const std::string_view wanted = name;
  if (module->image.find(".entry " + std::string(wanted) + "(") == std::string::npos) {
    return api::CUDA_ERROR_INVALID_VALUE;
  }
  using Kind = api::CUfunc_st::Kind;
  for (auto [prefix, kind] :
       {std::pair("to_host_", Kind::to_host), std::pair("from_host_", Kind::from_host),
        std::pair("fault", Kind::fault)}) {
    if (wanted.starts_with(prefix)) {
      const auto pages = std::strtoul(name + std::strlen(prefix), nullptr, 10);
      *function = &module->functions.emplace_back(kind, static_cast<unsigned int>(pages));
      return api::CUDA_SUCCESS;
    }
  }
  return api::CUDA_ERROR_INVALID_VALUE;
}

// Runs the kernel of cuda/page_kernel.cpp, which it knows by its parameters, and a kernel with
// which a test ends its own context. cuStreamWriteValue32_v2 says how threads wait for the words.
api::CUresult cuLaunchKernel(api::CUfunction function, unsigned int blocks, unsigned int,
                             unsigned int, unsigned int, unsigned int, unsigned int, unsigned int,
                             api::CUstream stream, void** parameters, void**) {
  if (auto result = enter_with_context("cuLaunchKernel"); result != api::CUDA_SUCCESS) {
    return result;
  }
  if (state().hung) {
    return api::CUDA_SUCCESS;
  }
  if (function->kind == api::CUfunc_st::Kind::fault) {
    state().sticky = api::CUDA_ERROR_ILLEGAL_ADDRESS;
    return api::CUDA_SUCCESS;
  }
  // The real driver would read on behind the parameters.
  if (blocks == 0 || blocks > function->max_pages) {
    return api::CUDA_ERROR_INVALID_VALUE;
  }
  const bool to_host = function->kind == api::CUfunc_st::Kind::to_host;
  const auto device = *static_cast<api::CUdeviceptr*>(parameters[0]);
  const auto host = *static_cast<api::CUdeviceptr*>(parameters[1]);
  const auto flags = *static_cast<api::CUdeviceptr*>(parameters[2]);
  const auto tag = *static_cast<unsigned int*>(parameters[3]);
  const auto* pages = static_cast<const PageKernel::Page*>(parameters[4]);
  for (unsigned int block = 0; block < blocks; ++block) {
    const auto in_device = device + static_cast<std::int64_t>(pages[block].device_page) *
                                        static_cast<std::int64_t>(PageKernel::kPageBytes);
    auto* in_host = reinterpret_cast<void*>(host + pages[block].host_offset);
    auto* there = reinterpret_cast<void*>(in_device);
    const auto alignment = to_host ? 16 : 4;
    if (!state().is_accessible(in_device, PageKernel::kPageBytes) ||
        reinterpret_cast<std::uintptr_t>(in_host) % alignment != 0) {
      state().sticky = api::CUDA_ERROR_ILLEGAL_ADDRESS;
      return api::CUDA_SUCCESS;
    }
    auto result = enqueue(
        stream, {to_host ? in_host : there, to_host ? there : in_host, PageKernel::kPageBytes},
        in_device);
    if (result == api::CUDA_SUCCESS) {
      result = drain(stream);
    }
    if (result != api::CUDA_SUCCESS) {
      return result == api::CUDA_ERROR_NOT_READY ? api::CUDA_SUCCESS : result;
    }
    write_word(flags + block * sizeof tag, tag);
  }
  return api::CUDA_SUCCESS;
}
