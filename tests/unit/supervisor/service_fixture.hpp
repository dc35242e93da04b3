// A service on a fake machine.
#pragma once

#include <gmock/gmock.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "daemon/supervisor/service.hpp"
#include "daemon/supervisor/spawn.hpp"
#include "tests/fake_machine/fake_machine.hpp"

namespace vramswap {

class NoSuccessor : public Successor {
 public:
  std::string path() const override { return "/nonexistent"; }
  awaitable<Result<void>> ask_to_take_over(int) override { co_return fail("there is none"); }
  Error become(NamedFds) override { return {"there is none"}; }
};

class FakeSession : public Session {
 public:
  explicit FakeSession(bool is_root) : is_root_(is_root) {}
  bool is_root() const override { return is_root_; }
  bool is_in_group(gid_t group) override { return std::ranges::count(groups, group) > 0; }
  void send(const control::Reply& reply) override { replies.push_back(reply); }
  awaitable<void> flush() override { co_return; }
  void watch(std::function<void()>) override {}
  void stop_watching() override {}
  UniqueFd duplicate() override { return {}; }

  std::vector<control::Reply> replies;
  std::vector<gid_t> groups;

 private:
  const bool is_root_;
};

class ServiceTest : public testing::Test {
 protected:
  ServiceTest() { begin_supervisor(); }

  // Without a word to anybody; all that it had begun is over.
  void end_supervisor() {
    machine_.pass(std::chrono::minutes(1));
    service_.reset();
  }
  // One that was there before has died.
  void begin_supervisor() {
    end_supervisor();
    service_.emplace(machine_.interfaces, successor_,
                     Service::Options{.ends_with_client = false,
                                      .pool = {.runtime_directory = "/nonexistent",
                                               .device_prefix = "vramswap-",
                                               .default_connections = 2,
                                               .page_map_memory = HostMemory::swappable},
                                      .fds_beside_pool = 1},
                     Service::Exit{.refuse_clients = [] {}, .end = [this] { is_over_ = true; }});
  }

  std::shared_ptr<FakeSession> begin(control::Request request, bool is_root) {
    return begin(std::move(request), std::make_shared<FakeSession>(is_root));
  }
  std::shared_ptr<FakeSession> begin(control::Request request,
                                     std::shared_ptr<FakeSession> session) {
    spawn(machine_.io, service_->handle(std::move(request), session));
    return session;
  }
  control::Reply ask(control::Request request, bool is_root) {
    return ask(std::move(request), std::make_shared<FakeSession>(is_root));
  }
  control::Reply ask(control::Request request, std::shared_ptr<FakeSession> session) {
    begin(std::move(request), session);
    machine_.run_until([&] { return !session->replies.empty(); });
    return session->replies.back();
  }
  control::Status status(bool is_root) {
    return std::get<control::Status>(ask(control::StatusRequest{}, is_root));
  }
  void up() {
    control::UpRequest request;
    request.size = control::Bytes{64 << 20};
    request.backend = control::Backend::ram;
    ASSERT_TRUE(std::holds_alternative<control::Status>(ask(request, true)));
  }

  fake::FakeMachine machine_;
  NoSuccessor successor_;
  std::optional<Service> service_;
  bool is_over_ = false;
};

}  // namespace vramswap
