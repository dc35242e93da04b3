// What tells one pool from another: the swap of this machine, or a scratch segment to measure on.
#pragma once

#include <cstdint>
#include <functional>
#include <random>
#include <string>

#include "daemon/system/host_memory.hpp"

namespace vramswap {

struct PoolOptions {
  // Workers listen here for a supervisor that follows a dead one.
  std::string runtime_directory;
  // The backend identifiers of the pool's devices begin with it.
  std::string device_prefix;
  // I/O threads and connections where the request names no number.
  unsigned default_connections = 1;
  // False: the devices stay without swap.
  bool makes_swap_area = true;
  // False: a worker that has to start waits for memory like anybody else.
  bool keeps_reserve = true;
  // Another `up` or `down` waits for the one in progress. False: it is refused.
  bool waits_for_operation = false;
  // What `up` answers while the pool is up; empty: how large it is and on which devices.
  std::string up_already = {};
  // For the identifiers of the devices of a new pool: tells them from those of others.
  std::function<std::uint32_t()> make_pool_id = [] { return std::random_device{}(); };
  // Tests that have no privileges take swappable memory.
  HostMemory page_map_memory = HostMemory::unswappable;
};

}  // namespace vramswap
