#include "daemon/supervisor/pool/loans.hpp"

#include <algorithm>
#include <limits>
#include <utility>

namespace vramswap {

std::uint64_t Loans::add(control::Loan loan) {
  loans_.push_back({++last_id_, std::move(loan)});
  return last_id_;
}

void Loans::remove(std::uint64_t id) {
  std::erase_if(loans_, [id](const Entry& entry) { return entry.id == id; });
}

bool Loans::remove_unheld() {
  return std::erase_if(loans_, [](const Entry& entry) { return !entry.loan.is_held; }) > 0;
}

std::vector<std::uint64_t> Loans::held() const {
  std::vector<std::uint64_t> ids;
  for (const Entry& entry : loans_) {
    if (entry.loan.is_held) ids.push_back(entry.id);
  }
  return ids;
}

std::optional<std::uint64_t> Loans::wanted_bytes() const {
  constexpr auto kMost = std::numeric_limits<std::uint64_t>::max();
  std::uint64_t sum = 0;
  for (const Entry& entry : loans_) {
    if (!entry.loan.bytes) return std::nullopt;
    sum += std::min(*entry.loan.bytes, kMost - sum);
  }
  return sum;
}

std::vector<control::Loan> Loans::list() const {
  std::vector<control::Loan> list;
  for (const Entry& entry : loans_) list.push_back(entry.loan);
  return list;
}

void Loans::restore(const std::vector<control::Loan>& loans) {
  for (const control::Loan& loan : loans) add(loan);
}

}  // namespace vramswap
