// The effect that a stream of NBD requests must have on a device, and the right answer to each.
// Written from the protocol, request by request, without any code of the worker.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "daemon/base/page_size.hpp"

namespace vramswap::fuzz {

struct PageContent {
  enum class Kind { zeros, bytes, failing };  // failing: a READ of it gets EIO
  Kind kind = Kind::zeros;
  const std::byte* bytes = nullptr;

  bool is(std::span<const std::byte> page) const;
};

struct ModelRequest {
  bool is_read = false;
  std::uint32_t error = 0;  // for all but READs that are served
  std::uint64_t first_page = 0;
  std::uint64_t page_count = 0;
  // Set by the caller.
  bool has_waited = false;
  bool is_answered = false;
};

class NbdModel {
 public:
  enum class End { open, disconnect, broken };

  explicit NbdModel(std::uint64_t page_count) : histories_(page_count) {}

  // The page's content before the first request.
  void set_failing(std::uint64_t page);
  // Applies the whole stream, which must stay in place, and writes each request's number into it as
  // the cookie.
  void apply(std::span<std::byte> stream);

  std::vector<ModelRequest>& requests() { return requests_; }  // the complete ones
  End end() const { return end_; }
  PageContent content(std::uint64_t page) const { return before(page, ~std::size_t{0}); }
  bool is_touched(std::uint64_t page) const { return !histories_[page].empty(); }
  // Whether `data` answers the READ. One that has waited for memory may see what came behind it.
  bool may_be_answered_with(std::size_t read, std::span<const std::byte> data) const;
  bool may_fail(std::size_t read) const;

 private:
  struct Change {
    std::size_t request;  // it follows this many requests
    PageContent content;
  };

  std::size_t apply_request(std::span<std::byte> stream);
  PageContent before(std::uint64_t page, std::size_t request) const;
  template <class Predicate>
  bool any_content(std::uint64_t page, std::size_t read, Predicate predicate) const;

  std::vector<std::vector<Change>> histories_;  // of each page
  std::vector<ModelRequest> requests_;
  End end_ = End::open;
};

}  // namespace vramswap::fuzz
