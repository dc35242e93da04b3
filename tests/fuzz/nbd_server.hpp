// An I/O thread without thread and socket, on a store in host memory: two batches that take turns,
// as in Pipeline, and a peer that reads the replies when it likes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "daemon/worker/io/batch.hpp"
#include "daemon/worker/store/store.hpp"
#include "tests/fuzz/late_copier.hpp"
#include "tests/fuzz/nbd_model.hpp"

namespace vramswap::fuzz {

class NbdServer {
 public:
  explicit NbdServer(std::uint64_t page_count);

  // Begins a connection whose requests `model` knows. Pages may be set as failing before.
  void connect(NbdModel& model);
  enum class Failing { lost, corrupt, changing };
  void set_failing(std::uint64_t page, Failing how);

  LateCopier& copier() { return copier_; }

  // Takes the bytes of a receive call; without bytes it only serves the READs that wait. No value:
  // all bytes are served.
  std::optional<Batch::Stop> receive(std::span<const std::byte> bytes);
  std::size_t max_bytes() const { return Staging::kReceiveBytes - connection_->carry_bytes; }
  // Requests are answered one batch later otherwise.
  void set_eager(bool eager) { eager_ = eager; }
  void set_early_headers(bool early) { early_headers_ = early; }
  void finish_all();
  bool has_waiting_reads() const { return !connection_->waiting_reads.empty(); }
  // A READ was cut off: the connection has ended.
  bool is_cut_off() const { return is_cut_off_; }

  // The peer reads so many bytes, or all. Checks the replies that are complete.
  void read_replies(std::size_t bytes = ~std::size_t{0});
  // Ends the connection. Checks that nothing is left of it, and what each page holds.
  void disconnect(bool is_complete);

 private:
  void start();
  void finish(Batch& batch);
  void send(std::span<const iovec> iovs, bool lend);
  void check_replies();
  void check_pages();

  std::unique_ptr<StoreDevice> device_;
  ServedSegment segment_;
  UniqueFd socket_;
  UniqueFd peer_;
  Staging staging_;
  LateCopier copier_;
  std::array<Batch, Copier::kSlots> batches_;
  std::optional<Connection> connection_;
  NbdModel* model_ = nullptr;
  unsigned turn_ = 0;
  unsigned area_ = 0;
  // Exactly as long as the received bytes, for the address sanitizer.
  std::array<std::vector<std::byte>, Staging::kReceiveAreas> areas_;
  bool eager_ = false;
  bool early_headers_ = false;
  bool is_cut_off_ = false;
  // Bytes that were sent and not read. Lent memory is compared when the peer reads it.
  struct Sent {
    std::vector<std::byte> copied;
    std::span<const std::byte> bytes;
  };
  std::deque<Sent> sent_;
  std::uint64_t read_bytes_ = 0;
  std::vector<std::byte> unchecked_;  // of what the peer has read
};

}  // namespace vramswap::fuzz
