// libcuda.so.1, loaded at run time.
#pragma once

#include <string>

#include "cuda/driver_types.hpp"
#include "cuda/error.hpp"

namespace vramswap::cuda {

constexpr const char* kCudaLibrary = "libcuda.so.1";

/// The argument of dlopen for a library of the driver: `name`, for which the dynamic loader looks,
/// or its path in the folder that the build names (CMake's VRAMSWAP_DRIVER_LIBRARY_DIR).
std::string driver_library(const char* name);

/// The entry points of a loaded and initialised CUDA driver.
///
/// A plain table of addresses, so copies are cheap, and each copy stays valid on its own. The
/// library is never unloaded, because the driver has started threads and registered exit handlers.
class Driver {
 public:
  /// Loads `path`, looks up every entry point and calls cuInit. Requires a driver for CUDA 11.4
  /// (series 470) or newer. Without `path`: driver_library(kCudaLibrary).
  ///
  /// Sets CUDA_DEVICE_ORDER=PCI_BUS_ID in the environment unless it is set already. cuInit reads
  /// it, and only in that order are device indices the same as in nvidia-smi. setenv is not
  /// thread-safe, so call this before starting threads. Call it once in a process, and never before
  /// fork: a child cannot use CUDA if its parent has initialised it.
  static Result<Driver> load();
  static Result<Driver> load(const char* path);

  /// For calls: `driver->cuMemCreate(...)`.
  const api::FunctionTable* operator->() const { return &functions_; }

  /// Where the dynamic loader found the library.
  std::string path() const;
  /// Opens the file that the dynamic loader has loaded; the descriptor is close-on-exec, and the
  /// caller closes it. By its path in /proc/self/fd another process loads the same file, even if
  /// its name has gone to another file. An error: the file has lost its name since it was loaded.
  Result<int> open_file() const;

  /// Entry points that are null if the driver is too old.
  const api::NewerFunctionTable& newer() const { return newer_; }

  /// An Error for a failed call, with the name that the driver gives `code`.
  Error error(api::CUresult code, std::string operation, std::string object) const;

 private:
  Driver(void* library, const api::FunctionTable& functions, const api::NewerFunctionTable& newer)
      : library_(library), functions_(functions), newer_(newer) {}

  void* library_;  // of dlopen
  api::FunctionTable functions_;
  api::NewerFunctionTable newer_;
};

}  // namespace vramswap::cuda
