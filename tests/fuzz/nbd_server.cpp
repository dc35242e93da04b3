#include "tests/fuzz/nbd_server.hpp"

#include <endian.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "daemon/system/log.hpp"
#include "daemon/worker/store/ram_store.hpp"
#include "tests/fuzz/fuzz.hpp"

namespace vramswap::fuzz {
namespace {

constexpr std::size_t kReplyBytes = 16;

Batch make_batch(Staging& staging, unsigned slot) {
  return Batch(staging, Claimant::create().value(), slot);
}

template <class Integer>
Integer read_integer(std::span<const std::byte> bytes) {
  Integer value;
  std::memcpy(&value, bytes.data(), sizeof value);
  return value;
}

}  // namespace

NbdServer::NbdServer(std::uint64_t page_count)
    : device_(make_ram_device()),
      staging_(Staging::create().value()),
      batches_{make_batch(staging_, 0), make_batch(staging_, 1)} {
  segment_.store = device_->create(page_count * kPageBytes).value();
  segment_.fence.emplace(page_count);
  segment_.set_pages(PageMap::map(PageMap::create(page_count).value().get(), page_count).value());
  int ends[2];
  require(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0, "there are sockets");
  socket_ = UniqueFd(ends[0]);
  peer_ = UniqueFd(ends[1]);
  set_log_sink([](std::string_view, const LogFields&) {});
}

void NbdServer::connect(NbdModel& model) {
  model_ = &model;
  connection_.emplace(socket_.duplicate(), segment_);
  turn_ = area_ = 0;
  is_cut_off_ = false;
  sent_.clear();
  read_bytes_ = 0;
  unchecked_.clear();
}

void NbdServer::set_failing(std::uint64_t page, Failing how) {
  PageMap& pages = *segment_.pages;
  if (how == Failing::lost) {
    if (pages.at(page) != PageState::lost) ++segment_.lost_pages;
    pages.set(page, 1, PageState::lost);
  } else if (how == Failing::corrupt) {
    std::memset(reinterpret_cast<void*>(segment_.store->address() + page * kPageBytes), 0x77,
                kPageBytes);
    segment_.leave_states(page, 1);
    pages.set_valid(page, 0);
  } else {
    segment_.leave_states(page, 1);
    pages.set(page, 1, PageState::changing);
  }
}

std::optional<Batch::Stop> NbdServer::receive(std::span<const std::byte> received) {
  auto& area = areas_[area_];
  area.assign(connection_->carry.begin(),
              connection_->carry.begin() + static_cast<std::ptrdiff_t>(connection_->carry_bytes));
  area.insert(area.end(), received.begin(), received.end());
  area.shrink_to_fit();
  std::span<std::byte> bytes = area;
  bool started = false;
  while (!is_cut_off_) {
    Batch& batch = batches_[turn_];
    const Batch& other = batches_[1 - turn_];
    const auto collected =
        batch.collect(*connection_, bytes, other.is_started() ? &other : nullptr);
    require(collected.bytes <= bytes.size(), "a batch consumes what was received");
    for (const auto& read : connection_->waiting_reads) {
      model_->requests().at(read.cookie).has_waited = true;
    }
    bytes = bytes.subspan(collected.bytes);
    started |= batch.has_work();
    const bool is_stuck = !batch.has_work() && !other.is_started();
    start();
    switch (collected.stop) {
      case Batch::Stop::need_bytes:
        require(bytes.size() < connection_->carry.size(), "what is left over can be carried");
        std::ranges::copy(bytes, connection_->carry.begin());
        connection_->carry_bytes = bytes.size();
        if (started) area_ = 1 - area_;
        return std::nullopt;
      case Batch::Stop::batch_full:
        require(!is_stuck, "an empty batch is not full");
        break;
      case Batch::Stop::busy:
        require(!is_stuck, "there is something to wait for");
        finish_all();
        break;
      case Batch::Stop::disconnect:
      case Batch::Stop::broken:
        return collected.stop;
    }
  }
  return Batch::Stop::broken;
}

void NbdServer::start() {
  Batch& batch = batches_[turn_];
  Batch& other = batches_[1 - turn_];
  if (!batch.has_work()) return batch.clear();
  for (;;) {
    const auto outcome = batch.start(copier_).value();
    if (outcome == Batch::Outcome::started) break;
    require(outcome == Batch::Outcome::waiting, "the connection is not shut down");
    require(other.is_started(), "only the other batch has claims");
    finish(other);
  }
  if (other.is_started()) finish(other);
  turn_ = 1 - turn_;
  if (eager_) finish(batch);
}

void NbdServer::finish_all() {
  for (unsigned i = 0; i < batches_.size(); ++i) {
    Batch& batch = batches_[(turn_ + i) % batches_.size()];
    if (batch.is_started()) finish(batch);
  }
}

void NbdServer::finish(Batch& batch) {
  if (early_headers_) send(batch.early_header(*connection_), false);
  for (;;) {
    const auto iovs = batch.next_read_replies(*connection_, copier_).value();
    is_cut_off_ |= batch.is_cut_off();
    if (iovs.empty()) break;
    send(iovs, true);
  }
  require(batch.finish_changes(copier_).has_value(), "host memory does not fail");
  send(batch.non_read_replies(*connection_), false);
  batch.clear();
}

// After a READ that was cut off nothing may be sent any more.
void NbdServer::send(std::span<const iovec> iovs, bool lend) {
  if (is_cut_off_) return;
  for (const iovec& iov : iovs) {
    const std::span bytes(static_cast<const std::byte*>(iov.iov_base), iov.iov_len);
    Sent& sent = sent_.emplace_back();
    if (!lend) sent.copied.assign(bytes.begin(), bytes.end());
    sent.bytes = lend ? bytes : std::span<const std::byte>(sent.copied);
  }
}

void NbdServer::read_replies(std::size_t bytes) {
  while (bytes > 0 && !sent_.empty()) {
    auto& next = sent_.front().bytes;
    const auto part = next.first(std::min(bytes, next.size()));
    unchecked_.insert(unchecked_.end(), part.begin(), part.end());
    read_bytes_ += part.size();
    bytes -= part.size();
    next = next.subspan(part.size());
    if (next.empty()) sent_.pop_front();
  }
  auto& lent = connection_->lent;
  const auto end = std::ranges::find_if(lent, [&](const auto& it) { return it.end > read_bytes_; });
  std::for_each(lent.begin(), end, [&](const auto& it) { staging_.release(it.chunk); });
  lent.erase(lent.begin(), end);
  check_replies();
}

void NbdServer::check_replies() {
  std::span<const std::byte> rest = unchecked_;
  while (rest.size() >= kReplyBytes) {
    require(be32toh(read_integer<std::uint32_t>(rest)) == 0x67446698, "a reply has its magic");
    const std::uint32_t error = be32toh(read_integer<std::uint32_t>(rest.subspan(4)));
    const auto number = read_integer<std::uint64_t>(rest.subspan(8));
    require(number < model_->requests().size(), "a reply is to a complete request");
    ModelRequest& request = model_->requests()[number];
    const bool has_data = request.is_read && error == 0;
    const std::size_t length = has_data ? request.page_count * kPageBytes : 0;
    if (rest.size() < kReplyBytes + length) break;
    require(!request.is_answered, "a request is answered once");
    request.is_answered = true;
    if (has_data) {
      require(model_->may_be_answered_with(number, rest.subspan(kReplyBytes, length)),
              "a READ has the bytes that were written");
    } else if (request.is_read) {
      require(error == EIO && model_->may_fail(number), "a READ fails only for its pages");
    } else {
      require(error == request.error, "a request has its error");
    }
    rest = rest.subspan(kReplyBytes + length);
  }
  unchecked_.erase(unchecked_.begin(), unchecked_.begin() + static_cast<std::ptrdiff_t>(
                                                                unchecked_.size() - rest.size()));
}

void NbdServer::disconnect(bool is_complete) {
  if (!is_cut_off_) {
    require(unchecked_.empty() && sent_.empty(), "the replies end with a reply");
    check_pages();
    for (const ModelRequest& request : model_->requests()) {
      require(request.is_answered || (request.has_waited && !is_complete),
              "every request is answered");
    }
  }
  for (const auto& lent : connection_->lent) staging_.release(lent.chunk);
  require(copier_.is_idle(), "every copy was waited for");
  require(connection_->unsent_chunks == 0, "no chunk is kept for a reply");
  require(staging_.free_chunks() == Staging::kChunkCount, "all chunks are free again");
  const std::uint64_t count = segment_.pages->page_count();
  require(!segment_.fence->any_claimed(0, count), "no page is claimed");
  require(segment_.lost_pages == segment_.pages->count(PageState::lost), "lost pages are counted");
  for (std::uint64_t page = 0; page < count; ++page) {
    if (segment_.pages->at(page) != PageState::empty)
      segment_.pages->set(page, 1, PageState::empty);
  }
  segment_.lost_pages = 0;
  if (segment_.is_suspect()) {
    segment_.set_pages(PageMap::map(PageMap::create(count).value().get(), count).value());
  }
  connection_.reset();
}

void NbdServer::check_pages() {
  const PageMap& pages = *segment_.pages;
  for (std::uint64_t page = 0; page < pages.page_count(); ++page) {
    const PageContent content = model_->content(page);
    const auto* stored = reinterpret_cast<const std::byte*>(segment_.store->address());
    const std::span bytes(stored + page * kPageBytes, kPageBytes);
    const PageState state = pages.at(page);
    if (content.kind == PageContent::Kind::zeros) {
      require(state == PageState::empty, "zeros are an empty page");
    } else if (content.kind == PageContent::Kind::bytes && state == PageState::empty) {
      require(PageContent().is({content.bytes, kPageBytes}), "only zeros are an empty page");
    } else if (content.kind == PageContent::Kind::bytes) {
      require(state == PageState::valid && content.is(bytes), "the store has what was written");
    }
  }
}

}  // namespace vramswap::fuzz
