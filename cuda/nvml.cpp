#include "cuda/nvml.hpp"

#include <fmt/format.h>

#include "cuda/driver.hpp"

namespace vramswap::cuda {
namespace {

constexpr const char* kLibraryName = "libnvidia-ml.so.1";

}  // namespace

Error Nvml::error(std::string operation) {
  return {.operation = std::move(operation), .object = kLibraryName, .name = {}, .advice = {}};
}

Result<Nvml> Nvml::open(const std::string& beside) {
  const auto directory_end = beside.rfind('/');
  if (directory_end != beside.npos) {
    const std::string path = beside.substr(0, directory_end + 1) + kLibraryName;
    if (Library library{dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL)}) {
      return initialise(std::move(library));
    }
  }
  return load(driver_library(kLibraryName));
}

Result<Nvml> Nvml::load(const std::string& library) {
  return initialise(Library{dlopen(library.c_str(), RTLD_NOW | RTLD_LOCAL)});
}

Result<Nvml> Nvml::initialise(Library library) {
  if (!library) {
    return error("it cannot be loaded");
  }
  int (*init)() = nullptr;
  int (*shut_down)() = nullptr;
  if (!find_in(library.get(), "nvmlInit_v2", init) ||
      !find_in(library.get(), "nvmlShutdown", shut_down)) {
    return error("it lacks a function");
  }
  if (const int code = init(); code != kNvmlSuccess) {
    return error(fmt::format("nvmlInit: error {}", code));
  }
  return Nvml(std::move(library), shut_down);
}

}  // namespace vramswap::cuda
