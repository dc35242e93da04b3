#include "daemon/worker/io/read_replies.hpp"

#include <algorithm>
#include <cstring>

namespace vramswap {

using transmission::kReplyBytes;

namespace {

// A READ that needs more chunks than this goes into the next batch, so that one batch is copied
// while the other is sent.
constexpr std::size_t kManyChunks = 8;

constexpr std::size_t kMaxExtents = ReadReplies::kMaxReplies + Staging::kChunksPerConnection;

static_assert(Staging::kChunksPerConnection * Staging::kDataBytes / kPageBytes <=
              Copier::kMaxPages);

}  // namespace

ReadReplies::ReadReplies(Staging& staging, unsigned slot) : staging_(staging), slot_(slot) {
  reads_.reserve(kMaxReplies);
  answered_.reserve(kMaxReplies);
  extents_.reserve(kMaxExtents);
  copies_.reserve(Copier::kMaxPages);
  chunks_.reserve(Staging::kChunksPerConnection);
  wire_.reserve(kMaxReplies + kMaxExtents);
}

void ReadReplies::clear() {
  if (!chunks_.empty()) {
    for (const Staging::Chunk chunk : chunks_) staging_.release(chunk);
    connection_->unsent_chunks -= chunks_.size();
    chunks_.clear();
  }
  connection_ = nullptr;
  reads_.clear();
  answered_.clear();
  extents_.clear();
  copies_.clear();
  copy_bytes_ = 0;
  chunk_used_ = Staging::kDataBytes;
  header_sent_ = false;
  replied_reads_ = 0;
  replied_extents_ = 0;
}

ReadReplies::Added ReadReplies::add(Connection& connection, const transmission::Request& request) {
  const std::size_t room = Staging::kDataBytes - chunk_used_;
  const std::size_t more = request.length > room ? request.length - room : 0;
  const std::size_t chunks = (more + Staging::kDataBytes - 1) / Staging::kDataBytes;
  if (!reads_.empty() && chunks_.size() + chunks > kManyChunks) return Added::batch_full;
  if (chunks > staging_.free_chunks() ||
      connection.lent.size() + connection.unsent_chunks + chunks > Staging::kChunksPerConnection) {
    return Added::no_staging;
  }
  connection_ = &connection;
  reads_.push_back({request.cookie, extents_.size(), 0});
  answered_.push_back({request, 0});
  for (std::size_t done = 0; done < request.length;) {
    if (chunk_used_ == Staging::kDataBytes) {
      chunks_.push_back(staging_.allocate());
      if (chunks_.size() == 1) headers_ = staging_.headers(chunks_.front());
      ++connection.unsent_chunks;
      chunk_used_ = 0;
    }
    const std::size_t bytes = std::min(request.length - done, Staging::kDataBytes - chunk_used_);
    const auto extent = staging_.data(chunks_.back()).subspan(chunk_used_, bytes);
    stage(connection.segment, request.offset + done, extent);
    extents_.push_back({extent, chunks_.back(), copies_.size()});
    ++reads_.back().extent_count;
    chunk_used_ += bytes;
    done += bytes;
  }
  return Added::yes;
}

// Fills `extent` with the bytes from `offset` on: zeros at once, stored bytes by a planned copy.
void ReadReplies::stage(const Segment& segment, std::uint64_t offset, std::span<std::byte> extent) {
  while (!extent.empty()) {
    const std::uint64_t page = offset / kPageBytes;
    const std::size_t bytes =
        segment.pages->run_length(page, extent.size() / kPageBytes) * kPageBytes;
    if (segment.pages->at(page) == PageState::valid) {
      add_copy({extent.data(), segment.store->address() + offset, bytes});
    } else {
      std::memset(extent.data(), 0, bytes);
    }
    offset += bytes;
    extent = extent.subspan(bytes);
  }
}

// A long READ in adjacent chunks becomes one copy, for the copy engine.
void ReadReplies::add_copy(const Copy& copy) {
  copy_bytes_ += copy.bytes;
  if (!copies_.empty()) {
    Copy& last = copies_.back();
    if (last.host + last.bytes == copy.host && last.address + last.bytes == copy.address &&
        last.bytes + copy.bytes <= kBytesPerSend) {
      last.bytes += copy.bytes;
      return;
    }
  }
  copies_.push_back(copy);
}

std::span<iovec> ReadReplies::early_header(Connection& connection) {
  wire_.clear();
  transmission::encode_reply(reads_.front().cookie, 0, early_header_);
  wire_.push_back({early_header_.data(), early_header_.size()});
  connection.sent_bytes += early_header_.size();
  header_sent_ = true;
  return wire_;
}

Result<std::span<iovec>> ReadReplies::next(Connection& connection, Copier& copier) {
  wire_.clear();
  if (replied_extents_ == extents_.size()) return wire_;
  std::size_t copies = 0;
  for (std::size_t bytes = 0; replied_extents_ < extents_.size() && bytes < kBytesPerSend;) {
    const Read& read = reads_[replied_reads_];
    if (replied_extents_ == read.first_extent && !header_sent_) {
      transmission::encode_reply(read.cookie, 0, headers_.first<kReplyBytes>());
      wire_.push_back({headers_.data(), kReplyBytes});
      headers_ = headers_.subspan(kReplyBytes);
      connection.sent_bytes += kReplyBytes;
    }
    const Extent& extent = extents_[replied_extents_++];
    wire_.push_back({extent.data.data(), extent.data.size()});
    bytes += extent.data.size();
    connection.sent_bytes += extent.data.size();
    copies = extent.copies;
    if (replied_extents_ == read.first_extent + read.extent_count) ++replied_reads_;
    const bool last = replied_extents_ == extents_.size();
    // The first chunk holds the headers of all replies, so it is in use until the last one.
    if (extent.chunk != chunks_.front() &&
        (last || extents_[replied_extents_].chunk != extent.chunk)) {
      connection.lent.push_back({extent.chunk, connection.sent_bytes});
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

}  // namespace vramswap
