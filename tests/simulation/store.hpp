// The memory behind a descriptor, VRAM or not. The descriptor is the writing end of a pipe: the
// reading end tells when nobody has one any more.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "daemon/base/unique_fd.hpp"
#include "daemon/handover/store_place.hpp"

namespace vramswap::simulation {

struct Store {
  unsigned number = 0;
  std::vector<std::uint64_t> pages;
  StoreId id;                 // as the page map of its segment names it
  std::string reserve_of;     // if no page is in it: room for a context, on the card of that UUID
  bool is_destroyed = false;  // the card was reset: its bytes are gone, for ever
  bool was_refused = false;   // a worker has said that its memory is gone, truly or not
  unsigned given_to_process = 0;  // the last supervisor that was given a descriptor
  UniqueFd watch;                 // the reading end

  // Nobody has a descriptor any more.
  bool is_freed() const;
  bool is_on_card() const { return id.place == StorePlace::card; }
};

class Stores {
 public:
  // A new one, with its only descriptor.
  std::pair<std::shared_ptr<Store>, UniqueFd> create(std::uint64_t page_count, StoreId id);
  // The one behind a descriptor, or nothing.
  std::shared_ptr<Store> find(int fd) const;
  const std::map<ino_t, std::shared_ptr<Store>>& all() const { return stores_; }
  // Of those that are there still.
  unsigned count_held() const;
  bool is_reserve_held(const std::string& card) const;

 private:
  std::map<ino_t, std::shared_ptr<Store>> stores_;
  unsigned last_number_ = 0;
};

ino_t inode_of(int fd);

}  // namespace vramswap::simulation
