#include "daemon/supervisor/pool/kept_driver.hpp"

#include <fmt/format.h>
#include <sys/stat.h>

#include <chrono>
#include <utility>

#include "daemon/system/log.hpp"

namespace vramswap {
namespace {

// A worker has the descriptors at hand.
constexpr std::chrono::seconds kShareTimeout{60};

std::string library_name(std::size_t slot) {
  return fmt::format("libcuda-{}", slot);
}
std::string page_kernel_name(std::size_t slot) {
  return fmt::format("cubin-{}", slot);
}

// In the place of an earlier one.
void push(ServiceManager& manager, const std::string& name, const UniqueFd& fd) {
  manager.remove_from_fdstore(name);
  if (fd) manager.push_to_fdstore(name, fd.get());
}

}  // namespace

bool is_driver_of(std::size_t slot, std::string_view name) {
  return name == library_name(slot) || name == page_kernel_name(slot);
}

void KeptDriver::inherit(const NamedFds& inherited) {
  auto library = copy_of(inherited, library_name(slot_));
  auto page_kernel = copy_of(inherited, page_kernel_name(slot_));
  if (library && page_kernel) {
    library_ = *std::move(library);
    page_kernel_ = *std::move(page_kernel);
  } else {
    log_error((library ? page_kernel : library).error().message);
  }
}

awaitable<void> KeptDriver::learn_from(std::shared_ptr<WorkerProcess> worker) {
  if (!is_used_ || (library_ && !by_name_)) co_return;
  const messages::ShareDriver share;
  auto answer = co_await worker->call(share, {}, kShareTimeout);
  if (!answer) {
    log_error(answer.error().message);
  } else if (const auto* shared = std::get_if<messages::Driver>(&answer->message)) {
    keep(*shared, std::move(answer->fds));
  }
}

void KeptDriver::keep(const messages::Driver& driver, std::vector<UniqueFd> fds) {
  if (driver.path.empty() || fds.size() != (driver.has_page_kernel ? 2U : 1U)) return;
  path_ = driver.path;
  library_ = std::move(fds.front());
  page_kernel_ = driver.has_page_kernel ? std::move(fds.back()) : UniqueFd();
  by_name_ = false;
  push(manager_, library_name(slot_), library_);
  push(manager_, page_kernel_name(slot_), page_kernel_);
}

void KeptDriver::withdraw() const {
  manager_.remove_from_fdstore(library_name(slot_));
  manager_.remove_from_fdstore(page_kernel_name(slot_));
}

void KeptDriver::add_to(messages::Start& start, std::vector<int>& fds) const {
  const bool is_given = library_ && !by_name_;
  start.driver_path = is_given ? path_ : "";
  start.has_page_kernel = is_given && page_kernel_;
  if (is_given) fds.push_back(library_.get());
  if (start.has_page_kernel) fds.push_back(page_kernel_.get());
}

void KeptDriver::add_to(NamedFds& fds) const {
  if (library_) fds[library_name(slot_)] = library_.duplicate();
  if (page_kernel_) fds[page_kernel_name(slot_)] = page_kernel_.duplicate();
}

bool KeptDriver::is_replaced() const {
  struct stat kept {};
  struct stat named {};
  if (!library_ || fstat(library_.get(), &kept) != 0) return false;
  if (stat(path_.c_str(), &named) != 0) return true;
  return named.st_dev != kept.st_dev || named.st_ino != kept.st_ino;
}

bool KeptDriver::log_if_replaced(const LogFields& fields) {
  if (!is_replaced()) return false;
  if (!std::exchange(is_logged_, true)) {
    log_info(fmt::format("{}: {}. Workers go on with the one that runs", path_, kReplaced), fields);
  }
  return true;
}

}  // namespace vramswap
