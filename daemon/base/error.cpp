#include "daemon/base/error.hpp"

#include <fmt/format.h>

#include <cstring>
#include <utility>

namespace vramswap {

Error errno_error(std::string_view object, std::string_view operation, int code) {
  const char* name = strerrorname_np(code);
  return {fmt::format("{}: {}: {} ({})", object, operation, name ? name : "errno", strerror(code)),
          code};
}

std::unexpected<Error> fail(std::string message) {
  return std::unexpected(Error{std::move(message)});
}

std::unexpected<Error> fail_errno(std::string_view object, std::string_view operation, int code) {
  return std::unexpected(errno_error(object, operation, code));
}

}  // namespace vramswap
