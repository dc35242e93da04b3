#include "daemon/worker/io/served_segment.hpp"

#include <linux/sockios.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <utility>

namespace vramswap {

void ServedSegment::set_pages(PageMap map) {
  pages = std::move(map);
  lost_pages = pages->count(PageState::lost);
}

std::uint64_t ServedSegment::lose_corrupt(std::uint64_t page) {
  const std::uint64_t count = pages->lose_corrupt(page);
  if (lost_pages++ == 0) {
    has_urgent_news = true;
  } else {
    has_news = true;
  }
  return count;
}

void ServedSegment::count_found_again(std::uint64_t first, std::uint64_t count) {
  const std::uint64_t found = pages->count(first, count, PageState::lost);
  if (found != 0 && (lost_pages -= found) == 0) has_urgent_news = true;
}

void release_read_chunks(Connection& connection, Staging& staging) {
  int unread = 0;
  if (ioctl(connection.socket.get(), SIOCOUTQ, &unread) != 0 || unread < 0) return;
  const auto bytes = static_cast<std::uint64_t>(unread);
  if (bytes > connection.sent_bytes) return;
  const std::uint64_t read = connection.sent_bytes - bytes;
  auto& lent = connection.lent;
  const auto end =
      std::ranges::find_if(lent, [read](const auto& chunk) { return chunk.end > read; });
  for (auto next = lent.begin(); next != end; ++next) staging.release(next->chunk);
  lent.erase(lent.begin(), end);
}

}  // namespace vramswap
