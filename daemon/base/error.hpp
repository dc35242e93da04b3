// Runtime failures as values: what was tried, on what, and what the system answered.
#pragma once

#include <expected>
#include <string>
#include <string_view>

namespace vramswap {

struct Error {
  // One line, complete for a person: "nbd3: RECONFIGURE: EINVAL (backend mismatch)".
  std::string message;
  // The errno behind it; 0 where there is none.
  int code = 0;
};

template <class T>
using Result = std::expected<T, Error>;

// "OBJECT: OPERATION: EINVAL (Invalid argument)". `code` is a positive errno.
Error errno_error(std::string_view object, std::string_view operation, int code);

// A failed Result in one word, for `return fail("...")`.
std::unexpected<Error> fail(std::string message);
std::unexpected<Error> fail_errno(std::string_view object, std::string_view operation, int code);

}  // namespace vramswap
