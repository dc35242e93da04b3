#include "tests/fuzz/nbd_model.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "tests/support/kernel_peer.hpp"

namespace vramswap::fuzz {
namespace {

constexpr std::size_t kHeaderBytes = 28;
constexpr std::uint64_t kMaxTransfer = 1 << 20;
constexpr std::uint64_t kMaxPayload = 64 << 20;

using load::Command;

std::uint64_t big_endian(std::span<const std::byte> bytes) {
  std::uint64_t value = 0;
  for (const std::byte byte : bytes) value = value << 8 | static_cast<std::uint64_t>(byte);
  return value;
}

std::uint32_t error_of(Command command, std::uint64_t offset, std::uint64_t length,
                       std::uint64_t export_bytes) {
  const bool is_transfer = command == Command::read || command == Command::write;
  if (!is_transfer && command != Command::trim && command != Command::write_zeroes) return EINVAL;
  if (length == 0 || length % kPageBytes != 0 || offset % kPageBytes != 0) return EINVAL;
  if (is_transfer && length > kMaxTransfer) return EINVAL;
  if (length <= export_bytes && offset <= export_bytes - length) return 0;
  return command == Command::write || command == Command::write_zeroes ? ENOSPC : EINVAL;
}

}  // namespace

bool PageContent::is(std::span<const std::byte> page) const {
  if (kind == Kind::failing) return false;
  if (kind == Kind::bytes) return std::memcmp(page.data(), bytes, kPageBytes) == 0;
  static constexpr std::byte kZeros[kPageBytes] = {};
  return std::memcmp(page.data(), kZeros, kPageBytes) == 0;
}

void NbdModel::set_failing(std::uint64_t page) {
  histories_[page].assign({{0, {PageContent::Kind::failing}}});
}

void NbdModel::apply(std::span<std::byte> stream) {
  while (end_ == End::open && stream.size() >= kHeaderBytes) {
    stream = stream.subspan(apply_request(stream));
  }
}

// Returns its length.
std::size_t NbdModel::apply_request(std::span<std::byte> stream) {
  const auto command = static_cast<Command>(big_endian(stream.subspan(6, 2)));
  const std::uint64_t offset = big_endian(stream.subspan(16, 8));
  const std::uint64_t length = big_endian(stream.subspan(24, 4));
  if (big_endian(stream.first(4)) != 0x25609513) {
    end_ = End::broken;
    return 0;
  }
  const std::uint64_t number = requests_.size();
  std::memcpy(stream.data() + 8, &number, sizeof number);
  if (command == Command::disconnect || (command == Command::write && length > kMaxPayload)) {
    end_ = command == Command::disconnect ? End::disconnect : End::broken;
    return 0;
  }
  const auto payload = stream.subspan(
      kHeaderBytes,
      command == Command::write ? std::min<std::size_t>(length, stream.size() - kHeaderBytes) : 0);
  ModelRequest request;
  if (command != Command::flush) {
    request.error = error_of(command, offset, length, histories_.size() * kPageBytes);
    if (request.error == 0) {
      request.is_read = command == Command::read;
      request.first_page = offset / kPageBytes;
      request.page_count = length / kPageBytes;
    }
  }
  for (std::uint64_t i = 0; i < request.page_count && !request.is_read; ++i) {
    PageContent content;
    if (command == Command::write) {
      // Of a WRITE that is cut off, the whole pages are stored.
      if (payload.size() < (i + 1) * kPageBytes) break;
      content = {PageContent::Kind::bytes, payload.data() + i * kPageBytes};
    }
    histories_[request.first_page + i].push_back({requests_.size(), content});
  }
  // One that is cut off is the last, and gets no answer.
  if (command != Command::write || payload.size() == length) requests_.push_back(request);
  return kHeaderBytes + payload.size();
}

PageContent NbdModel::before(std::uint64_t page, std::size_t request) const {
  PageContent content;
  for (const Change& change : histories_[page]) {
    if (change.request < request || change.content.kind == PageContent::Kind::failing) {
      content = change.content;
    }
  }
  return content;
}

template <class Predicate>
bool NbdModel::any_content(std::uint64_t page, std::size_t read, Predicate predicate) const {
  if (predicate(before(page, read))) return true;
  return requests_[read].has_waited &&
         std::ranges::any_of(histories_[page], [&](const Change& change) {
           return change.request > read && predicate(change.content);
         });
}

bool NbdModel::may_be_answered_with(std::size_t read, std::span<const std::byte> data) const {
  const ModelRequest& request = requests_[read];
  for (std::uint64_t i = 0; i < request.page_count; ++i) {
    const auto page = data.subspan(i * kPageBytes, kPageBytes);
    if (!any_content(request.first_page + i, read, [&](const auto& it) { return it.is(page); })) {
      return false;
    }
  }
  return true;
}

bool NbdModel::may_fail(std::size_t read) const {
  const ModelRequest& request = requests_[read];
  for (std::uint64_t i = 0; i < request.page_count; ++i) {
    if (any_content(request.first_page + i, read,
                    [](const auto& it) { return it.kind == PageContent::Kind::failing; })) {
      return true;
    }
  }
  return false;
}

}  // namespace vramswap::fuzz
