#include "daemon/worker/batch.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <ctime>

namespace vramswap {

using transmission::kPageBytes;
using transmission::kReplyBytes;
using transmission::kRequestBytes;
using transmission::Request;
using transmission::Verdict;

namespace {

// A READ may be all single-page runs; a piece of data ends where a chunk does.
constexpr std::size_t kMaxPages = Staging::kChunksPerConnection * Staging::kDataBytes / kPageBytes;
constexpr std::size_t kMaxPieces = Batch::kMaxReplies + Staging::kChunksPerConnection;

// Until the pages that another thread is writing are looked at again: about the time of a copy.
constexpr timespec kClaimPause{.tv_sec = 0, .tv_nsec = 50'000};

}  // namespace

Batch::Batch(Staging& staging, Claimant claimant)
    : staging_(staging), claimant_(std::move(claimant)), own_headers_(kMaxReplies * kReplyBytes) {
  writes_.reserve(kMaxReplies + 1);
  changes_.reserve(kMaxReplies + 1);
  reads_.reserve(kMaxPages);
  data_.reserve(kMaxPieces);
  replies_.reserve(kMaxReplies);
  wire_.reserve(kMaxReplies + kMaxPieces);
}

void Batch::clear() {
  writes_.clear();
  changes_.clear();
  trims_ = false;
  reads_.clear();
  data_.clear();
  replies_.clear();
  has_chunk_ = false;
  chunk_used_ = Staging::kDataBytes;
}

Batch::Collected Batch::collect(Connection& connection, std::span<std::byte> bytes) {
  const std::size_t offered = bytes.size();
  const auto stopped = [&](Stop why) { return Collected{offered - bytes.size(), why}; };
  take_waiting_reads(connection);
  for (;;) {
    // Room for one more reply is room for one more write, and for the rest of a pending one.
    if (replies_.size() == kMaxReplies) return stopped(Stop::batch_full);
    if (connection.pending) {
      bytes = bytes.subspan(take_payload(connection, bytes));
      if (connection.pending) return stopped(Stop::need_bytes);
      continue;
    }
    if (bytes.size() < kRequestBytes) return stopped(Stop::need_bytes);
    const auto request = transmission::decode_request(bytes.first<kRequestBytes>());
    if (!request) return stopped(Stop::broken);
    const auto judgement = transmission::judge(*request, connection.segment.store->size_bytes());
    if (judgement.verdict == Verdict::disconnect) return stopped(Stop::disconnect);
    if (judgement.verdict == Verdict::abandon) return stopped(Stop::broken);
    if (request->has_payload()) {
      connection.pending = {*request, 0, judgement.error};
    } else if (judgement.verdict == Verdict::refuse) {
      reply(request->cookie, judgement.error);
    } else if (request->command == NBD_CMD_READ) {
      // A READ goes by the page map as it is now, so it waits for the trims before it.
      if (trims_) return stopped(Stop::batch_full);
      if (!connection.waiting_reads.empty() || !take_read(connection, *request)) {
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
        trims_ = true;
      }
      // FLUSH and FUA: a write is in the store before it is answered, there is nothing to wait for.
      reply(request->cookie, 0);
    }
    bytes = bytes.subspan(kRequestBytes);
  }
}

// Whole pages only, so that a long write is stored as it arrives, page by page.
std::size_t Batch::take_payload(Connection& connection, std::span<std::byte> bytes) {
  auto& pending = *connection.pending;
  const std::size_t missing = pending.request.length - pending.received_bytes;
  std::size_t taken = std::min(missing, bytes.size());
  if (pending.error == 0) {
    taken -= taken % kPageBytes;
    if (taken > 0) {
      const std::uint64_t offset = pending.request.offset + pending.received_bytes;
      writes_.push_back({bytes.data(), connection.segment.store->address() + offset, taken});
      changes_.push_back({offset / kPageBytes, taken / kPageBytes, PageState::valid});
    }
  }
  pending.received_bytes += static_cast<std::uint32_t>(taken);
  if (pending.received_bytes == pending.request.length) {
    reply(pending.request.cookie, pending.error);
    connection.pending.reset();
  }
  return taken;
}

void Batch::take_waiting_reads(Connection& connection) {
  auto& waiting = connection.waiting_reads;
  std::size_t taken = 0;
  while (taken < waiting.size() && replies_.size() < kMaxReplies &&
         take_read(connection, waiting[taken])) {
    ++taken;
  }
  waiting.erase(waiting.begin(), waiting.begin() + static_cast<std::ptrdiff_t>(taken));
}

bool Batch::take_read(Connection& connection, const Request& request) {
  const PageMap& pages = *connection.segment.pages;
  if (pages.any(request.offset / kPageBytes, request.length / kPageBytes, PageState::lost)) {
    reply(request.cookie, EIO);
    return true;
  }
  const std::size_t room = Staging::kDataBytes - chunk_used_;
  const std::size_t more = request.length > room ? request.length - room : 0;
  const std::size_t chunks = (more + Staging::kDataBytes - 1) / Staging::kDataBytes;
  if (chunks > staging_.free_chunks() ||
      connection.lent.size() + chunks > Staging::kChunksPerConnection) {
    return false;
  }
  replies_.push_back({request.cookie, 0, data_.size(), 0});
  for (std::size_t done = 0; done < request.length;) {
    if (chunk_used_ == Staging::kDataBytes) {
      chunk_ = staging_.take();
      connection.lent.push_back(chunk_);
      chunk_used_ = 0;
      if (!has_chunk_) first_chunk_ = chunk_;
      has_chunk_ = true;
    }
    const std::size_t bytes = std::min(request.length - done, Staging::kDataBytes - chunk_used_);
    const auto piece = staging_.data(chunk_).subspan(chunk_used_, bytes);
    stage(connection, request.offset + done, piece);
    data_.push_back(piece);
    ++replies_.back().piece_count;
    chunk_used_ += bytes;
    done += bytes;
  }
  return true;
}

// Fills `piece` from `offset` on: zeros at once, stored bytes by the batch of copies.
void Batch::stage(Connection& connection, std::uint64_t offset, std::span<std::byte> piece) {
  const Segment& segment = connection.segment;
  while (!piece.empty()) {
    const std::uint64_t page = offset / kPageBytes;
    const std::size_t bytes =
        segment.pages->run_length(page, piece.size() / kPageBytes) * kPageBytes;
    if (segment.pages->at(page) == PageState::valid) {
      reads_.push_back({piece.data(), segment.store->address() + offset, bytes});
    } else {
      std::memset(piece.data(), 0, bytes);
    }
    offset += bytes;
    piece = piece.subspan(bytes);
  }
}

Result<Batch::Outcome> Batch::run(Connection& connection, Copier& copier) {
  if (!changes_.empty()) {
    Segment& segment = connection.segment;
    claim_pages(*segment.fence);
    // In this order: write_fence.hpp says why.
    if (is_given_up(connection.socket.get())) {
      release_pages(*segment.fence);
      return Outcome::given_up;
    }
    if (!writes_.empty()) {
      // A failure ends the worker, claims and all.
      if (auto result = copier.from_host(writes_); !result) return std::unexpected(result.error());
    }
    for (const Change& change : changes_) {
      segment.pages->set(change.first_page, change.page_count, change.state);
    }
    release_pages(*segment.fence);
  }
  if (!reads_.empty()) {
    if (auto result = copier.to_host(reads_); !result) return std::unexpected(result.error());
  }
  return Outcome::done;
}

// Nobody waits with pages claimed, so nobody waits for ever.
void Batch::claim_pages(WriteFence& fence) {
  while (!std::ranges::all_of(changes_, [&](const Change& change) {
    return fence.claim(change.first_page, change.page_count, claimant_);
  })) {
    release_pages(fence);
    nanosleep(&kClaimPause, nullptr);
  }
}

void Batch::release_pages(WriteFence& fence) {
  for (const Change& change : changes_) {
    fence.release(change.first_page, change.page_count, claimant_);
  }
}

Batch::Wire Batch::replies() {
  wire_.clear();
  std::span<std::byte> headers = has_chunk_ ? staging_.headers(first_chunk_) : own_headers_;
  for (const Reply& reply : replies_) {
    transmission::encode_reply(reply.cookie, reply.error, headers.first<kReplyBytes>());
    wire_.push_back({headers.data(), kReplyBytes});
    headers = headers.subspan(kReplyBytes);
    for (std::size_t i = 0; i < reply.piece_count; ++i) {
      const auto piece = data_[reply.first_piece + i];
      wire_.push_back({piece.data(), piece.size()});
    }
  }
  return {wire_, has_chunk_};
}

}  // namespace vramswap
