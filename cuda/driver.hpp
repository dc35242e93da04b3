// libcuda.so.1, loaded at run time.
#pragma once

#include <string>

#include "cuda/driver_types.hpp"
#include "cuda/error.hpp"

namespace vramswap::cuda {

/// The entry points of a loaded and initialised CUDA driver.
///
/// A plain table of addresses, so copies are cheap and each stays valid on its own: the library is
/// never unloaded, because the driver has threads and exit handlers of its own by then.
class Driver {
 public:
  /// Loads `path`, finds every entry point and calls cuInit. Needs a driver of CUDA 11.4 (series
  /// 470) or newer.
  ///
  /// Sets CUDA_DEVICE_ORDER=PCI_BUS_ID in the environment unless it is set already, for cuInit
  /// reads it, and only in that order are device indices those of nvidia-smi. setenv is not thread
  /// safe: call this before starting threads. Call it once a process, never before fork: a child
  /// cannot use CUDA that its parent has initialised.
  static Result<Driver> load(const char* path = "libcuda.so.1");

  /// `driver->cuMemCreate(...)`
  const api::FunctionTable* operator->() const { return &functions_; }

  const api::NewerFunctionTable& newer() const { return newer_; }

  /// An Error for a failed call, with the driver's name of `code`.
  Error error(api::CUresult code, std::string operation, std::string object) const;

 private:
  Driver(const api::FunctionTable& functions, const api::NewerFunctionTable& newer)
      : functions_(functions), newer_(newer) {}

  api::FunctionTable functions_;
  api::NewerFunctionTable newer_;
};

}  // namespace vramswap::cuda
