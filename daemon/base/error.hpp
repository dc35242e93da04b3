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
  // The errno behind it; 0 where there is none.
  int code = 0;
};

// A value, or the error that stands in its place. The compiler warns of one that nobody looks at.
// It converts from an Error, so `return other.error();` passes a failure on, and from the errors of
// the libraries that have a type of their own (netlink's code is an errno, CUDA's is not).
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

// A failed Result in one word, for `return fail("...")`.
std::unexpected<Error> fail(std::string message);
std::unexpected<Error> fail_errno(std::string_view object, std::string_view operation, int code);

}  // namespace vramswap
