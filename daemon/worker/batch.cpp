#include "daemon/worker/batch.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace vramswap {

using transmission::kPageBytes;
using transmission::kReplyBytes;
using transmission::kRequestBytes;
using transmission::Request;
using transmission::Verdict;

namespace {

// A piece of data ends where a chunk does.
constexpr std::size_t kMaxPieces = Batch::kMaxReplies + Staging::kChunksPerConnection;

static_assert(Staging::kChunksPerConnection * Staging::kDataBytes / kPageBytes <=
              Copier::kMaxPages);
static_assert(Staging::kReceiveBytes / kPageBytes <= Copier::kMaxPages);

bool is_zero(std::span<const std::byte, kPageBytes> page) {
  // Its first byte is zero, and each of the others equals the one before.
  return page[0] == std::byte{0} && std::memcmp(page.data(), page.data() + 1, page.size() - 1) == 0;
}

}  // namespace

Batch::Batch(Staging& staging, Claimant claimant, unsigned slot)
    : staging_(staging),
      claimant_(std::move(claimant)),
      slot_(slot),
      other_headers_(kMaxReplies * kReplyBytes) {
  to_store_.reserve(Copier::kMaxPages);
  changes_.reserve(Copier::kMaxPages + kMaxReplies);
  to_host_.reserve(Copier::kMaxPages);
  reads_.reserve(kMaxReplies);
  data_.reserve(kMaxPieces);
  other_replies_.reserve(kMaxReplies);
  wire_.reserve(kMaxReplies + kMaxPieces);
  chunks_.reserve(Staging::kChunksPerConnection);
}

void Batch::clear() {
  if (!chunks_.empty()) {
    for (const Staging::Chunk chunk : chunks_) staging_.give_back(chunk);
    connection_->unsent_chunks -= chunks_.size();
    chunks_.clear();
  }
  connection_ = nullptr;
  started_ = false;
  to_store_.clear();
  changes_.clear();
  to_host_.clear();
  reads_.clear();
  data_.clear();
  other_replies_.clear();
  chunk_used_ = Staging::kDataBytes;
}

Batch::Collected Batch::collect(Connection& connection, std::span<std::byte> bytes,
                                bool others_change) {
  connection_ = &connection;
  const std::size_t offered = bytes.size();
  const auto stopped = [&](Stop why) { return Collected{offered - bytes.size(), why}; };
  take_waiting_reads(others_change);
  for (;;) {
    // Room for one more reply is room for the rest of a pending WRITE, too.
    if (reply_count() == kMaxReplies) return stopped(Stop::batch_full);
    if (connection.pending) {
      bytes = bytes.subspan(take_payload(bytes));
      if (connection.pending) return stopped(Stop::need_bytes);
      continue;
    }
    if (bytes.size() < kRequestBytes) return stopped(Stop::need_bytes);
    const auto request = transmission::decode_request(bytes.first<kRequestBytes>());
    if (!request) return stopped(Stop::broken);
    const auto judgement = transmission::judge(*request, connection.segment.store->size_bytes());
    if (judgement.verdict == Verdict::disconnect) return stopped(Stop::disconnect);
    if (judgement.verdict == Verdict::abandon) return stopped(Stop::broken);
    // WRITEs of one page are copied in no order. The kernel does not send such.
    if (request->has_payload() && changes(*request)) return stopped(Stop::batch_full);
    if (request->has_payload()) {
      connection.pending = {*request, 0, judgement.error};
    } else if (judgement.verdict == Verdict::refuse) {
      other_replies_.push_back({request->cookie, judgement.error});
    } else if (request->command == NBD_CMD_READ) {
      const Taken taken =
          connection.waiting_reads.empty() ? take_read(*request, others_change) : Taken::no_staging;
      if (taken == Taken::changing) return stopped(Stop::busy);
      if (taken == Taken::changing_here) return stopped(Stop::batch_full);
      if (taken == Taken::no_staging) {
        if (connection.waiting_reads.size() == Connection::kMaxWaitingReads) {
          return stopped(Stop::broken);
        }
        connection.waiting_reads.push_back(*request);
      }
    } else {
      if (request->command != NBD_CMD_FLUSH) {
        // TRIM and WRITE_ZEROES: an empty page reads as zeros, whatever the store still holds.
        changes_.push_back(
            {request->offset / kPageBytes, request->length / kPageBytes, PageState::empty});
      }
      // FLUSH and FUA: a write is in the store before it is answered, there is nothing to wait for.
      other_replies_.push_back({request->cookie, 0});
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

// Whole pages only, so that a long write is stored as it arrives, page by page.
std::size_t Batch::take_payload(std::span<std::byte> bytes) {
  auto& pending = *connection_->pending;
  const std::size_t missing = pending.request.length - pending.received_bytes;
  std::size_t taken = std::min(missing, bytes.size());
  if (pending.error == 0) {
    taken -= taken % kPageBytes;
    take_pages(pending.request.offset + pending.received_bytes, bytes.first(taken));
  }
  pending.received_bytes += static_cast<std::uint32_t>(taken);
  if (pending.received_bytes == pending.request.length) {
    other_replies_.push_back({pending.request.cookie, pending.error});
    connection_->pending.reset();
  }
  return taken;
}

// Zeros need no place in the store: they become empty pages.
void Batch::take_pages(std::uint64_t offset, std::span<std::byte> pages) {
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
    if (!zero) to_store_.push_back({pages.data() + done, address + offset + done, end - done});
    done = end;
  }
}

void Batch::take_waiting_reads(bool others_change) {
  auto& waiting = connection_->waiting_reads;
  std::size_t taken = 0;
  while (taken < waiting.size() && reply_count() < kMaxReplies &&
         take_read(waiting[taken], others_change) == Taken::yes) {
    ++taken;
  }
  waiting.erase(waiting.begin(), waiting.begin() + static_cast<std::ptrdiff_t>(taken));
}

Batch::Taken Batch::take_read(const Request& request, bool others_change) {
  const std::uint64_t first = request.offset / kPageBytes;
  const std::uint64_t count = request.length / kPageBytes;
  // A READ goes by the page map and the store as they are now, so it waits for changes before it.
  // The kernel does not send one while a change of the same page is unanswered.
  if (changes(request)) return Taken::changing_here;
  const Segment& segment = connection_->segment;
  if (others_change && segment.fence->any_claimed(first, count)) return Taken::changing;
  if (segment.pages->any(first, count, PageState::lost)) {
    other_replies_.push_back({request.cookie, EIO});
    return Taken::yes;
  }
  const std::size_t room = Staging::kDataBytes - chunk_used_;
  const std::size_t more = request.length > room ? request.length - room : 0;
  const std::size_t chunks = (more + Staging::kDataBytes - 1) / Staging::kDataBytes;
  if (chunks > staging_.free_chunks() ||
      connection_->lent.size() + connection_->unsent_chunks + chunks >
          Staging::kChunksPerConnection) {
    return Taken::no_staging;
  }
  reads_.push_back({request.cookie, data_.size(), 0});
  for (std::size_t done = 0; done < request.length;) {
    if (chunk_used_ == Staging::kDataBytes) {
      chunks_.push_back(staging_.take());
      ++connection_->unsent_chunks;
      chunk_used_ = 0;
    }
    const std::size_t bytes = std::min(request.length - done, Staging::kDataBytes - chunk_used_);
    const auto piece = staging_.data(chunks_.back()).subspan(chunk_used_, bytes);
    stage(request.offset + done, piece);
    data_.push_back(piece);
    ++reads_.back().piece_count;
    chunk_used_ += bytes;
    done += bytes;
  }
  return Taken::yes;
}

// Fills `piece` from `offset` on: zeros at once, stored bytes by the batch of copies.
void Batch::stage(std::uint64_t offset, std::span<std::byte> piece) {
  const Segment& segment = connection_->segment;
  while (!piece.empty()) {
    const std::uint64_t page = offset / kPageBytes;
    const std::size_t bytes =
        segment.pages->run_length(page, piece.size() / kPageBytes) * kPageBytes;
    if (segment.pages->at(page) == PageState::valid) {
      to_host_.push_back({piece.data(), segment.store->address() + offset, bytes});
    } else {
      std::memset(piece.data(), 0, bytes);
    }
    offset += bytes;
    piece = piece.subspan(bytes);
  }
}

Result<Batch::Outcome> Batch::start(Copier& copier) {
  if (!changes_.empty()) {
    if (!claim_pages()) {
      release_pages();
      return Outcome::waiting;
    }
    // In this order: write_fence.hpp says why.
    if (is_given_up(connection_->socket.get())) {
      release_pages();
      return Outcome::given_up;
    }
  }
  if (!to_host_.empty()) {
    if (auto result = copier.begin(Direction::to_host, slot_, to_host_); !result) {
      return std::unexpected(result.error());
    }
  }
  if (!to_store_.empty()) {
    // A failure ends the worker, claims and all.
    if (auto result = copier.begin(Direction::from_host, slot_, to_store_); !result) {
      return std::unexpected(result.error());
    }
  }
  started_ = true;
  return Outcome::started;
}

Result<void> Batch::finish_reads(Copier& copier) {
  if (to_host_.empty()) return {};
  return copier.finish(Direction::to_host, slot_);
}

Result<void> Batch::finish_changes(Copier& copier) {
  if (!to_store_.empty()) {
    if (auto result = copier.finish(Direction::from_host, slot_); !result) return result;
  }
  for (const Change& change : changes_) {
    connection_->segment.pages->set(change.first_page, change.page_count, change.state);
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

std::span<iovec> Batch::read_replies(Connection& connection) {
  wire_.clear();
  if (reads_.empty()) return wire_;
  std::span<std::byte> headers = staging_.headers(chunks_.front());
  for (const Read& read : reads_) {
    transmission::encode_reply(read.cookie, 0, headers.first<kReplyBytes>());
    wire_.push_back({headers.data(), kReplyBytes});
    headers = headers.subspan(kReplyBytes);
    for (const auto piece : std::span(data_).subspan(read.first_piece, read.piece_count)) {
      wire_.push_back({piece.data(), piece.size()});
    }
  }
  for (const iovec& piece : wire_) connection.sent_bytes += piece.iov_len;
  // The first one holds the headers of all, and so is in use to the end.
  for (const Staging::Chunk chunk : chunks_) {
    connection.lent.push_back({chunk, connection.sent_bytes});
  }
  connection.unsent_chunks -= chunks_.size();
  chunks_.clear();
  return wire_;
}

std::span<iovec> Batch::other_replies(Connection& connection) {
  wire_.clear();
  std::span<std::byte> headers = other_headers_;
  for (const Other& reply : other_replies_) {
    transmission::encode_reply(reply.cookie, reply.error, headers.first<kReplyBytes>());
    headers = headers.subspan(kReplyBytes);
  }
  // They lie one behind the other.
  const std::size_t bytes = other_replies_.size() * kReplyBytes;
  if (bytes > 0) wire_.push_back({other_headers_.data(), bytes});
  connection.sent_bytes += bytes;
  return wire_;
}

}  // namespace vramswap
