#include "cuda/driver.hpp"

#include <dlfcn.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <link.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <string_view>
#include <utility>

#include "cuda/advice.hpp"

namespace vramswap::cuda {
namespace {

constexpr std::size_t kFunctionCount = 0
#define COUNT(name) +1
    VRAMSWAP_CUDA_FUNCTIONS(COUNT)
#undef COUNT
    ;
static_assert(sizeof(api::FunctionTable) == kFunctionCount * sizeof(void (*)()),
              "VRAMSWAP_CUDA_FUNCTIONS does not list every member of FunctionTable");

/// The text of dlerror for `path`, without the path in front.
std::string dlopen_reason(std::string_view path) {
  const char* text = dlerror();
  std::string_view reason = text != nullptr ? text : "unknown error";
  if (reason.starts_with(path) && reason.substr(path.size()).starts_with(": ")) {
    reason.remove_prefix(path.size() + 2);
  }
  return std::string(reason);
}

/// Returns false if the library has no such symbol.
template <typename Function>
bool find(void* library, const char* name, Function*& function) {
  // The name is the versioned one: without a suffix, dlsym finds the ABI of CUDA 3.
  function = reinterpret_cast<Function*>(dlsym(library, name));
  return function != nullptr;
}

std::string advice_for_init(api::CUresult code) {
  switch (code) {
    case api::CUDA_ERROR_STUB_LIBRARY:
      return "this is the toolkit's stub for linking: remove it from the library path";
    case api::CUDA_ERROR_NO_DEVICE:
      return "no NVIDIA GPU can be used: check that nvidia-smi lists one and CUDA_VISIBLE_DEVICES "
             "does not hide it";
    case api::CUDA_ERROR_SYSTEM_NOT_READY:
      return "on machines with NVSwitch, nvidia-fabricmanager of the driver's version must be "
             "running";
    case api::CUDA_ERROR_SYSTEM_DRIVER_MISMATCH:
      return kMismatchAdvice;
    case api::CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE:
      return "the library path has a forward-compatibility libcuda that does not support this GPU";
    case api::CUDA_ERROR_UNKNOWN:
      return kUnknownErrorAdvice;
    default:
      return {};
  }
}

}  // namespace

std::string driver_library(const char* name) {
  constexpr std::string_view kDirectory = VRAMSWAP_DRIVER_LIBRARY_DIR;
  return kDirectory.empty() ? name : fmt::format("{}/{}", kDirectory, name);
}

Result<Driver> Driver::load() {
  return load(driver_library(kCudaLibrary).c_str());
}

Result<Driver> Driver::load(const char* path) {
  void* library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    return std::unexpected(Error{.operation = "dlopen: " + dlopen_reason(path),
                                 .object = path,
                                 .name = {},
                                 .advice = kNoLibraryAdvice});
  }

  api::FunctionTable functions;
  const char* missing = nullptr;
#define FIND(name)                                                   \
  if (missing == nullptr && !find(library, #name, functions.name)) { \
    missing = #name;                                                 \
  }
  VRAMSWAP_CUDA_FUNCTIONS(FIND)
#undef FIND
  if (missing != nullptr) {
    dlclose(library);
    return std::unexpected(Error{.operation = fmt::format("no symbol {}", missing),
                                 .object = path,
                                 .name = {},
                                 .advice = kTooOldAdvice});
  }

  api::NewerFunctionTable newer;
#define FIND(name) find(library, #name, newer.name);
  VRAMSWAP_CUDA_NEWER_FUNCTIONS(FIND)
#undef FIND

  setenv("CUDA_DEVICE_ORDER", "PCI_BUS_ID", 0);
  Driver driver(library, functions, newer);
  if (auto code = driver->cuInit(0); code != api::CUDA_SUCCESS) {
    Error error = driver.error(code, "cuInit", path);
    error.advice = advice_for_init(code);
    return std::unexpected(std::move(error));
  }
  return driver;
}

std::string Driver::path() const {
  const link_map* loaded = nullptr;
  return dlinfo(library_, RTLD_DI_LINKMAP, &loaded) == 0 ? loaded->l_name : "";
}

Result<int> Driver::open_file() const {
  const std::string name = path();
  const int file = open(name.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) {
    return std::unexpected(Error{.operation = fmt::format("open: {}", strerrorname_np(errno)),
                                 .object = name,
                                 .name = {},
                                 .advice = {}});
  }
  // The loader compares files, not names. It finds this file only if it is the one that it has
  // loaded.
  void* same = dlopen(fmt::format("/proc/self/fd/{}", file).c_str(), RTLD_NOW | RTLD_NOLOAD);
  if (same != nullptr) dlclose(same);
  if (same == library_) return file;
  close(file);
  return std::unexpected(Error{.operation = "the file was replaced after the driver was loaded",
                               .object = name,
                               .name = {},
                               .advice = {}});
}

Error Driver::error(api::CUresult code, std::string operation, std::string object) const {
  const char* name = nullptr;
  if (functions_.cuGetErrorName(code, &name) != api::CUDA_SUCCESS || name == nullptr) {
    name = "unknown CUDA error";
  }
  return {.operation = std::move(operation),
          .object = std::move(object),
          .code = code,
          .name = name,
          .advice = {}};
}

}  // namespace vramswap::cuda
