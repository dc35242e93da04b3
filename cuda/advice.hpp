// Advice for a driver or a GPU that cannot be used, in errors and in `vramswap doctor`.
#pragma once

namespace vramswap::cuda {

inline constexpr const char* kNoLibraryAdvice =
    "install the NVIDIA driver's libcuda (Debian: libcuda1, Ubuntu: libnvidia-compute of the "
    "driver's series)";
inline constexpr const char* kTooOldAdvice = "the driver is too old: 470 or newer is needed";
inline constexpr const char* kMismatchAdvice =
    "libcuda and the loaded nvidia kernel module are of different versions: reboot after a driver "
    "upgrade";
inline constexpr const char* kUnknownErrorAdvice =
    "often the nvidia-uvm module is missing: try modprobe nvidia-uvm and see the kernel log";
inline constexpr const char* kNoExportAdvice =
    "this driver cannot share memory between processes (WSL2's cannot): use another GPU";
inline constexpr const char* kComputeModeAdvice =
    "check with nvidia-smi whether its compute mode is exclusive or prohibited";

}  // namespace vramswap::cuda
