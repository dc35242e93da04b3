#include "tests/bench/engine_server.hpp"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <cerrno>

#include "tests/support/kernel_peer.hpp"

namespace vramswap::bench {

Result<std::unique_ptr<EngineServer>> EngineServer::start(StoreDevice& device,
                                                          const EngineSettings& settings) {
  std::unique_ptr<EngineServer> self(new EngineServer);
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return fail_errno("engine", "pipe2", errno);
  self->report_read_ = UniqueFd(ends[0]);
  self->report_write_ = UniqueFd(ends[1]);

  auto store = device.create(settings.segment_bytes);
  if (!store) return store.error();
  self->segment_.store = *std::move(store);
  const std::uint64_t page_count = settings.segment_bytes / kPageBytes;
  const auto page_map = PageMap::create(page_count);
  if (!page_map) return page_map.error();
  auto pages = PageMap::map(page_map->get(), page_count);
  if (!pages) return pages.error();
  self->segment_.set_pages(*std::move(pages));

  for (unsigned i = 0; i < settings.threads; ++i) {
    auto thread =
        IoThread::start(device, self->report_write_.get(), {.realtime = settings.realtime});
    if (!thread) return thread.error();
    self->threads_.push_back(*std::move(thread));
  }
  return self;
}

Result<std::vector<UniqueFd>> EngineServer::connect(unsigned count) {
  std::vector<UniqueFd> sockets;
  for (unsigned i = 0; i < count; ++i) {
    auto [ours, theirs] = load::make_connection();
    auto connection = std::make_unique<Connection>(std::move(theirs), segment_, i);
    if (auto added = threads_.at(i)->add(std::move(connection)); !added) {
      return added.error();
    }
    sockets.push_back(std::move(ours));
  }
  return sockets;
}

Result<void> EngineServer::disconnect(std::vector<UniqueFd> sockets) {
  constexpr int kPatienceMilliseconds = 10'000;
  const std::size_t count = sockets.size();
  pollfd wait{report_read_.get(), POLLIN, 0};
  if (poll(&wait, 1, 0) > 0) return fail("engine: it has ended a connection by itself");
  sockets.clear();
  for (std::size_t i = 0; i < count; ++i) {
    IoReport report{};
    if (poll(&wait, 1, kPatienceMilliseconds) != 1 ||
        read(report_read_.get(), &report, sizeof report) != sizeof report) {
      return fail("engine: no report of a connection that was closed");
    }
    if (report.end != ConnectionEnd::hung_up) return fail("engine: a connection has failed");
  }
  return {};
}

}  // namespace vramswap::bench
