// The program that takes this one's place: the one that is installed now.
#pragma once

#include <string>

#include "daemon/supervisor/asio.hpp"
#include "daemon/supervisor/machine/inherited_fds.hpp"

namespace vramswap {

class Successor {
 public:
  virtual ~Successor() = default;

  // Where it was when this process began: an upgrade puts another file there.
  virtual std::string path() const = 0;
  // An error: the installed program cannot take over what a program of this version of the handover
  // has up, and says why.
  virtual awaitable<Result<void>> ask_to_take_over(int handover_version) = 0;
  // Has this process run the installed program, which inherits `fds`. Returns only if it cannot.
  virtual Error become(NamedFds fds) = 0;
};

}  // namespace vramswap
