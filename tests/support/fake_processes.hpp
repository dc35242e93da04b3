// Processes with pages in swap, as a tree of /proc shows them.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <fstream>
#include <map>
#include <string>

#include "tests/support/fake_tree.hpp"

namespace vramswap {

struct FakeProcesses {
  // An entry of a pagemap.
  static constexpr std::uint64_t swapped(unsigned type, std::uint64_t offset) {
    return 1ULL << 62 | offset << 5 | type;
  }
  static constexpr std::uint64_t kPresent = 1ULL << 63 | 0x1234;

  // `entries` by the number of the page.
  void add(pid_t pid, const std::string& maps,
           const std::map<std::uint64_t, std::uint64_t>& entries, std::uint64_t swap_kib) const {
    const std::string directory = std::to_string(pid);
    tree.write(directory + "/status", "Name:\thog\nVmSwap:\t" + std::to_string(swap_kib) + " kB\n");
    tree.write(directory + "/maps", maps);
    tree.write(directory + "/cgroup", "0::/\n");
    tree.write(directory + "/pagemap", "");
    std::ofstream pagemap(tree.path(directory + "/pagemap"), std::ios::binary);
    for (const auto& [page, entry] : entries) {
      pagemap.seekp(static_cast<std::streamoff>(page * sizeof entry));
      pagemap.write(reinterpret_cast<const char*>(&entry), sizeof entry);
    }
  }

  const FakeTree tree;
};

}  // namespace vramswap
