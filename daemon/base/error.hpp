// Runtime failures as values: what was tried, on what, and what the system answered.
#pragma once

#include <concepts>
#include <expected>
#include <string>
#include <string_view>
#include <utility>

namespace vramswap {

struct Error {
  // One line, complete for a person: "nbd3: RECONFIGURE: EINVAL (backend mismatch)".
  std::string message;
  // The errno that caused it; 0: none did.
  int code = 0;
};

// A value or an error. The compiler warns if the caller ignores it. An Error converts to it, so
// `return other.error();` passes a failure on. So do the error types of netlink, whose code is an
// errno, and of cuda, whose code is not.
template <class T>
class [[nodiscard]] Result : public std::expected<T, Error> {
  using Base = std::expected<T, Error>;

 public:
  using Base::Base;
  Result() = default;
  Result(Error error) : Base(std::unexpect, std::move(error)) {}
  template <class Foreign>
  requires requires(const Foreign& error) {
    { error.message() } -> std::same_as<std::string>;
    error.code;
  }
  Result(const Foreign& error) : Base(std::unexpect, Error{error.message()}) {
    if constexpr (std::same_as<decltype(error.code), int>) this->error().code = error.code;
  }
};

// "OBJECT: OPERATION: EINVAL (Invalid argument)". `code` is a positive errno.
Error errno_error(std::string_view object, std::string_view operation, int code);

// Makes a failed Result: `return fail("...");`.
std::unexpected<Error> fail(std::string message);
std::unexpected<Error> fail_errno(std::string_view object, std::string_view operation, int code);

}  // namespace vramswap
