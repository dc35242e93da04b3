#include "daemon/system/own_program.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

#include "daemon/base/unique_fd.hpp"

namespace vramswap {

Result<int> own_program() {
  static const UniqueFd program(open("/proc/self/exe", O_RDONLY | O_CLOEXEC));
  if (!program) return fail_errno("/proc/self/exe", "open", errno);
  return program.get();
}

Error execute(int program, const std::vector<std::string>& arguments) {
  std::vector<char*> words;
  for (const std::string& argument : arguments)
    words.push_back(const_cast<char*>(argument.c_str()));
  words.push_back(nullptr);
  execveat(program, "", words.data(), environ, AT_EMPTY_PATH);
  return errno_error("program", "execveat", errno);
}

}  // namespace vramswap
