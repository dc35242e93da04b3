// The environment of a worker. A worker is to find the same card and the same driver whoever has
// started the daemon.
#pragma once

#include <string>
#include <vector>

namespace vramswap {

// NAME=VALUE each: those of `environment`, which ends with a null pointer, without what the CUDA
// driver and the dynamic loader read, and with
// - CUDA_DEVICE_ORDER, by which the driver counts cards as nvidia-smi does;
// - CUDA_MPS_PIPE_DIRECTORY, a folder that nobody makes: the worker does not become a client of an
//   MPS server, whose end would be its own.
std::vector<std::string> worker_environment(const char* const* environment);

}  // namespace vramswap
