#include "daemon/worker/process/page_trial.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "daemon/system/log.hpp"

namespace vramswap {
namespace {

struct FreePage {
  void operator()(std::byte* memory) const { std::free(memory); }
};

// Copies single pages from a store to host memory, and forgets them.
class PageReader {
 public:
  static Result<PageReader> create(StoreDevice& device) {
    std::unique_ptr<std::byte[], FreePage> host(
        static_cast<std::byte*>(std::aligned_alloc(kPageBytes, kPageBytes)));
    if (!host) return fail_errno("page trial", "aligned_alloc", ENOMEM);
    auto copier = device.make_copier({host.get(), kPageBytes});
    if (!copier) return copier.error();
    return PageReader(std::move(host), *std::move(copier));
  }

  Result<void> read(const ServedSegment& segment, std::uint64_t page) {
    const Copy copy[] = {{host_.get(), segment.store->address() + page * kPageBytes, kPageBytes}};
    auto result = copier_->begin(Direction::to_host, 0, copy);
    if (result) result = copier_->wait(Direction::to_host, 0, 1);
    if (result) return {};
    return fail(
        fmt::format("segment {}: page {} alone: {}", segment.id, page, result.error().message));
  }

 private:
  PageReader(std::unique_ptr<std::byte[], FreePage> host, std::unique_ptr<Copier> copier)
      : host_(std::move(host)), copier_(std::move(copier)) {}

  std::unique_ptr<std::byte[], FreePage> host_;
  std::unique_ptr<Copier> copier_;  // declared after the memory, which it has registered
};

// A page that is not among these; nothing if there is no other.
std::optional<std::uint64_t> page_beside(const std::vector<CopyNotes::Page>& pages,
                                         std::uint64_t page_count) {
  for (std::uint64_t page = 0; page < page_count; ++page) {
    if (std::ranges::find(pages, page, &CopyNotes::Page::number) == pages.end()) return page;
  }
  return std::nullopt;
}

void give_up(ServedSegment& segment, std::uint32_t page) {
  if (segment.pages->at(page) != PageState::valid) return;
  segment.pages->set(page, 1, PageState::lost);
  ++segment.lost_pages;
  log_error(fmt::format("segment {}: page {} is lost: each worker that copies it dies", segment.id,
                        page));
}

}  // namespace

Result<void> try_suspects(CopyNotes& notes, StoreDevice& device, ServedSegment& segment) {
  for (const auto& page : notes.convicted(segment.id)) {
    give_up(segment, page.number);
    notes.forget(page);
  }
  const auto due = notes.due_for_trial(segment.id);
  if (due.empty()) return {};
  const auto control = page_beside(due, segment.pages->page_count());
  if (!control) return {};
  log_info(
      fmt::format("segment {}: several workers died while they copied its pages; trying {} of them",
                  segment.id, due.size()));
  auto reader = PageReader::create(device);
  if (!reader) return reader.error();
  for (const auto& page : due) {
    if (page.number >= segment.pages->page_count() ||
        segment.pages->at(page.number) != PageState::valid) {
      notes.forget(page);
      continue;
    }
    if (auto result = reader->read(segment, *control); !result) return result;
    notes.begin_trial(page);
    if (auto result = reader->read(segment, page.number); !result) return result;
    notes.end_trial(page);
  }
  return {};
}

}  // namespace vramswap
