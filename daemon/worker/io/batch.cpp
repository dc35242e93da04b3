#include "daemon/worker/io/batch.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace vramswap {

using transmission::Action;
using transmission::kReplyBytes;
using transmission::kRequestBytes;
using transmission::Request;

namespace {

// Where there is more to read, another batch begins, so that one is copied while the other is sent.
constexpr std::size_t kManyChunks = 8;

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
  answered_reads_.reserve(kMaxReplies);
  non_read_requests_.reserve(kMaxReplies);
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
  header_sent_ = false;
  bytes_ = 0;
  to_store_.clear();
  changes_.clear();
  to_host_.clear();
  reads_.clear();
  data_.clear();
  answered_reads_.clear();
  non_read_requests_.clear();
  chunk_used_ = Staging::kDataBytes;
  replied_reads_ = 0;
  replied_pieces_ = 0;
}

Batch::Collected Batch::collect(Connection& connection, std::span<std::byte> bytes,
                                bool others_change) {
  connection_ = &connection;
  const std::size_t offered = bytes.size();
  const auto stopped = [&](Stop why) { return Collected{offered - bytes.size(), why}; };
  const Taken waiting = take_waiting_reads(others_change);
  if (waiting == Taken::batch_full) return stopped(Stop::batch_full);
  if (waiting == Taken::busy) return stopped(Stop::busy);
  for (;;) {
    // Room for one more reply is room for the rest of a pending WRITE, too.
    if (reply_count() == kMaxReplies) return stopped(Stop::batch_full);
    if (connection.pending) {
      bytes = bytes.subspan(take_payload(bytes));
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
    // WRITEs of one page are copied in no order. The kernel does not send such.
    if (request->has_payload() && changes(*request)) return stopped(Stop::batch_full);
    if (request->has_payload()) {
      connection.pending = {*request, 0, validation.error};
    } else if (validation.action == Action::refuse) {
      reply(*request, validation.error);
    } else if (request->command == NBD_CMD_READ) {
      const Taken taken =
          connection.waiting_reads.empty() ? take_read(*request, others_change) : Taken::no_staging;
      if (taken == Taken::busy) return stopped(Stop::busy);
      if (taken == Taken::batch_full) return stopped(Stop::batch_full);
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
    reply(pending.request, pending.error);
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
    if (!zero) {
      to_store_.push_back({pages.data() + done, address + offset + done, end - done});
      bytes_ += end - done;
    }
    done = end;
  }
}

// Says why the first of those that are left was not taken.
Batch::Taken Batch::take_waiting_reads(bool others_change) {
  auto& waiting = connection_->waiting_reads;
  Taken taken = Taken::yes;
  auto next = waiting.begin();
  while (next != waiting.end() && taken == Taken::yes) {
    taken = reply_count() < kMaxReplies ? take_read(*next, others_change) : Taken::batch_full;
    if (taken == Taken::yes) ++next;
  }
  waiting.erase(waiting.begin(), next);
  return taken;
}

Batch::Taken Batch::take_read(const Request& request, bool others_change) {
  const std::uint64_t first = request.offset / kPageBytes;
  const std::uint64_t count = request.length / kPageBytes;
  // A READ goes by the page map and the store as they are now, so it waits for changes before it.
  // The kernel does not send one while a change of the same page is unanswered.
  if (changes(request)) return Taken::batch_full;
  const Segment& segment = connection_->segment;
  if (others_change && segment.fence->any_claimed(first, count)) return Taken::busy;
  if (segment.pages->any(first, count, PageState::lost)) {
    reply(request, EIO);
    return Taken::yes;
  }
  const std::size_t room = Staging::kDataBytes - chunk_used_;
  const std::size_t more = request.length > room ? request.length - room : 0;
  const std::size_t chunks = (more + Staging::kDataBytes - 1) / Staging::kDataBytes;
  if (!reads_.empty() && chunks_.size() + chunks > kManyChunks) return Taken::batch_full;
  if (chunks > staging_.free_chunks() ||
      connection_->lent.size() + connection_->unsent_chunks + chunks >
          Staging::kChunksPerConnection) {
    return Taken::no_staging;
  }
  reads_.push_back({request.cookie, data_.size(), 0});
  answered_reads_.push_back({request, 0});
  for (std::size_t done = 0; done < request.length;) {
    if (chunk_used_ == Staging::kDataBytes) {
      chunks_.push_back(staging_.take());
      if (chunks_.size() == 1) read_headers_ = staging_.headers(chunks_.front());
      ++connection_->unsent_chunks;
      chunk_used_ = 0;
    }
    const std::size_t bytes = std::min(request.length - done, Staging::kDataBytes - chunk_used_);
    const auto piece = staging_.data(chunks_.back()).subspan(chunk_used_, bytes);
    stage(request.offset + done, piece);
    data_.push_back({piece, chunks_.back(), to_host_.size()});
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
      add_copy({piece.data(), segment.store->address() + offset, bytes});
    } else {
      std::memset(piece.data(), 0, bytes);
    }
    offset += bytes;
    piece = piece.subspan(bytes);
  }
}

// Long READs are one piece for the copy engine where their chunks follow each other.
void Batch::add_copy(const Copy& copy) {
  bytes_ += copy.bytes;
  if (!to_host_.empty()) {
    Copy& last = to_host_.back();
    if (last.host + last.bytes == copy.host && last.address + last.bytes == copy.address &&
        last.bytes + copy.bytes <= kStepBytes) {
      last.bytes += copy.bytes;
      return;
    }
  }
  to_host_.push_back(copy);
}

Result<Batch::Outcome> Batch::start(Copier& copier) {
  if (!changes_.empty()) {
    if (!claim_pages()) {
      release_pages();
      return Outcome::waiting;
    }
    // In this order: write_fence.hpp says why.
    if (peer_has_shut_down(connection_->socket.get())) {
      release_pages();
      return Outcome::given_up;
    }
  }
  if (!to_host_.empty()) {
    if (auto result = copier.begin(Direction::to_host, slot_, to_host_); !result) {
      return result.error();
    }
  }
  if (!to_store_.empty()) {
    // A failure ends the worker, claims and all.
    if (auto result = copier.begin(Direction::from_host, slot_, to_store_); !result) {
      return result.error();
    }
  }
  started_ = true;
  return Outcome::started;
}

Result<void> Batch::finish_changes(Copier& copier) {
  if (!to_store_.empty()) {
    auto result = copier.wait(Direction::from_host, slot_, to_store_.size());
    if (!result) return result;
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

std::span<iovec> Batch::early_header(Connection& connection) {
  wire_.clear();
  if (reads_.size() != 1 || !non_read_requests_.empty() || has_changes() || to_host_.empty()) {
    return wire_;
  }
  const std::span header = std::span(other_headers_).first<kReplyBytes>();
  transmission::encode_reply(reads_.front().cookie, 0, header);
  wire_.push_back({header.data(), header.size()});
  connection.sent_bytes += header.size();
  header_sent_ = true;
  return wire_;
}

Result<std::span<iovec>> Batch::next_read_replies(Connection& connection, Copier& copier) {
  wire_.clear();
  if (replied_pieces_ == data_.size()) return wire_;
  std::size_t copies = 0;
  for (std::size_t bytes = 0; replied_pieces_ < data_.size() && bytes < kStepBytes;) {
    const Read& read = reads_[replied_reads_];
    if (replied_pieces_ == read.first_piece && !header_sent_) {
      transmission::encode_reply(read.cookie, 0, read_headers_.first<kReplyBytes>());
      wire_.push_back({read_headers_.data(), kReplyBytes});
      read_headers_ = read_headers_.subspan(kReplyBytes);
      connection.sent_bytes += kReplyBytes;
    }
    const Piece& piece = data_[replied_pieces_++];
    wire_.push_back({piece.data.data(), piece.data.size()});
    bytes += piece.data.size();
    connection.sent_bytes += piece.data.size();
    copies = piece.copies;
    if (replied_pieces_ == read.first_piece + read.piece_count) ++replied_reads_;
    const bool last = replied_pieces_ == data_.size();
    // The first chunk holds the headers of all, and so is in use to the end.
    if (piece.chunk != chunks_.front() && (last || data_[replied_pieces_].chunk != piece.chunk)) {
      connection.lent.push_back({piece.chunk, connection.sent_bytes});
    }
    if (last) {
      connection.lent.push_back({chunks_.front(), connection.sent_bytes});
      connection.unsent_chunks -= chunks_.size();
      chunks_.clear();
    }
  }
  if (copies > 0) {
    auto result = copier.wait(Direction::to_host, slot_, copies);
    if (!result) return result.error();
  }
  return wire_;
}

std::span<iovec> Batch::non_read_replies(Connection& connection) {
  wire_.clear();
  std::span<std::byte> headers = other_headers_;
  for (const auto& [request, error] : non_read_requests_) {
    transmission::encode_reply(request.cookie, error, headers.first<kReplyBytes>());
    headers = headers.subspan(kReplyBytes);
  }
  // They lie one behind the other.
  const std::size_t bytes = non_read_requests_.size() * kReplyBytes;
  if (bytes > 0) wire_.push_back({other_headers_.data(), bytes});
  connection.sent_bytes += bytes;
  return wire_;
}

}  // namespace vramswap
