// Compiling: the result is the given text, marked as compiled.
#include <string>
#include <string_view>

#include "tests/fake_cuda/state.hpp"

namespace api = vramswap::cuda::api;
using fake_cuda::enter_with_context;
using fake_cuda::state;

struct vramswap::cuda::api::CUlinkState_st {
  std::string image;
};

api::CUresult cuLinkCreate_v2(unsigned int, api::CUjit_option*, void**, api::CUlinkState* link) {
  if (auto result = enter_with_context("cuLinkCreate_v2"); result != api::CUDA_SUCCESS) {
    return result;
  }
  if (!state().configuration.has_jit) {
    return api::CUDA_ERROR_JIT_COMPILER_NOT_FOUND;
  }
  *link = new api::CUlinkState_st{.image = std::string(fake_cuda::kCompiledMark)};
  return api::CUDA_SUCCESS;
}

api::CUresult cuLinkAddData_v2(api::CUlinkState link, api::CUjitInputType type, void* data,
                               std::size_t bytes, const char*, unsigned int, api::CUjit_option*,
                               void**) {
  if (auto result = enter_with_context("cuLinkAddData_v2"); result != api::CUDA_SUCCESS) {
    return result;
  }
  const std::string_view text(static_cast<const char*>(data), bytes);
  // As the real one: PTX is a text that ends with a zero.
  if (type != api::CU_JIT_INPUT_PTX || text.empty() || text.back() != '\0') {
    return api::CUDA_ERROR_INVALID_VALUE;
  }
  link->image += text;
  return api::CUDA_SUCCESS;
}

api::CUresult cuLinkComplete(api::CUlinkState link, void** image, std::size_t* bytes) {
  *image = link->image.data();
  *bytes = link->image.size();
  return enter_with_context("cuLinkComplete");
}

api::CUresult cuLinkDestroy(api::CUlinkState link) {
  delete link;
  return enter_with_context("cuLinkDestroy");
}
