#include "daemon/worker/io/read_replies.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "daemon/worker/io/page_check.hpp"

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
  answered_.clear();
  extents_.clear();
  copies_.clear();
  copy_bytes_ = 0;
  chunk_used_ = Staging::kDataBytes;
  has_changing_pages_ = false;
  header_sent_ = false;
  is_cut_off_ = false;
  done_copies_ = 0;
  replied_extents_ = 0;
}

ReadReplies::Added ReadReplies::add(Connection& connection, const transmission::Request& request) {
  const std::size_t room = Staging::kDataBytes - chunk_used_;
  const std::size_t more = request.length > room ? request.length - room : 0;
  const std::size_t chunks = (more + Staging::kDataBytes - 1) / Staging::kDataBytes;
  if (!answered_.empty() && chunks_.size() + chunks > kManyChunks) return Added::batch_full;
  if (chunks > staging_.free_chunks() ||
      connection.lent.size() + connection.unsent_chunks + chunks > Staging::kChunksPerConnection) {
    return Added::no_staging;
  }
  connection_ = &connection;
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
    const std::uint64_t offset = request.offset + done;
    const std::uint16_t stored_pages = stage(connection.segment, offset, extent);
    extents_.push_back({.data = extent,
                        .chunk = chunks_.back(),
                        .read = answered_.size() - 1,
                        .is_first = done == 0,
                        .first_page = offset / kPageBytes,
                        .stored_pages = stored_pages,
                        .copies = copies_.size()});
    chunk_used_ += bytes;
    done += bytes;
  }
  return Added::yes;
}

bool ReadReplies::overlap(const transmission::Request& request) const {
  return std::ranges::any_of(answered_, [&](const IoCounters::Answered& answered) {
    const auto& read = answered.request;
    return read.offset < request.offset + request.length &&
           request.offset < read.offset + read.length;
  });
}

// Fills `extent` with the bytes from `offset` on: zeros at once, stored bytes by a planned copy.
// Returns which of its pages are stored. check() decides about a page that is changing.
std::uint16_t ReadReplies::stage(const ServedSegment& segment, std::uint64_t offset,
                                 std::span<std::byte> extent) {
  unsigned stored_pages = 0;
  for (std::size_t done = 0; done < extent.size();) {
    const std::uint64_t page = (offset + done) / kPageBytes;
    const std::uint64_t pages =
        segment.pages->run_length(page, (extent.size() - done) / kPageBytes);
    const PageState state = segment.pages->at(page);
    has_changing_pages_ |= state == PageState::changing;
    if (state == PageState::empty) {
      std::memset(extent.data() + done, 0, pages * kPageBytes);
    } else {
      add_copy(
          {extent.data() + done, segment.store->address() + offset + done, pages * kPageBytes});
      stored_pages |= ((1U << pages) - 1) << (done / kPageBytes);
    }
    done += pages * kPageBytes;
  }
  return static_cast<std::uint16_t>(stored_pages);
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
  transmission::encode_reply(answered_.front().request.cookie, 0, early_header_);
  wire_.push_back({early_header_.data(), early_header_.size()});
  connection.sent_bytes += early_header_.size();
  header_sent_ = true;
  return wire_;
}

Result<std::span<iovec>> ReadReplies::next(Connection& connection, Copier& copier,
                                           const Claimant& claimant) {
  wire_.clear();
  // The rest of a failed READ adds nothing to the wire.
  while (wire_.empty() && replied_extents_ < extents_.size()) {
    std::size_t end = replied_extents_;
    const bool whole_reads = connection.segment.is_suspect() || has_changing_pages_;
    for (std::size_t bytes = 0; end < extents_.size(); ++end) {
      if (bytes >= kBytesPerSend && (extents_[end].is_first || !whole_reads)) break;
      bytes += extents_[end].data.size();
    }
    if (auto done = wait_for_copies(extents_[end - 1].copies, copier); !done) return done.error();
    for (std::size_t index = replied_extents_; index < end; ++index) {
      if (auto checked = check(index, copier, claimant); !checked) return checked.error();
    }
    while (replied_extents_ < end) add_to_wire(connection);
  }
  return wire_;
}

Result<void> ReadReplies::wait_for_copies(std::size_t copies, Copier& copier) {
  if (copies <= done_copies_) return {};
  done_copies_ = copies;
  return copier.wait(Direction::to_host, slot_, copies);
}

// Compares the extent's stored pages with their checksums.
Result<void> ReadReplies::check(std::size_t index, Copier& copier, const Claimant& claimant) {
  const Extent& extent = extents_[index];
  IoCounters::Answered& answered = answered_[extent.read];
  ServedSegment& segment = connection_->segment;
  for (unsigned i = 0; i < extent.data.size() / kPageBytes; ++i) {
    if (answered.error != 0 || is_cut_off_) return {};
    if ((extent.stored_pages >> i & 1) == 0) continue;
    const std::uint64_t page = extent.first_page + i;
    const auto data = extent.data.subspan(i * kPageBytes).first<kPageBytes>();
    if (segment.pages->is_valid_with(page, page_checksum(data))) continue;
    // The slot of the copier must be free for the second look.
    if (auto done = wait_for_copies(copies_.size(), copier); !done) return done;
    const auto look = look_again(segment, page, data, copier, slot_, claimant);
    if (!look) return look.error();
    if (*look == Look::wrong) answered.error = EIO;
    const bool header_is_sent =
        header_sent_ ||
        (replied_extents_ > 0 && extents_[replied_extents_ - 1].read == extent.read);
    is_cut_off_ = *look == Look::busy || (*look == Look::wrong && header_is_sent);
  }
  return {};
}

void ReadReplies::add_to_wire(Connection& connection) {
  const Extent& extent = extents_[replied_extents_++];
  const auto& [request, error] = answered_[extent.read];
  if (extent.is_first && !header_sent_) {
    transmission::encode_reply(request.cookie, error, headers_.first<kReplyBytes>());
    wire_.push_back({headers_.data(), kReplyBytes});
    headers_ = headers_.subspan(kReplyBytes);
    connection.sent_bytes += kReplyBytes;
  }
  if (error == 0) {
    wire_.push_back({extent.data.data(), extent.data.size()});
    connection.sent_bytes += extent.data.size();
  }
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

}  // namespace vramswap
