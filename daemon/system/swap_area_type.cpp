#include "daemon/system/swap_area_type.hpp"

#include <algorithm>
#include <ranges>

#include "daemon/base/page_size.hpp"

namespace vramswap {
namespace {

class Matching {
 public:
  Matching(const std::vector<SwapArea>& areas, std::size_t wanted, const SeenTypes& seen)
      : areas_(areas), wanted_(wanted), seen_(seen.begin(), seen.end()) {}

  // Of each type the lowest area, and the highest one, that leave enough areas to the others.
  std::optional<std::vector<std::size_t>> lowest() const {
    std::vector<std::size_t> list;
    std::size_t area = 0;
    for (const auto& pages : seen_) {
      while (area < areas_.size() && !may_be(pages, area)) ++area;
      if (area == areas_.size()) return std::nullopt;
      list.push_back(area++);
    }
    return list;
  }
  std::optional<std::vector<std::size_t>> highest() const {
    std::vector<std::size_t> list;
    std::size_t end = areas_.size();
    for (const auto& pages : std::views::reverse(seen_)) {
      while (end > 0 && !may_be(pages, end - 1)) --end;
      if (end == 0) return std::nullopt;
      list.push_back(--end);
    }
    std::ranges::reverse(list);
    return list;
  }
  unsigned type(std::size_t seen) const { return seen_[seen].first; }

 private:
  // Areas below it have numbers, too, so its own is not less than its place in the list. Swapoff
  // changes how much of the wanted area is in use.
  bool may_be(const std::pair<unsigned, SeenPages>& pages, std::size_t index) const {
    const SwapArea& area = areas_[index];
    if (index > pages.first || pages.second.last_offset * kPageBytes > area.size_bytes)
      return false;
    return index == wanted_ || pages.second.count * kPageBytes <= area.used_bytes;
  }

  const std::vector<SwapArea>& areas_;
  const std::size_t wanted_;
  const std::vector<std::pair<unsigned, SeenPages>> seen_;
};

}  // namespace

std::optional<unsigned> find_area_type(const std::vector<SwapArea>& areas, std::size_t index,
                                       const SeenTypes& seen) {
  const Matching matching(areas, index, seen);
  const auto lowest = matching.lowest();
  const auto highest = matching.highest();
  if (!lowest || !highest) return std::nullopt;
  for (std::size_t i = 0; i < lowest->size(); ++i) {
    if ((*lowest)[i] == index && (*highest)[i] == index) return matching.type(i);
  }
  return std::nullopt;
}

}  // namespace vramswap
