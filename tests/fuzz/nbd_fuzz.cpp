// A stream of NBD requests, cut into pieces as a socket may do it, through the decoder and the
// batches of an I/O thread. The input is a program: it says when the copies are made, which pages
// fail from the start, which requests follow (most are well formed, so that the fuzzer need not
// guess pages of payload), and when bytes arrive, batches end and replies are read.
#include <algorithm>
#include <cstring>

#include "tests/fuzz/fuzz.hpp"
#include "tests/fuzz/nbd_model.hpp"
#include "tests/fuzz/nbd_server.hpp"
#include "tests/support/kernel_peer.hpp"

namespace vramswap::fuzz {
namespace {

// Room for a READ of 256 pages, and for those that go past the end.
constexpr std::uint64_t kPages = 300;
constexpr std::size_t kMaxRequests = 500;
constexpr std::size_t kMaxStreamBytes = 4 << 20;

using Bytes = std::vector<std::byte>;
using load::Command;

void append(Bytes& to, const void* data, std::size_t bytes) {
  const auto* first = static_cast<const std::byte*>(data);
  to.insert(to.end(), first, first + bytes);
}

void add_header(Bytes& stream, Command command, std::uint64_t offset, std::uint32_t length,
                std::uint16_t flags = 0) {
  const auto header =
      load::encode({.command = command, .offset = offset, .length = length, .flags = flags});
  append(stream, header.data(), header.size());
}

// Three of four requests are about the first eight pages.
std::uint64_t page_of(Reader& program, unsigned operation) {
  const std::uint64_t page = program.byte();
  return (operation & 0x30) != 0 ? page % 8 : page * kPages / 255;
}

std::uint32_t page_count_of(Reader& program, unsigned operation) {
  const std::uint32_t count = program.byte();
  return 1 + ((operation & 0xC0) != 0 ? count % 4 : count);
}

void add_write(Bytes& stream, Reader& program, unsigned operation, std::uint32_t version) {
  const std::uint64_t page = page_of(program, operation);
  const std::uint32_t count = page_count_of(program, operation);
  const unsigned zeros = program.byte();  // a bit a page
  add_header(stream, Command::write, page * kPageBytes, count * kPageBytes, zeros & 1);
  for (std::uint32_t i = 0; i < count; ++i) {
    load::Page content;
    load::fill(content, page + i, (zeros >> i % 8 & 1) != 0 ? 0 : version);
    append(stream, content.data(), sizeof content);
  }
}

void add_operation(Bytes& stream, Reader& program, std::uint32_t version) {
  const unsigned operation = program.byte();
  switch (operation & 7) {
    case 0:
    case 1:
      add_write(stream, program, operation, version);
      break;
    case 2:
    case 3: {
      const std::uint64_t page = page_of(program, operation);
      add_header(stream, Command::read, page * kPageBytes,
                 page_count_of(program, operation) * kPageBytes);
      break;
    }
    case 4: {
      const std::uint64_t page = page_of(program, operation);
      add_header(stream, (operation & 8) != 0 ? Command::trim : Command::write_zeroes,
                 page * kPageBytes, page_count_of(program, operation) * kPageBytes);
      break;
    }
    case 5:
      add_header(stream, Command::flush, 0, 0);
      break;
    case 6: {
      const auto command = static_cast<Command>(program.integer<std::uint16_t>());
      const auto offset = program.integer<std::uint64_t>();
      add_header(stream, command, offset, program.integer<std::uint32_t>());
      break;
    }
    default: {
      const auto raw = program.bytes(operation >> 3);
      append(stream, raw.data(), raw.size());
    }
  }
}

// What happens while the stream arrives: a byte a piece, over and over.
void play(NbdServer& server, std::span<const std::byte> stream, Reader schedule_bytes,
          NbdModel::End end) {
  Bytes schedule;
  while (!schedule_bytes.is_empty()) schedule.push_back(std::byte{schedule_bytes.byte()});
  if (schedule.empty()) schedule.push_back(std::byte{0});
  std::optional<Batch::Stop> stop;
  for (std::size_t turn = 0; !stop && !stream.empty(); ++turn) {
    const auto step = static_cast<unsigned>(schedule[turn % schedule.size()]);
    // Pieces of a byte would take forever over a long stream.
    constexpr std::size_t kPieces[] = {~std::size_t{0}, 27, 28, 29, 4095, 4096, 5000, 100'000};
    const std::size_t wanted =
        std::max(turn < 64 && (step & 7) == 1 ? 1 : kPieces[step & 7], stream.size() / 4096);
    const auto piece = stream.first(std::min({wanted, stream.size(), server.max_bytes()}));
    stream = stream.subspan(piece.size());
    server.set_eager((step & 8) != 0);
    server.set_early_headers((step & 16) != 0);
    stop = server.receive(piece);
    if ((step & 32) != 0) server.finish_all();
    if ((step & 64) != 0) server.read_replies((step & 128) != 0 ? 70'000 : ~std::size_t{0});
  }
  server.finish_all();
  server.read_replies();
  for (std::size_t i = 0; !stop && server.has_waiting_reads(); ++i) {
    require(i < kMaxRequests, "READs that wait are served when there is memory");
    stop = server.receive({});
    server.finish_all();
    server.read_replies();
  }
  if (server.is_cut_off()) return;
  const auto seen = !stop                              ? NbdModel::End::open
                    : *stop == Batch::Stop::disconnect ? NbdModel::End::disconnect
                                                       : NbdModel::End::broken;
  require(seen == end, "a stream ends where it must");
}

void run(Reader program) {
  static NbdServer server(kPages);
  NbdModel model(kPages);
  server.connect(model);
  bool has_corrupt_pages = false;
  const unsigned first = program.byte();
  server.copier().set_early(Direction::to_host, (first & 8) != 0);
  server.copier().set_early(Direction::from_host, (first & 16) != 0);
  for (unsigned left = first % 8; left > 0; --left) {
    const std::uint64_t page = program.byte();
    const auto how = static_cast<NbdServer::Failing>(program.byte() % 3);
    has_corrupt_pages |= how != NbdServer::Failing::lost;
    server.set_failing(page, how);
    model.set_failing(page);
  }
  const Reader schedule(program.bytes(program.byte()));
  Bytes stream;
  for (std::uint32_t i = 1; i <= kMaxRequests && !program.is_empty(); ++i) {
    add_operation(stream, program, i);
    if (stream.size() > kMaxStreamBytes) break;
  }
  model.apply(stream);
  play(server, stream, schedule, model.end());
  require(!server.is_cut_off() || has_corrupt_pages, "no READ of good pages is cut off");
  server.disconnect(model.end() == NbdModel::End::open);
}

}  // namespace
}  // namespace vramswap::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  vramswap::fuzz::run(vramswap::fuzz::Reader({data, size}));
  return 0;
}
