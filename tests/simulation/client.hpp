// Simulated clients: `vramswap up`, `down`, `status`, `reload`, `lend`, `take-back` and `run`, each
// with one request.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "daemon/control/protocol.hpp"

namespace vramswap::simulation {

class World;

struct Client {
  std::size_t number = 0;
  control::Request request;
  bool is_asked = false;                // the supervisor has the request
  bool is_gone = false;                 // by Ctrl-C
  bool is_over = false;                 // it has its answer, or its connection has ended
  bool is_holding = false;              // it has a loan, for as long as it keeps its connection
  unsigned operations_before = 0;       // when it got the loan
  std::function<void()> on_gone;        // the supervisor watches for that
  std::set<std::uint32_t> swap_before;  // the devices that were swap when it asked
  unsigned disturbances_before = 0;
};

class Clients {
 public:
  explicit Clients(World& world) : world_(world) {}

  // Starts the supervisor where there is none.
  Client& ask(control::Request request);
  // Ctrl-C for one that waits for its answer.
  void hang_up(std::uint64_t choice);
  void take_reply(Client& client, const control::Reply& reply);
  // One that holds a loan ends.
  void end_a_loan(std::uint64_t choice);
  void end_all_loans();
  // Of the last status, where no operation is under way: it lists the held loans of these clients
  // and no others. Empty: it does.
  std::string what_is_wrong_with_loans() const;
  // The supervisor listens: it gets what has been asked.
  void on_supervisor_ready();
  // All connections end, but that of the client that goes on in another program.
  void on_supervisor_end(std::optional<std::size_t> but);
  std::optional<std::size_t> reloading;  // that asked for the reload under way

  bool any_waits_for_supervisor() const;
  // There is no supervisor, so they end.
  void give_up_waiting();

  // What may keep an operation from putting back what it found: a fault in store for swap calls, or
  // somebody else.
  void disturb() { ++disturbances_; }
  // What may have changed the swap: that, and each `up` and `down`.
  unsigned interferences() const { return disturbances_ + operations_; }
  // An `up` or `down`, `lend` or `take-back` that has no answer yet.
  bool any_changes_swap() const;

  Client& at(std::size_t number) { return clients_.at(number); }
  bool all_are_over() const;
  // The answer to the last request: success, or not, or none yet.
  std::optional<bool> last_answer() const { return last_answer_; }
  // Empty before the first one.
  const control::Status& last_status() const { return last_status_; }

 private:
  void end_loan(Client& client);
  void take_loan(Client& client, const control::Lent& lent);
  void check_all_is_free();
  void on_holder_lost(Client& client);
  bool any_lends() const;
  void check(const Client& client, const control::Status& status);
  void check_nothing_has_changed(const Client& client, const control::Failure& failure);

  World& world_;
  std::deque<Client> clients_;
  std::optional<bool> last_answer_;
  control::Status last_status_;
  unsigned disturbances_ = 0;
  unsigned operations_ = 0;
};

}  // namespace vramswap::simulation
