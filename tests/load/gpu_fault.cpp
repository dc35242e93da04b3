#include "tests/load/gpu_fault.hpp"

#include <dlfcn.h>
#include <pthread.h>
#include <sys/prctl.h>

#include <csignal>
#include <cstdio>
#include <thread>

namespace vramswap::load {
namespace {

constexpr const char* kWritesToAddress16 = R"(
.version 7.0
.target sm_70
.address_size 64
.visible .entry fault() {
  .reg .b64 address;
  .reg .b32 value;
  mov.u64 address, 16;
  mov.u32 value, 1;
  st.global.u32 [address], value;
  ret;
}
)";

// The calls that vramswap itself has no use for, by their C signatures.
template <class... Arguments>
int call(void* library, const char* name, Arguments... arguments) {
  auto* function = reinterpret_cast<int (*)(Arguments...)>(dlsym(library, name));
  const int code = function != nullptr ? function(arguments...) : -1;
  if (code != 0) std::fprintf(stderr, "test_worker: %s: %d\n", name, code);
  return code;
}

// The device whose primary context is in use: the worker has no other.
int find_device(void* library) {
  int count = 0;
  call(library, "cuDeviceGetCount", &count);
  for (int device = 0; device < count; ++device) {
    unsigned flags = 0;
    int active = 0;
    call(library, "cuDevicePrimaryCtxGetState", device, &flags, &active);
    if (active != 0) return device;
  }
  return 0;
}

void fault() {
  void* library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) return;
  void* context = nullptr;
  void* module = nullptr;
  void* function = nullptr;
  void** const none = nullptr;
  if (call(library, "cuDevicePrimaryCtxRetain", &context, find_device(library)) != 0 ||
      call(library, "cuCtxSetCurrent", context) != 0 ||
      call(library, "cuModuleLoadDataEx", &module, static_cast<const void*>(kWritesToAddress16), 0U,
           none, none) != 0 ||
      call(library, "cuModuleGetFunction", &function, module, "fault") != 0) {
    return;
  }
  void* const default_stream = nullptr;
  call(library, "cuLaunchKernel", function, 1U, 1U, 1U, 1U, 1U, 1U, 0U, default_stream, none, none);
}

}  // namespace

void fault_on_sigusr1() {
  // Every thread of a hardened worker must be one, and this thread is older than the hardening.
  // Without privileges the call fails, which does no harm.
  prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0);
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGUSR1);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  std::thread([signals] {
    int signal = 0;
    if (sigwait(&signals, &signal) == 0) fault();
  }).detach();
}

}  // namespace vramswap::load
