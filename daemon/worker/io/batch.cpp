#include "daemon/worker/io/batch.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <optional>

#include "daemon/worker/io/page_check.hpp"

namespace vramswap {

using transmission::Action;
using transmission::kReplyBytes;
using transmission::kRequestBytes;
using transmission::Request;

namespace {

static_assert(Staging::kReceiveBytes / kPageBytes <= Copier::kMaxPages);

bool is_zero(std::span<const std::byte, kPageBytes> page) {
  // Its first byte is zero, and each of the others equals the one before.
  return page[0] == std::byte{0} && std::memcmp(page.data(), page.data() + 1, page.size() - 1) == 0;
}

}  // namespace

Batch::Batch(Staging& staging, Claimant claimant, unsigned slot)
    : claimant_(std::move(claimant)),
      slot_(slot),
      reads_(staging, slot),
      non_read_headers_(kMaxReplies * kReplyBytes) {
  to_store_.reserve(Copier::kMaxPages);
  checksums_.reserve(Copier::kMaxPages);
  changes_.reserve(Copier::kMaxPages + kMaxReplies);
  non_read_requests_.reserve(kMaxReplies);
}

void Batch::clear() {
  connection_ = nullptr;
  started_ = false;
  to_store_.clear();
  to_store_bytes_ = 0;
  checksums_.clear();
  changes_.clear();
  reads_.clear();
  non_read_requests_.clear();
}

Batch::Collected Batch::collect(Connection& connection, std::span<std::byte> bytes,
                                const Batch* other) {
  connection_ = &connection;
  const bool others_change = other != nullptr && other->has_changes();
  const std::size_t offered = bytes.size();
  const auto stopped = [&](Stop why) { return Collected{offered - bytes.size(), why}; };
  const ReadResult waiting = collect_waiting_reads(others_change);
  if (waiting == ReadResult::batch_full) return stopped(Stop::batch_full);
  if (waiting == ReadResult::busy) return stopped(Stop::busy);
  // A change waits for earlier READs of its pages, or their bytes would not match the checksum.
  // Swap does not do that; a program that reads the device beside it does.
  const auto wait_for_reads = [&](const Request& change) -> std::optional<Stop> {
    if (reads_.overlap(change)) return Stop::batch_full;
    if (other != nullptr && other->reads_.overlap(change)) return Stop::busy;
    return std::nullopt;
  };
  for (;;) {
    // Room for one more reply is also room for the rest of a pending WRITE.
    if (reply_count() == kMaxReplies) return stopped(Stop::batch_full);
    if (connection.pending) {
      // Since it began, READs that waited for memory may have been collected.
      if (connection.pending->error == 0) {
        if (const auto stop = wait_for_reads(connection.pending->request)) return stopped(*stop);
      }
      bytes = bytes.subspan(collect_payload(bytes));
      if (connection.pending) return stopped(Stop::need_bytes);
      continue;
    }
    if (bytes.size() < kRequestBytes) return stopped(Stop::need_bytes);
    auto request = transmission::decode_request(bytes.first<kRequestBytes>());
    if (!request) return stopped(Stop::broken);
    request->received_at = connection.received_at;
    const auto validation =
        transmission::validate_request(*request, connection.segment.store->size_bytes());
    if (validation.action == Action::disconnect) return stopped(Stop::disconnect);
    if (validation.action == Action::abandon) return stopped(Stop::broken);
    // Copies within a batch have no order, so a page is written once. The kernel does not send two
    // WRITEs of a page at a time.
    if (request->has_payload() && changes(*request)) return stopped(Stop::batch_full);
    if (request->command != NBD_CMD_READ) {
      if (const auto stop = wait_for_reads(*request)) return stopped(*stop);
    }
    if (request->has_payload()) {
      connection.pending = {*request, 0, validation.error};
    } else if (validation.action == Action::refuse) {
      reply(*request, validation.error);
    } else if (request->command == NBD_CMD_READ) {
      const ReadResult result = connection.waiting_reads.empty()
                                    ? collect_read(*request, others_change)
                                    : ReadResult::no_staging;
      if (result == ReadResult::busy) return stopped(Stop::busy);
      if (result == ReadResult::batch_full) return stopped(Stop::batch_full);
      if (result == ReadResult::no_staging) {
        if (connection.waiting_reads.size() == Connection::kMaxWaitingReads) {
          return stopped(Stop::broken);
        }
        connection.waiting_reads.push_back(*request);
      }
    } else {
      if (request->command != NBD_CMD_FLUSH) {
        // TRIM and WRITE_ZEROES: an empty page reads as zeros, even if the store still holds bytes.
        changes_.push_back(
            {request->offset / kPageBytes, request->length / kPageBytes, PageState::empty});
      }
      // FLUSH and FUA: a WRITE is in the store before it is answered, so there is nothing to do.
      reply(*request, 0);
    }
    bytes = bytes.subspan(kRequestBytes);
  }
}

bool Batch::changes(const Request& request) const {
  const std::uint64_t first = request.offset / kPageBytes;
  const std::uint64_t end = first + request.length / kPageBytes;
  return std::ranges::any_of(changes_, [&](const Change& change) {
    return change.first_page < end && first < change.first_page + change.page_count;
  });
}

// Consumes whole pages only, so that a long WRITE is stored page by page as it arrives.
std::size_t Batch::collect_payload(std::span<std::byte> bytes) {
  auto& pending = *connection_->pending;
  const std::size_t missing = pending.request.length - pending.received_bytes;
  std::size_t consumed = std::min(missing, bytes.size());
  if (pending.error == 0) {
    consumed -= consumed % kPageBytes;
    store_pages(pending.request.offset + pending.received_bytes, bytes.first(consumed));
  }
  pending.received_bytes += static_cast<std::uint32_t>(consumed);
  if (pending.received_bytes == pending.request.length) {
    reply(pending.request, pending.error);
    connection_->pending.reset();
  }
  return consumed;
}

// Zeros need no place in the store: they become empty pages.
void Batch::store_pages(std::uint64_t offset, std::span<std::byte> pages) {
  const std::uint64_t address = connection_->segment.store->address();
  for (std::size_t done = 0; done < pages.size();) {
    const auto zero_at = [&](std::size_t at) {
      return is_zero(pages.subspan(at).first<kPageBytes>());
    };
    const bool zero = zero_at(done);
    std::size_t end = done + kPageBytes;
    while (end < pages.size() && zero_at(end) == zero) end += kPageBytes;
    changes_.push_back({(offset + done) / kPageBytes, (end - done) / kPageBytes,
                        zero ? PageState::empty : PageState::valid});
    if (!zero) {
      for (std::size_t at = done; at < end; at += kPageBytes) {
        checksums_.push_back(page_checksum(pages.subspan(at).first<kPageBytes>()));
      }
      to_store_.push_back({pages.data() + done, address + offset + done, end - done});
      to_store_bytes_ += end - done;
    }
    done = end;
  }
}

// The result says why the first of the READs that are left could not be collected.
Batch::ReadResult Batch::collect_waiting_reads(bool others_change) {
  auto& waiting = connection_->waiting_reads;
  auto result = ReadResult::collected;
  auto next = waiting.begin();
  while (next != waiting.end() && result == ReadResult::collected) {
    result =
        reply_count() < kMaxReplies ? collect_read(*next, others_change) : ReadResult::batch_full;
    if (result == ReadResult::collected) ++next;
  }
  waiting.erase(waiting.begin(), next);
  return result;
}

Batch::ReadResult Batch::collect_read(const Request& request, bool others_change) {
  const std::uint64_t first = request.offset / kPageBytes;
  const std::uint64_t count = request.length / kPageBytes;
  // A READ uses the page map and the store as they are now, so it must wait until earlier changes
  // of its pages are done. The kernel does not send a READ while a change of the page is
  // unanswered.
  if (changes(request)) return ReadResult::batch_full;
  const ServedSegment& segment = connection_->segment;
  if (others_change && segment.fence->any_claimed(first, count)) return ReadResult::busy;
  if (segment.pages->any(first, count, PageState::lost)) {
    reply(request, EIO);
    return ReadResult::collected;
  }
  switch (reads_.add(*connection_, request)) {
    case ReadReplies::Added::batch_full:
      return ReadResult::batch_full;
    case ReadReplies::Added::no_staging:
      return ReadResult::no_staging;
    case ReadReplies::Added::yes:
      break;
  }
  return ReadResult::collected;
}

Result<Batch::Outcome> Batch::start(Copier& copier) {
  if (!changes_.empty()) {
    if (!claim_pages()) {
      release_pages();
      return Outcome::waiting;
    }
    // The order matters: see write_fence.hpp.
    if (peer_has_shut_down(connection_->socket.get())) {
      release_pages();
      return Outcome::given_up;
    }
    begin_changes();
  }
  if (!reads_.copies().empty()) {
    if (auto result = copier.begin(Direction::to_host, slot_, reads_.copies()); !result) {
      return result.error();
    }
  }
  if (!to_store_.empty()) {
    // A failure ends the worker, so its claims need no release.
    if (auto result = copier.begin(Direction::from_host, slot_, to_store_); !result) {
      return result.error();
    }
  }
  started_ = true;
  return Outcome::started;
}

// Should the worker die before finish_changes(), the next one knows that the checksums of these
// pages say nothing.
void Batch::begin_changes() {
  ServedSegment& segment = connection_->segment;
  for (const Change& change : changes_) {
    if (change.state != PageState::valid) continue;
    segment.leave_states(change.first_page, change.page_count);
    segment.pages->set(change.first_page, change.page_count, PageState::changing);
  }
}

Result<void> Batch::finish_changes(Copier& copier) {
  if (!to_store_.empty()) {
    auto result = copier.wait(Direction::from_host, slot_, to_store_.size());
    if (!result) return result;
  }
  ServedSegment& segment = connection_->segment;
  auto checksum = checksums_.begin();
  for (const Change& change : changes_) {
    if (change.state != PageState::valid) {
      segment.leave_states(change.first_page, change.page_count);
      segment.pages->set(change.first_page, change.page_count, change.state);
      continue;
    }
    for (std::uint64_t i = 0; i < change.page_count; ++i) {
      segment.pages->set_valid(change.first_page + i, *checksum++);
    }
  }
  release_pages();
  return {};
}

bool Batch::claim_pages() {
  return std::ranges::all_of(changes_, [&](const Change& change) {
    return connection_->segment.fence->claim(change.first_page, change.page_count, claimant_);
  });
}

void Batch::release_pages() {
  for (const Change& change : changes_) {
    connection_->segment.fence->release(change.first_page, change.page_count, claimant_);
  }
}

std::span<iovec> Batch::early_header(Connection& connection) {
  if (reads_.count() != 1 || !non_read_requests_.empty() || has_changes() ||
      reads_.copies().empty() || reads_.has_changing_pages() || connection.segment.is_suspect()) {
    return {};
  }
  return reads_.early_header(connection);
}

Result<std::span<iovec>> Batch::next_read_replies(Connection& connection, Copier& copier) {
  return reads_.next(connection, copier, claimant_);
}

std::span<iovec> Batch::non_read_replies(Connection& connection) {
  std::span<std::byte> headers = non_read_headers_;
  for (const auto& [request, error] : non_read_requests_) {
    transmission::encode_reply(request.cookie, error, headers.first<kReplyBytes>());
    headers = headers.subspan(kReplyBytes);
  }
  // The headers are adjacent, so one iovec holds them all.
  const std::size_t bytes = non_read_requests_.size() * kReplyBytes;
  connection.sent_bytes += bytes;
  non_read_wire_ = {non_read_headers_.data(), bytes};
  return {&non_read_wire_, bytes > 0 ? 1U : 0U};
}

}  // namespace vramswap
