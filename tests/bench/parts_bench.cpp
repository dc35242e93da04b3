// The cost of each part of the engine and of the load alone.
#include <benchmark/benchmark.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include <csignal>
#include <thread>

#include "daemon/handover/page_map.hpp"
#include "daemon/system/host_memory.hpp"
#include "daemon/worker/io/page_check.hpp"
#include "daemon/worker/io/reply_sender.hpp"
#include "daemon/worker/io/transmission.hpp"
#include "daemon/worker/io/write_fence.hpp"
#include "tests/support/kernel_peer.hpp"
#include "tests/support/page_pattern.hpp"

namespace vramswap {
namespace {

constexpr std::uint64_t kPages = 1 << 18;  // 1 GiB

void decode_request(benchmark::State& state) {
  const auto wire = load::encode({.command = load::Command::read, .cookie = 1, .length = 4096});
  for (auto _ : state) benchmark::DoNotOptimize(transmission::decode_request(wire));
}
BENCHMARK(decode_request);

void encode_reply(benchmark::State& state) {
  std::array<std::byte, transmission::kReplyBytes> wire;
  std::uint64_t cookie = 0;
  for (auto _ : state) {
    transmission::encode_reply(++cookie, 0, wire);
    benchmark::DoNotOptimize(wire);
  }
}
BENCHMARK(encode_reply);

// Of requests of so many pages, one after the other over the segment.
template <class Work>
void over_the_segment(benchmark::State& state, Work work) {
  const auto count = static_cast<std::uint64_t>(state.range());
  std::uint64_t first = 0;
  for (auto _ : state) {
    work(first, count);
    first = (first + count) % kPages;
  }
}

PageMap make_page_map() {
  const auto fd = PageMap::create(kPages).value();
  return PageMap::map(fd.get(), kPages).value();
}

void page_map_run_length(benchmark::State& state) {
  PageMap pages = make_page_map();
  pages.set(0, kPages, PageState::valid);
  over_the_segment(state, [&](std::uint64_t first, std::uint64_t count) {
    benchmark::DoNotOptimize(pages.run_length(first, count));
  });
}
BENCHMARK(page_map_run_length)->Arg(1)->Arg(8)->Arg(256);

void page_map_set(benchmark::State& state) {
  PageMap pages = make_page_map();
  over_the_segment(state, [&](std::uint64_t first, std::uint64_t count) {
    pages.set(first, count, PageState::valid);
  });
}
BENCHMARK(page_map_set)->Arg(1)->Arg(32)->Arg(256);

// Of so many pages in turn: one stays in the first cache, 8,192 fit into none.
void page_checksum_of(benchmark::State& state) {
  const auto pages = static_cast<std::size_t>(state.range());
  std::vector<std::byte> memory(pages * kPageBytes, std::byte{7});
  std::size_t next = 0;
  for (auto _ : state) {
    const auto page = std::span(memory).subspan(next * kPageBytes).first<kPageBytes>();
    benchmark::DoNotOptimize(page_checksum(page));
    next = (next + 1) % pages;
  }
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(kPageBytes));
}
BENCHMARK(page_checksum_of)->Arg(1)->Arg(64)->Arg(8192);

void write_fence_claim_and_release(benchmark::State& state) {
  WriteFence fence(kPages);
  const auto claimant = Claimant::create().value();
  over_the_segment(state, [&](std::uint64_t first, std::uint64_t count) {
    benchmark::DoNotOptimize(fence.claim(first, count, claimant));
    fence.release(first, count, claimant);
  });
}
BENCHMARK(write_fence_claim_and_release)->Arg(1)->Arg(32)->Arg(256);

void set_bytes(benchmark::State& state, std::uint64_t pages) {
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(pages) * kPageBytes);
}

void pattern_fill(benchmark::State& state) {
  load::Page page;
  std::uint32_t version = 0;
  for (auto _ : state) {
    load::fill(page, 7, ++version);
    benchmark::DoNotOptimize(page);
  }
  set_bytes(state, 1);
}
BENCHMARK(pattern_fill);

void pattern_check(benchmark::State& state) {
  load::Page page;
  load::fill(page, 7, 1);
  for (auto _ : state) benchmark::DoNotOptimize(load::count_wrong_words(page, 7, 1));
  set_bytes(state, 1);
}
BENCHMARK(pattern_check);

// READ replies for a thread that reads them as fast as it can, page by page. The CPU column is the
// sender's time; the pages stay the same, so that no time is spent waiting for their return.
class Replies {
 public:
  explicit Replies(std::size_t pages) : memory_bytes_((pages + 1) * kPageBytes) {
    // Lending to a socket whose reader has gone raises it.
    std::signal(SIGPIPE, SIG_IGN);
    const auto fd = create_host_memory("replies", memory_bytes_, HostMemory::swappable).value();
    memory_ = static_cast<std::byte*>(mmap(nullptr, memory_bytes_, PROT_READ | PROT_WRITE,
                                           MAP_SHARED | MAP_POPULATE, fd.get(), 0));
    for (std::size_t page = 0; page < pages; ++page) {
      iovs_.push_back({memory_ + page * transmission::kReplyBytes, transmission::kReplyBytes});
      iovs_.push_back({memory_ + (page + 1) * kPageBytes, kPageBytes});
    }
    std::tie(theirs_, ours_) = load::make_connection();
    reader_ = std::thread([socket = theirs_.get()] {
      load::Page page;
      while (recv(socket, page.data(), sizeof page, MSG_WAITALL) > 0) {
      }
    });
  }
  Replies(const Replies&) = delete;
  ~Replies() {
    shutdown(ours_.get(), SHUT_RDWR);
    reader_.join();
    munmap(memory_, memory_bytes_);
  }

  // Sending changes it.
  std::vector<iovec> iovs() const { return iovs_; }
  int socket() const { return ours_.get(); }

 private:
  std::size_t memory_bytes_;
  std::byte* memory_;
  std::vector<iovec> iovs_;
  UniqueFd theirs_;
  UniqueFd ours_;
  std::thread reader_;
};

using SendFunction = Result<void> (ReplySender::*)(int, std::span<iovec>);

void send_replies(benchmark::State& state, SendFunction send) {
  const auto pages = static_cast<std::size_t>(state.range());
  Replies replies(pages);
  auto sender = ReplySender::create().value();
  for (auto _ : state) {
    auto iovs = replies.iovs();
    if (const auto sent = (sender.*send)(replies.socket(), iovs); !sent) {
      state.SkipWithError(sent.error().message.c_str());
      break;
    }
  }
  set_bytes(state, pages);
}
BENCHMARK_CAPTURE(send_replies, lend, &ReplySender::lend)->Arg(1)->Arg(8)->Arg(32)->Arg(256);
BENCHMARK_CAPTURE(send_replies, copy, &ReplySender::copy)->Arg(1)->Arg(8)->Arg(32)->Arg(256);

}  // namespace
}  // namespace vramswap

BENCHMARK_MAIN();
