// Clients that VRAM is lent to.
#include <algorithm>

#include "tests/simulation/process.hpp"
#include "tests/simulation/world.hpp"

namespace vramswap::simulation {
namespace {

using namespace std::chrono_literals;

constexpr std::chrono::nanoseconds kNews = 3ms;    // of a worker that has died, on the way
constexpr std::chrono::nanoseconds kReturn = 12s;  // of a client whose supervisor has died, at most

}  // namespace

void Clients::end_a_loan(std::uint64_t choice) {
  std::vector<Client*> holding;
  for (Client& client : clients_) {
    if (client.is_holding) holding.push_back(&client);
  }
  if (!holding.empty()) end_loan(*holding[choice % holding.size()]);
}

void Clients::end_all_loans() {
  for (Client& client : clients_) {
    if (client.is_holding) end_loan(client);
  }
}

void Clients::end_loan(Client& client) {
  world_.note("client {}: ends, and its loan with it", client.number);
  client.is_holding = false;
  if (const auto on_gone = std::exchange(client.on_gone, nullptr)) on_gone();
}

void Clients::take_loan(Client& client, const control::Lent& lent) {
  const auto& request = std::get<control::LendRequest>(client.request);
  // Where no swap is on VRAM there is nothing to lend.
  if (lent.freed_bytes == 0 && lent.missing_bytes == 0) return;
  client.is_holding = request.is_held;
  client.operations_before = operations_;
  if (request.bytes || lent.missing_bytes > 0) return;
  // One that nobody holds may have been taken back before it was answered.
  const bool was_taken_back = std::ranges::any_of(clients_, [&](const Client& other) {
    return other.number > client.number &&
           std::holds_alternative<control::TakeBackRequest>(other.request);
  });
  if (was_taken_back && !request.is_held) return;
  world_.after(kNews, [this, &client, process = world_.process_number()] {
    if (client.operations_before != operations_ || process != world_.process_number()) return;
    if (std::get<control::LendRequest>(client.request).is_held && !client.is_holding) return;
    check_all_is_free();
  });
}

// Other programs take it.
void Clients::check_all_is_free() {
  // A worker that a dead supervisor was starting has what was set aside for it.
  const auto workers = world_.workers.living();
  const bool any_is_stray = std::ranges::any_of(workers, [](const auto& worker) {
    return !worker->takes_requests() || !worker->has_supervisor();
  });
  if (any_is_stray) return;
  for (const auto& [inode, store] : world_.stores.all()) {
    if (store->is_freed() || !store->is_on_card() || store->was_refused) continue;
    world_.violate(fmt::format("all VRAM is lent, and store {} is there still", store->number));
  }
  for (const auto& worker : workers) {
    if (!worker->has_context()) continue;
    world_.violate(fmt::format("all VRAM is lent, and worker {} has a context", worker->pid));
  }
}

// Its command runs on, and it asks the next supervisor; or it has ended meanwhile.
void Clients::on_holder_lost(Client& client) {
  if (world_.choose_below(3) == 0) return;
  const auto when = std::chrono::nanoseconds(world_.choose_below(kReturn.count()));
  world_.after(when, [this, request = client.request] {
    if (world_.process() != nullptr && !world_.is_quiet) ask(request);
  });
}

std::string Clients::what_is_wrong_with_loans() const {
  const auto listed = std::ranges::count_if(last_status_.loans, &control::Loan::is_held);
  const auto held = std::ranges::count_if(clients_, &Client::is_holding);
  if (listed > held) return "status lists a held loan, and its client has gone";
  // A `down` ends all loans.
  const auto certain = std::ranges::count_if(clients_, [this](const Client& client) {
    return client.is_holding && client.operations_before == operations_;
  });
  return listed < certain ? "the loan of a client is returned, and it holds it" : "";
}

}  // namespace vramswap::simulation
