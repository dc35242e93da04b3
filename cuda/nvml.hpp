// libnvidia-ml.so.1, loaded only while an Nvml object exists. It starts the driver on every GPU of
// the machine, and so wakes those that sleep.
#pragma once

#include <dlfcn.h>

#include <memory>
#include <string>
#include <utility>

#include "cuda/error.hpp"

namespace vramswap::cuda {

/// As nvml.h declares them.
using NvmlDevice = void*;
struct NvmlMemory {
  unsigned long long total;
  unsigned long long free;
  unsigned long long used;
};
inline constexpr int kNvmlSuccess = 0;

class Nvml {
 public:
  /// Loads the library from the folder of `beside`, a path of another library, and else by its
  /// name, and initialises it. An error: there is none, or none of the kernel module's version.
  static Result<Nvml> open(const std::string& beside);
  /// The same; `library` is a name or a path.
  static Result<Nvml> load(const std::string& library);

  /// Returns false if the library has no such function. It must not be called after this object has
  /// gone.
  template <class Function>
  bool find(const char* name, Function*& function) const {
    return find_in(library_.get(), name, function);
  }

  static Error error(std::string operation);

 private:
  struct Close {
    void operator()(void* library) const { dlclose(library); }
  };
  using Library = std::unique_ptr<void, Close>;

  struct ShutDownAndClose {
    int (*shut_down)();
    void operator()(void* library) const {
      shut_down();
      dlclose(library);
    }
  };

  /// `library` has been initialised.
  Nvml(Library library, int (*shut_down)()) : library_(library.release(), {shut_down}) {}
  static Result<Nvml> initialise(Library library);
  template <class Function>
  static bool find_in(void* library, const char* name, Function*& function) {
    function = reinterpret_cast<Function*>(dlsym(library, name));
    return function != nullptr;
  }

  std::unique_ptr<void, ShutDownAndClose> library_;
};

}  // namespace vramswap::cuda
