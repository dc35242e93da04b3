// The files that a worker loads to use a GPU, as open files. A later worker loads the same ones,
// even if a package manager has replaced them.
#pragma once

#include <string>

#include "daemon/base/unique_fd.hpp"

namespace vramswap {

struct DriverFiles {
  std::string path;      // where the dynamic loader found the driver; empty: not known yet
  UniqueFd library;      // the driver; empty: it is found by its name
  UniqueFd page_kernel;  // code that the driver has compiled; empty: the driver compiles it now
};

}  // namespace vramswap
