#include "tests/fake_machine/fake_worker.hpp"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>

#include <utility>

#include "daemon/base/page_size.hpp"
#include "daemon/handover/page_map.hpp"
#include "daemon/system/host_memory.hpp"

namespace vramswap::fake {
namespace {

bool is_open_at_the_other_end(const UniqueFd& socket) {
  pollfd end{socket.get(), POLLRDHUP, 0};
  return poll(&end, 1, 0) == 0;
}

const char* name_of(const messages::Request& request) {
  constexpr const char* kNames[] = {"Start",       "Create",      "Import",      "Connect",
                                    "Remove",      "Describe",    "Adopt",       "HandOver",
                                    "Replace",     "ReportStats", "ShareDriver", "Ping",
                                    "PrepareMove", "FinishMove",  "AbandonMove"};
  return kNames[request.index()];
}

}  // namespace

class FakeLink : public WorkerLink, public std::enable_shared_from_this<FakeLink> {
 public:
  FakeLink(asio::io_context& io, std::shared_ptr<FakeWorker> worker)
      : worker_(std::move(worker)), received_(io, asio::steady_timer::time_point::max()) {}

  pid_t pid() const override { return worker_->pid; }
  Result<void> send(std::string_view text, std::span<const int> fds) override {
    if (!worker_->is_alive) return fail_errno("worker channel", "sendmsg", EPIPE);
    worker_->receive(shared_from_this(), text, fds);
    return {};
  }
  awaitable<Result<std::optional<Packet>>> receive() override {
    ErrorCode ignored;
    while (is_open_ && packets_.empty()) co_await received_.async_wait(into(ignored));
    co_return receive_now();
  }
  Result<std::optional<Packet>> receive_now() override {
    if (!is_open_) return std::optional<Packet>();
    if (packets_.empty()) return fail_errno("worker channel", "recvmsg", EAGAIN);
    auto packet = std::move(packets_.front());
    packets_.pop_front();
    if (!packet) return packet.error();
    return std::optional<Packet>(*std::move(packet));
  }
  // A worker that serves no device ends with its channel.
  void close() override {
    is_open_ = false;
    received_.cancel();
    if (!worker_->serves_somebody()) worker_->die();
  }
  bool is_open() const override { return is_open_; }
  awaitable<std::optional<int>> wait_for_exit() override {
    ErrorCode ignored;
    while (worker_->is_alive) co_await worker_->exited_.async_wait(into(ignored));
    co_return SIGKILL;
  }
  void kill() override { worker_->die(); }
  Result<std::uint64_t> resident_bytes() const override { return 1 << 20; }

  void deliver(Result<Packet> packet) {
    packets_.push_back(std::move(packet));
    received_.cancel();
  }

 private:
  const std::shared_ptr<FakeWorker> worker_;
  bool is_open_ = true;
  std::deque<Result<Packet>> packets_;  // to the supervisor
  asio::steady_timer received_;
};

FakeWorker::FakeWorker(asio::io_context& io, Steps& steps, pid_t id)
    : pid(id), steps_(steps), exited_(io, asio::steady_timer::time_point::max()) {}

void FakeWorker::receive(const std::shared_ptr<FakeLink>& link, std::string_view text,
                         std::span<const int> fds) {
  auto request = messages::decode_request(text);
  if (request && stops_at == request->index()) {
    stops_at.reset();
    stop();
  }
  if (is_stopped_) {
    auto& waiting = waiting_.emplace_back(link, std::string(text));
    for (const int fd : fds) waiting.fds.push_back(duplicate(fd));
    return;
  }
  if (!request) return tell(messages::Failed{request.error().message, request.error().code});
  // It changes nothing, and comes every few seconds.
  const bool is_step = !std::holds_alternative<messages::ReportStats>(*request) &&
                       !std::holds_alternative<messages::Ping>(*request);
  const auto step = is_step ? steps_.take(name_of(*request)) : Result<void>{};
  if (dies_at == request->index()) return die();
  if (!answers) return;
  if (!step) return tell(messages::Failed{step.error().message, step.error().code});
  std::vector<UniqueFd> received;
  for (const int fd : fds) received.push_back(duplicate(fd));
  std::vector<UniqueFd> answer_fds;
  const auto message = answer(*request, std::move(received), answer_fds);
  const bool is_move = std::holds_alternative<messages::FinishMove>(*request);
  if (is_move && dies_in_move_when_moved) return die();
  tell(message, std::move(answer_fds));
  if (dies_after == request->index()) die();
}

messages::Message FakeWorker::answer(const messages::Request& request, std::vector<UniqueFd> fds,
                                     std::vector<UniqueFd>& answer_fds) {
  using namespace messages;
  if (const auto fails = fails_with.find(request.index()); fails != fails_with.end()) {
    return Failed{"ordered to fail", fails->second};
  }
  if (const auto* given = std::get_if<Start>(&request)) {
    start = *given;
    if (given->has_context_reserve && !fds.empty()) {
      context_reserve = std::move(fds.back());
      fds.pop_back();
    }
    if (given->has_copy_notes && !fds.empty()) {
      copy_notes = std::move(fds.back());
      fds.pop_back();
    }
    if (fails_with_kept_driver && !fds.empty()) return Failed{"ordered to fail"};
    load_driver(std::move(fds));
    if (start.leaves_card && context_reserve) give_up_reserve();
    if (!start.leaves_card) make_reserve();
    return Started{{.name = "ram",
                    .uuid = start.gpu,
                    .free_bytes = 1 << 30,
                    .total_bytes = 1 << 30,
                    .granularity_bytes = 1 << 20,
                    .context_bytes = context_bytes,
                    .is_exclusive = is_exclusive}};
  }
  if (const auto* create = std::get_if<Create>(&request)) {
    auto memory = create_host_memory("fake-store", create->size_bytes, HostMemory::swappable);
    if (!memory) return Failed{memory.error().message, memory.error().code};
    answer_fds.push_back(memory->duplicate());
    make_reserve();
    segments[create->segment] = {.size_bytes = create->size_bytes,
                                 .page_map = std::move(fds.at(0)),
                                 .store = *std::move(memory),
                                 .connections = {}};
    return Done{};
  }
  if (const auto* import = std::get_if<Import>(&request)) {
    if (stale_segments.contains(import->segment)) return Failed{"ordered to fail", ESTALE};
    auto& segment = segments[import->segment];
    segment = {.size_bytes = import->size_bytes,
               .page_map = std::move(fds.at(0)),
               .store = std::move(fds.at(1)),
               .connections = {}};
    if (gives_up_in.contains(import->segment)) {
      PageMap::map(segment.page_map.get(), import->size_bytes / kPageBytes)
          .value()
          .set(0, 1, PageState::lost);
    }
    return Done{};
  }
  if (const auto* prepare = std::get_if<PrepareMove>(&request)) {
    auto& segment = segments.at(prepare->segment);
    auto memory = create_host_memory("fake-store", segment.size_bytes, HostMemory::swappable);
    if (!memory) return Failed{memory.error().message, memory.error().code};
    answer_fds.push_back(memory->duplicate());
    if (prepare->store.place == StorePlace::card) make_reserve();
    segment.next_id = prepare->store;
    segment.next = *std::move(memory);
    return Done{};
  }
  if (const auto* finish = std::get_if<FinishMove>(&request)) {
    auto& segment = segments.at(finish->segment);
    if (!segment.next) return Failed{"no move was prepared"};
    if (dies_in_move_when_moved == false) return Failed{};  // receive() kills it
    PageMap::map(segment.page_map.get(), segment.size_bytes / kPageBytes)
        .value()
        .set_store(segment.next_id);
    segment.store = std::move(segment.next);
    return Done{};
  }
  if (const auto* abandon = std::get_if<AbandonMove>(&request)) {
    segments.at(abandon->segment).next.reset();
    return Done{};
  }
  if (const auto* connect = std::get_if<Connect>(&request)) {
    auto& segment = segments.at(connect->segment);
    for (std::size_t i = 0; i < connect->connections.size(); ++i) {
      const auto& name = connect->connections[i];
      segment.connections[name.id] = {name.thread, std::move(fds.at(i))};
    }
    return Done{};
  }
  if (const auto* remove = std::get_if<Remove>(&request)) {
    if (segments.erase(remove->segment) == 0) return Failed{"no such segment"};
    return Done{};
  }
  if (const auto* describe = std::get_if<Describe>(&request)) description = describe->text;
  if (const auto* replace = std::get_if<Replace>(&request)) {
    program = replace->program;
    if (replace->leaves_card && context_reserve) give_up_reserve();
  }
  if (const auto* hand_over = std::get_if<HandOver>(&request)) {
    const auto& segment = segments.at(hand_over->segment);
    answer_fds.push_back(segment.page_map.duplicate());
    answer_fds.push_back(segment.store.duplicate());
  }
  if (std::holds_alternative<Adopt>(request)) {
    Adopted adopted{.description = description, .state = state, .segments = {}};
    for (const auto& [id, segment] : segments) {
      auto& held = adopted.segments.emplace_back(id);
      for (const auto& [name, socket] : segment.connections) {
        if (!is_open_at_the_other_end(socket.second)) continue;
        held.connections.push_back({name, socket.first});
      }
    }
    if (copy_notes) answer_fds.push_back(copy_notes.duplicate());
    return adopted;
  }
  if (std::holds_alternative<ReportStats>(request)) {
    ++stats_reported;
    return Stats{};
  }
  if (std::holds_alternative<Ping>(request)) return Alive{};
  if (std::holds_alternative<ShareDriver>(request)) {
    for (const UniqueFd& fd : driver_) answer_fds.push_back(fd.duplicate());
    return Driver{driver_.empty() ? "" : driver_path, driver_.size() == 2};
  }
  return Done{};
}

void FakeWorker::make_reserve() {
  if (context_bytes == 0 || !has_room || context_reserve) return;
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return;
  reserve_watch_ = UniqueFd(ends[0]);
  context_reserve = UniqueFd(ends[1]);
  tell_of_reserve();
}

void FakeWorker::tell_of_reserve() {
  if (!context_reserve) return;
  std::vector<UniqueFd> fds;
  fds.push_back(context_reserve.duplicate());
  tell(messages::ContextReserve{}, std::move(fds));
}

void FakeWorker::give_up_reserve() {
  context_reserve.reset();
  tell(messages::ContextReserve{});
}

bool FakeWorker::is_reserve_held() const {
  if (!reserve_watch_) return false;
  pollfd end{reserve_watch_.get(), POLLIN, 0};
  return poll(&end, 1, 0) == 0;
}

void FakeWorker::load_driver(std::vector<UniqueFd> fds) {
  start_fds = std::move(fds);
  for (const UniqueFd& fd : start_fds) driver_.push_back(fd.duplicate());
  if (!start_fds.empty() || driver_path.empty()) return;
  driver_.emplace_back(open(driver_path.c_str(), O_RDONLY | O_CLOEXEC));
  if (has_page_kernel) driver_.emplace_back(memfd_create("fake-cubin", MFD_CLOEXEC));
}

void FakeWorker::tell(const messages::Message& message, std::vector<UniqueFd> fds) {
  if (const auto link = link_.lock()) link->deliver(Packet{encode(message), std::move(fds)});
}

void FakeWorker::fail_receive(int code) {
  if (const auto link = link_.lock()) link->deliver(Error{"worker channel: recvmsg", code});
}

void FakeWorker::go_on() {
  is_stopped_ = false;
  const auto latest = link_;
  for (auto& waiting : std::exchange(waiting_, {})) {
    const auto link = waiting.link.lock();
    if (!link || !link->is_open()) continue;
    link_ = link;
    std::vector<int> fds;
    for (const UniqueFd& fd : waiting.fds) fds.push_back(fd.get());
    receive(link, waiting.text, fds);
  }
  link_ = latest;
}

bool FakeWorker::serves_somebody() const {
  for (const auto& [id, segment] : segments) {
    for (const auto& [name, connection] : segment.connections) {
      if (is_open_at_the_other_end(connection.second)) return true;
    }
  }
  return false;
}

void FakeWorker::die() {
  is_alive = false;
  segments.clear();
  context_reserve.reset();
  exited_.cancel();
}

Result<std::shared_ptr<WorkerLink>> FakeLauncher::spawn() {
  if (auto step = steps_.take("spawn"); !step) return step.error();
  auto worker =
      std::make_shared<FakeWorker>(io_, steps_, static_cast<pid_t>(1000 + workers.size()));
  worker->fails_with = fails_with;
  worker->answers = answer;
  worker->stale_segments = stale_segments;
  worker->stops_at = stops_at;
  worker->gives_up_in = gives_up_in;
  worker->driver_path = driver_path;
  worker->has_page_kernel = has_page_kernel;
  worker->fails_with_kept_driver = fails_with_kept_driver;
  worker->is_exclusive = is_exclusive;
  worker->context_bytes = context_bytes;
  worker->has_room = has_room;
  workers.push_back(worker);
  if (die_at_start > 0) {
    --die_at_start;
    worker->die();
  }
  return connect(worker);
}

std::shared_ptr<WorkerLink> FakeLauncher::connect(const std::shared_ptr<FakeWorker>& worker) {
  auto link = std::make_shared<FakeLink>(io_, worker);
  worker->link_ = link;
  return link;
}

std::vector<std::string> FakeLauncher::find_sockets(const std::string&) const {
  std::vector<std::string> paths;
  for (const auto& worker : workers) {
    if (worker->is_alive && !worker->start.rendezvous.empty()) {
      paths.push_back(worker->start.rendezvous);
    }
  }
  return paths;
}

Result<std::shared_ptr<WorkerLink>> FakeLauncher::reattach(const std::string& socket) {
  for (const auto& worker : workers) {
    if (!worker->is_alive || worker->start.rendezvous != socket) continue;
    auto link = connect(worker);
    worker->tell_of_reserve();
    return link;
  }
  return fail_errno(socket, "connect", ECONNREFUSED);
}

}  // namespace vramswap::fake
