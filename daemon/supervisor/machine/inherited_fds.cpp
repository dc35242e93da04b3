#include "daemon/supervisor/machine/inherited_fds.hpp"

#include <fcntl.h>
#include <fmt/format.h>

#include <cerrno>
#include <charconv>
#include <sstream>
#include <vector>

namespace vramswap {

std::string pass_on(const NamedFds& fds) {
  std::vector<std::string> items;
  for (const auto& [name, fd] : fds) {
    fcntl(fd.get(), F_SETFD, 0);
    items.push_back(fmt::format("{}={}", name, fd.get()));
  }
  return fmt::format("{}", fmt::join(items, ","));
}

Result<NamedFds> parse_passed_on(const std::string& text) {
  NamedFds fds;
  // With the comma at its end, an empty text is one item, too.
  std::istringstream items(text + ',');
  for (std::string item; std::getline(items, item, ',');) {
    const auto equals = item.find('=');
    const char* end = item.data() + item.size();
    int fd = -1;
    if (equals == std::string::npos ||
        std::from_chars(item.data() + equals + 1, end, fd).ptr != end ||
        fcntl(fd, F_SETFD, FD_CLOEXEC) != 0) {
      return fail(fmt::format("'{}': not a descriptor that was passed on", item));
    }
    fds[item.substr(0, equals)] = UniqueFd(fd);
  }
  return fds;
}

Result<UniqueFd> copy_of(const NamedFds& fds, const std::string& name) {
  const auto found = fds.find(name);
  if (found == fds.end() || !found->second) return UniqueFd();
  UniqueFd copy = found->second.duplicate();
  if (!copy) return fail_errno(name, "F_DUPFD_CLOEXEC", errno);
  return copy;
}

}  // namespace vramswap
