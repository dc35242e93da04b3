// The simulated service manager: keeps descriptors for the next supervisor, starts it, and restarts
// it.
#pragma once

#include <cstddef>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "daemon/base/unique_fd.hpp"
#include "tests/simulation/random.hpp"
#include "tests/simulation/store.hpp"

namespace vramswap::simulation {

// What belongs to the store of that name. Empty: it is no segment's store.
std::string page_map_of(const std::string& store_name);

// Its store is as systemd's: of one name there may be several descriptors, and a file is kept once,
// under the first name that it was given.
class Manager {
 public:
  bool is_there = false;
  bool has_restart_job = false;  // until the supervisor is started again

  void push(const std::string& name, int fd);
  void remove(const std::string& name);
  // The unit has stopped for good.
  void forget_all();
  // Copies, for a supervisor that starts. That supervisor counts on them from now on.
  std::map<std::string, UniqueFd> give();
  std::size_t count() const { return fds_.size(); }
  std::string list() const;

  // Its operator, a security module, or a fault of its own changes what it keeps.
  void change_store(Random random);
  bool takes_all() const { return limit_ >= kUsualLimit && !refuses_stores_; }
  // Of what the supervisor of now was given, or has sent since.
  bool has_dropped_some() const { return has_dropped_some_; }
  // It has dropped what nobody has given again.
  bool may_lack_pages() const { return may_lack_pages_; }
  void note_all_is_kept() { may_lack_pages_ = false; }

  // Whether the next supervisor can have these pages from it alone.
  bool keeps(const Stores& stores, const Store& store) const;
  bool knows_pool() const;
  // The name of a descriptor of the pool that it is to keep, and does not keep. Empty: there is
  // none.
  std::string first_lacking() const;
  // The name of one that it keeps, and should not where nothing is up. Empty: there is none.
  std::string first_of_pool() const;

 private:
  static constexpr std::size_t kUsualLimit = 256;  // FileDescriptorStoreMax= of the unit

  bool has(const std::string& name) const;
  void serialize();

  std::size_t limit_ = kUsualLimit;
  bool refuses_stores_ = false;
  bool has_dropped_some_ = false;
  bool may_lack_pages_ = false;
  std::vector<std::pair<std::string, UniqueFd>> fds_;  // in the order in which it gives them
  std::set<std::string> wanted_;  // that were sent, or given, and not removed since
};

}  // namespace vramswap::simulation
