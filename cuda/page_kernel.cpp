#include "cuda/page_kernel.hpp"

#include <fmt/format.h>

#include <memory>
#include <type_traits>
#include <utility>

namespace vramswap::cuda {
namespace {

constexpr unsigned kThreadsPerBlock = 256;

// PTX, the driver's portable assembly; PTX ISA reference, version 6.0 (CUDA 9). Registers: %a1 the
// page's place in VRAM, %a2 in host memory, both already those of this thread.
constexpr const char* kHeader = R"(
.version 6.0
.target sm_50
.address_size 64
)";

// Writes to host memory are cheapest in 16 bytes a thread. {0} names it, {1} is the parameters'
// size in bytes, {2} the bytes from one thread's place to the next, {3} the copy.
constexpr const char* kFunction = R"(
.visible .entry {0}(
  .param .u64 device,
  .param .u64 host,
  .param .u64 flags,
  .param .u32 tag,
  .param .align 8 .b8 pages[{1}])
{{
  .reg .pred %p;
  .reg .b32 %r<8>;
  .reg .b64 %a<4>;
  .reg .b32 %thread, %block;

  mov.u32 %thread, %tid.x;
  mov.u32 %block, %ctaid.x;
  mov.b64 %a0, pages;
  mul.wide.u32 %a3, %block, 8;
  add.s64 %a0, %a0, %a3;
  ld.param.v2.b32 {{%r0, %r1}}, [%a0];

  ld.param.u64 %a1, [device];
  cvta.to.global.u64 %a1, %a1;
  mul.wide.s32 %a3, %r0, 4096;
  add.s64 %a1, %a1, %a3;
  ld.param.u64 %a2, [host];
  cvta.to.global.u64 %a2, %a2;
  cvt.u64.u32 %a3, %r1;
  add.s64 %a2, %a2, %a3;
  mul.wide.u32 %a3, %thread, {2};
  add.s64 %a1, %a1, %a3;
  add.s64 %a2, %a2, %a3;
{3}
  // The first thread reports for the block: the barrier orders the writes of the other threads
  // before its fence, and the fence orders them all before the word that the host waits for.
  bar.sync 0;
  setp.ne.u32 %p, %thread, 0;
  @%p bra done;
  membar.sys;
  ld.param.u64 %a0, [flags];
  cvta.to.global.u64 %a0, %a0;
  mul.wide.u32 %a3, %block, 4;
  add.s64 %a0, %a0, %a3;
  ld.param.u32 %r0, [tag];
  st.volatile.global.u32 [%a0], %r0;
done:
  ret;
}}
)";

constexpr const char* kToHost = R"(
  ld.global.v4.b32 {%r0, %r1, %r2, %r3}, [%a1];
  st.global.v4.b32 [%a2], {%r0, %r1, %r2, %r3};
)";

// Payloads follow 28-byte headers, so they are aligned to 4 bytes only.
constexpr const char* kFromHost = R"(
  ld.global.b32 %r0, [%a2];
  ld.global.b32 %r1, [%a2 + 1024];
  ld.global.b32 %r2, [%a2 + 2048];
  ld.global.b32 %r3, [%a2 + 3072];
  st.global.b32 [%a1], %r0;
  st.global.b32 [%a1 + 1024], %r1;
  st.global.b32 [%a1 + 2048], %r2;
  st.global.b32 [%a1 + 3072], %r3;
)";

}  // namespace

std::string PageKernel::source() {
  std::string text = kHeader;
  for (const std::size_t size : kSizes) {
    const std::size_t bytes = size * sizeof(Page);
    text += fmt::format(kFunction, fmt::format("to_host_{}", size), bytes, 16, kToHost);
    text += fmt::format(kFunction, fmt::format("from_host_{}", size), bytes, 4, kFromHost);
  }
  return text;
}

Result<std::string> PageKernel::compile(const Context& context) {
  const Driver& driver = context.driver();
  const auto failed = [&](api::CUresult code, const char* call) {
    return std::unexpected(driver.error(code, call, context.device().label()));
  };
  api::CUlinkState state = nullptr;
  if (auto code = driver->cuLinkCreate_v2(0, nullptr, nullptr, &state); code != api::CUDA_SUCCESS) {
    return failed(code, "cuLinkCreate");
  }
  const auto destroy = [&](api::CUlinkState made) { driver->cuLinkDestroy(made); };
  const std::unique_ptr<std::remove_pointer_t<api::CUlinkState>, decltype(destroy)> owner(state,
                                                                                          destroy);
  std::string text = source();
  auto code = driver->cuLinkAddData_v2(state, api::CU_JIT_INPUT_PTX, text.data(), text.size() + 1,
                                       "page_kernel", 0, nullptr, nullptr);
  if (code != api::CUDA_SUCCESS) return failed(code, "cuLinkAddData");
  void* image = nullptr;
  std::size_t bytes = 0;
  code = driver->cuLinkComplete(state, &image, &bytes);
  if (code != api::CUDA_SUCCESS) return failed(code, "cuLinkComplete");
  return std::string(static_cast<const char*>(image), bytes);
}

Result<PageKernel> PageKernel::load(const Context& context, const std::string& compiled) {
  const Driver& driver = context.driver();
  const auto& label = context.device().label();
  api::CUmodule module = nullptr;
  auto code = driver->cuModuleLoadDataEx(&module, (compiled.empty() ? source() : compiled).c_str(),
                                         0, nullptr, nullptr);
  if (code != api::CUDA_SUCCESS) {
    return std::unexpected(driver.error(code, "cuModuleLoadData", label));
  }
  PageKernel kernel(driver, label, module);
  for (std::size_t i = 0; i < std::size(kSizes); ++i) {
    const auto find = [&](const char* direction, api::CUfunction& found) -> Result<void> {
      const auto name = fmt::format("{}_{}", direction, kSizes[i]);
      code = driver->cuModuleGetFunction(&found, module, name.c_str());
      if (code == api::CUDA_SUCCESS) return {};
      return std::unexpected(driver.error(code, "cuModuleGetFunction " + name, label));
    };
    if (auto found = find("to_host", kernel.functions_.to_host[i]); !found) {
      return found.error();
    }
    if (auto found = find("from_host", kernel.functions_.from_host[i]); !found) {
      return found.error();
    }
  }
  return kernel;
}

PageKernel::PageKernel(PageKernel&& other) noexcept
    : driver_(other.driver_),
      label_(std::move(other.label_)),
      module_(std::exchange(other.module_, nullptr)),
      functions_(other.functions_) {}

PageKernel& PageKernel::operator=(PageKernel&& other) noexcept {
  std::swap(driver_, other.driver_);
  std::swap(label_, other.label_);
  std::swap(module_, other.module_);
  std::swap(functions_, other.functions_);
  return *this;
}

PageKernel::~PageKernel() {
  if (module_ != nullptr) {
    driver_->cuModuleUnload(module_);
  }
}

Result<void> PageKernel::copy_to_host(Stream& stream, Batch& batch) const {
  return launch(functions_.to_host, stream, batch);
}

Result<void> PageKernel::copy_from_host(Stream& stream, Batch& batch) const {
  return launch(functions_.from_host, stream, batch);
}

Result<void> PageKernel::launch(const api::CUfunction (&functions)[std::size(kSizes)],
                                Stream& stream, Batch& batch) const {
  std::size_t i = 0;
  while (kSizes[i] < batch.count) ++i;
  void* parameters[] = {&batch.device, &batch.host, &batch.flags, &batch.tag, batch.pages.data()};
  auto code =
      driver_->cuLaunchKernel(functions[i], static_cast<unsigned>(batch.count), 1, 1,
                              kThreadsPerBlock, 1, 1, 0, stream.handle(), parameters, nullptr);
  if (code != api::CUDA_SUCCESS) [[unlikely]] {
    return std::unexpected(
        driver_.error(code, fmt::format("cuLaunchKernel for {} pages", batch.count), label_));
  }
  return {};
}

}  // namespace vramswap::cuda
