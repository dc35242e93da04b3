// Descriptors that outlive the supervisor, each with a name. The service manager keeps them for
// when supervisor and workers die together; these two carry them across exec, when the program is
// replaced.
#pragma once

#include <map>
#include <string>

#include "daemon/base/error.hpp"
#include "daemon/base/unique_fd.hpp"

namespace vramswap {

using NamedFds = std::map<std::string, UniqueFd>;

// "pool=5,store-0=6": makes them survive exec.
std::string pass_on(const NamedFds& fds);
// In the new program: the descriptors that such a text names. An error: it names one that is not
// open.
Result<NamedFds> parse_passed_on(const std::string& text);

// A copy of the one of that name. Empty where there is none.
Result<UniqueFd> copy_of(const NamedFds& fds, const std::string& name);

}  // namespace vramswap
