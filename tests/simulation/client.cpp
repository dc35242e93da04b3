#include "tests/simulation/client.hpp"

#include <algorithm>
#include <ranges>

#include "tests/simulation/process.hpp"
#include "tests/simulation/world.hpp"

namespace vramswap::simulation {
namespace {

const char* name_of(const control::Request& request) {
  constexpr const char* kNames[] = {"up", "down", "status", "reload", "lend", "take back"};
  return kNames[request.index()];
}

bool lends(const control::Request& request) {
  return std::holds_alternative<control::LendRequest>(request) ||
         std::holds_alternative<control::TakeBackRequest>(request);
}

bool may_change_swap(const control::Request& request) {
  return std::holds_alternative<control::UpRequest>(request) ||
         std::holds_alternative<control::DownRequest>(request) || lends(request);
}

}  // namespace

Client& Clients::ask(control::Request request) {
  Client& client = clients_.emplace_back();
  client.number = clients_.size() - 1;
  client.request = std::move(request);
  client.disturbances_before = disturbances_;
  if (may_change_swap(client.request)) ++operations_;
  for (const auto& [index, device] : world_.kernel.devices()) {
    if (device.is_swap) client.swap_before.insert(index);
  }
  last_answer_.reset();
  world_.note("client {}: {}", client.number, name_of(client.request));
  world_.ensure_process();
  if (world_.process()->is_ready()) on_supervisor_ready();
  return client;
}

void Clients::on_supervisor_ready() {
  for (Client& client : clients_) {
    if (client.is_asked || client.is_over || client.is_gone) continue;
    client.is_asked = true;
    world_.process()->handle(client);
  }
}

void Clients::hang_up(std::uint64_t choice) {
  std::vector<Client*> waiting;
  for (Client& client : clients_) {
    if (!client.is_over && !client.is_gone) waiting.push_back(&client);
  }
  if (waiting.empty()) return;
  Client& client = *waiting[choice % waiting.size()];
  world_.note("client {}: goes away", client.number);
  client.is_gone = true;
  if (const auto on_gone = std::exchange(client.on_gone, nullptr)) on_gone();
}

void Clients::on_supervisor_end(std::optional<std::size_t> but) {
  for (Client& client : clients_) {
    client.on_gone = nullptr;
    if (client.number == but) continue;
    if (client.is_asked) client.is_over = true;
    if (std::exchange(client.is_holding, false)) on_holder_lost(client);
  }
}

void Clients::take_reply(Client& client, const control::Reply& reply) {
  if (std::holds_alternative<control::Progress>(reply)) return;
  // It gives swap areas up.
  if (lends(client.request)) disturb();
  if (client.is_gone) return;
  if (client.is_over) {
    return world_.violate(fmt::format("client {} gets a second answer", client.number));
  }
  client.is_over = true;
  const auto* failure = std::get_if<control::Failure>(&reply);
  last_answer_ = failure == nullptr;
  world_.note("client {}: {}", client.number, failure != nullptr ? failure->message : "done");
  if (const auto* status = std::get_if<control::Status>(&reply)) {
    last_status_ = *status;
    check(client, *status);
  }
  if (const auto* lent = std::get_if<control::Lent>(&reply)) take_loan(client, *lent);
  if (failure != nullptr) check_nothing_has_changed(client, *failure);
}

// Of a status that is true at this moment: the kernel must agree.
void Clients::check(const Client& client, const control::Status& status) {
  // Between the supervisor's look and its answer.
  if (client.disturbances_before != disturbances_) return;
  for (const control::SegmentStatus& segment : status.segments) {
    if (segment.state != "active") continue;
    const Device* device = world_.kernel.find(segment.device);
    if (device == nullptr || !device->is_swap) {
      world_.violate(
          fmt::format("status says {} is active, and it is no swap area", segment.device));
    }
  }
}

// A `down` or a `reload` that failed leaves all swap on.
void Clients::check_nothing_has_changed(const Client& client, const control::Failure& failure) {
  if (std::holds_alternative<control::UpRequest>(client.request) || lends(client.request)) return;
  if (client.disturbances_before != disturbances_ || any_lends()) return;
  // It could not be swapped on again, and the client is told.
  if (failure.message.find("stays off") != std::string::npos) return;
  for (const auto& [index, device] : world_.kernel.devices()) {
    if (client.swap_before.contains(index) && !device.is_swap) {
      world_.violate(fmt::format("a failed {} leaves {} without swap", name_of(client.request),
                                 device.path()));
    }
  }
}

bool Clients::any_lends() const {
  return std::ranges::any_of(
      clients_, [](const Client& client) { return !client.is_over && lends(client.request); });
}

bool Clients::any_changes_swap() const {
  return std::ranges::any_of(clients_, [](const Client& client) {
    return !client.is_over && may_change_swap(client.request);
  });
}

bool Clients::any_waits_for_supervisor() const {
  return std::ranges::any_of(clients_, [](const Client& client) {
    return !client.is_asked && !client.is_over && !client.is_gone;
  });
}

void Clients::give_up_waiting() {
  for (Client& client : clients_) {
    if (!client.is_asked) client.is_over = true;
  }
}

bool Clients::all_are_over() const {
  return std::ranges::all_of(clients_,
                             [](const Client& client) { return client.is_over || client.is_gone; });
}

}  // namespace vramswap::simulation
