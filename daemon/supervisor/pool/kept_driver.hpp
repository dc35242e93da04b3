// The files of the CUDA driver that the first worker of a card has loaded. Each later worker is
// given them, for a package manager may have replaced the driver by then: its libcuda does not work
// with the kernel module that runs. The service manager keeps them, too.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/handover/messages.hpp"
#include "daemon/supervisor/machine/service_manager.hpp"
#include "daemon/supervisor/pool/worker_process.hpp"
#include "daemon/system/log_fields.hpp"

namespace vramswap {

// Whether a descriptor of the fd store is such a file, of the worker slot with that index.
bool is_driver_of(std::size_t slot, std::string_view name);

class KeptDriver {
 public:
  // What the owner of the machine is told if is_replaced().
  static constexpr const char* kReplaced =
      "the driver on disk is not the one that runs: reboot, or down and up";

  // `start`: how workers of the slot are started, and where an earlier worker found the driver.
  KeptDriver(ServiceManager& manager, std::size_t slot, const messages::Start& start)
      : manager_(manager),
        slot_(slot),
        is_used_(start.backend == control::Backend::vram),
        path_(start.driver_path) {}

  // The files, if they are among the descriptors that an earlier supervisor left.
  void inherit(const NamedFds& inherited);
  // Asks the worker for the files, unless they are known. Without them, which is logged, the next
  // worker loads what it finds.
  awaitable<void> learn_from(std::shared_ptr<WorkerProcess> worker);
  // The service manager is to keep them no longer.
  void withdraw() const;

  // What the next worker is started with: the kept files, or none.
  void add_to(messages::Start& start, std::vector<int>& fds) const;
  // Copies for the next program.
  void add_to(NamedFds& fds) const;
  // A worker could not be started. If it had the kept files, the next one looks for the driver by
  // its name; if it had not, the next one has them again.
  void note_failed_start() { by_name_ = !by_name_; }

  const std::string& path() const { return path_; }
  // Whether the driver's name is another file's now, or no file's.
  bool is_replaced() const;
  // The same, and logs it once.
  bool log_if_replaced(const LogFields& fields);

 private:
  void keep(const messages::Driver& driver, std::vector<UniqueFd> fds);

  ServiceManager& manager_;
  const std::size_t slot_;
  const bool is_used_;  // host memory needs no driver
  std::string path_;
  UniqueFd library_;
  UniqueFd page_kernel_;
  bool by_name_ = false;  // the next worker looks for the driver, or the last one did
  bool is_logged_ = false;
};

}  // namespace vramswap
