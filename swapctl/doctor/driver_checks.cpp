#include "swapctl/doctor/driver_checks.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <filesystem>
#include <sstream>

#include "cuda/advice.hpp"
#include "cuda/driver.hpp"
#include "daemon/system/program_directories.hpp"

namespace vramswap::swapctl {
namespace {

constexpr int kOldestSeries = 470;
constexpr const char* kPciDevices = "/sys/bus/pci/devices";
constexpr std::string_view kNvidiaVendor = "0x10de";
constexpr std::string_view kDisplayClass = "0x03";  // VGA, 3D and other display controllers

// The folders in which the dynamic loader finds libcuda: on the distributions, under WSL2, on
// NixOS.
const std::vector<std::string> kLibraryDirectories{
    "/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64", "/usr/lib",
    "/usr/lib/wsl/lib",          "/run/opengl-driver/lib"};

bool is_version(std::string_view word) {
  return word.contains('.') && std::ranges::all_of(word, [](unsigned char c) {
           return std::isdigit(c) != 0 || c == '.';
         });
}

std::optional<std::string> find_library(const Tree& tree, const std::string& library) {
  if (!library.contains('/')) return tree.find(kLibraryDirectories, library);
  return tree.exists(library) ? std::optional(library) : std::nullopt;
}

bool is_wsl(const Tree& tree) {
  return tree.text("/proc/sys/kernel/osrelease").contains("microsoft");
}

// "580.159.04" of a file libcuda.so.580.159.04; empty if the name has none.
std::string version_of_file(const std::string& path) {
  std::error_code error;
  const std::string name = std::filesystem::canonical(path, error).filename();
  constexpr std::string_view kStart = "libcuda.so.";
  if (error || !name.starts_with(kStart)) return "";
  std::string version = name.substr(kStart.size());
  return is_version(version) ? version : "";
}

}  // namespace

std::vector<Card> find_cards(const Tree& tree) {
  std::vector<Card> cards;
  for (const auto& address : tree.names(kPciDevices)) {
    const std::string device = fmt::format("{}/{}", kPciDevices, address);
    if (tree.text(device + "/vendor") != kNvidiaVendor) continue;
    if (!tree.text(device + "/class").starts_with(kDisplayClass)) continue;
    const auto driver = tree.link(device + "/driver");
    cards.push_back({.pci_address = address,
                     .driver = driver ? std::filesystem::path(*driver).filename().string() : "",
                     .is_awake = tree.text(device + "/power/runtime_status") == "active"});
  }
  return cards;
}

std::optional<std::string> module_version(const Tree& tree) {
  // "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.159.04  Release Build  (...)"
  std::istringstream words(tree.text("/proc/driver/nvidia/version"));
  for (std::string word; words >> word;) {
    if (is_version(word)) return word;
  }
  return std::nullopt;
}

Finding check_cards(const std::vector<Card>& cards) {
  constexpr const char* kName = "cards";
  if (cards.empty()) {
    return failure(kName, "no NVIDIA GPU on the PCI bus", "use --backend ram to try vramswap out");
  }
  std::vector<std::string> words;
  const Card* other = nullptr;
  bool has_nvidia = false;
  for (const Card& card : cards) {
    has_nvidia = has_nvidia || card.driver == "nvidia";
    if (card.driver != "nvidia") other = &card;
    words.push_back(fmt::format("{} ({})", card.pci_address,
                                card.driver.empty()       ? "no driver"
                                : card.driver != "nvidia" ? card.driver
                                : card.is_awake           ? "awake"
                                                          : "asleep"));
  }
  const std::string text = fmt::format("{}", fmt::join(words, ", "));
  if (has_nvidia) return ok(kName, text);
  return failure(
      kName, text,
      other->driver.empty()
          ? "install the NVIDIA driver, or load it: modprobe nvidia"
          : fmt::format("bind the card to the NVIDIA driver instead of {}", other->driver));
}

Finding check_driver(const Tree& tree) {
  constexpr const char* kName = "nvidia module";
  const auto version = module_version(tree);
  if (!version) {
    return failure(kName, "not loaded", "install the NVIDIA driver, or load it: modprobe nvidia");
  }
  int series = 0;
  std::from_chars(version->data(), version->data() + version->size(), series);
  if (series < kOldestSeries) return failure(kName, *version, cuda::kTooOldAdvice);
  return ok(kName, *version);
}

Finding check_libcuda(const Tree& tree, const std::string& library) {
  constexpr const char* kName = "libcuda";
  const auto file = find_library(tree, library);
  if (!file) return failure(kName, "no " + library, cuda::kNoLibraryAdvice);
  const std::string on_disk = version_of_file(tree.path(*file));
  const auto loaded = module_version(tree);
  if (on_disk.empty() || !loaded) {
    return unknown(kName, fmt::format("{}: its version cannot be compared", *file),
                   "run nvidia-smi, which says whether the versions differ");
  }
  if (on_disk != *loaded) {
    return failure(kName, fmt::format("{} is {}, the nvidia module {}", *file, on_disk, *loaded),
                   cuda::kMismatchAdvice);
  }
  return ok(kName, fmt::format("{}, {}", *file, on_disk));
}

Finding check_uvm(const Tree& tree) {
  constexpr const char* kName = "nvidia-uvm module";
  if (tree.exists("/sys/module/nvidia_uvm")) return ok(kName, "loaded");
  const std::vector<std::string> directories(kProgramDirectories.begin(),
                                             kProgramDirectories.end());
  if (tree.find(directories, "nvidia-modprobe")) {
    return ok(kName, "not loaded; nvidia-modprobe loads it");
  }
  return warning(kName, "not loaded, and there is no nvidia-modprobe to load it",
                 "modprobe nvidia-uvm");
}

Finding check_export(const Tree& tree, const std::optional<control::Status>& status) {
  constexpr const char* kName = "export of VRAM";
  if (is_wsl(tree)) return failure(kName, "this is WSL2", cuda::kNoExportAdvice);
  const bool is_up = status && std::ranges::count(status->segments, control::Backend::vram,
                                                  &control::SegmentStatus::backend) > 0;
  if (is_up) return ok(kName, "works: swap on VRAM is up");
  return unknown(kName, "only the driver knows, and asking it wakes the GPU",
                 "'vramswap up' asks it, and fails if it cannot");
}

Findings driver_findings(const Tree& tree, const std::vector<Card>& cards,
                         const std::optional<control::Status>& status) {
  // Under WSL2 the GPU is not on the PCI bus, and no other check applies.
  if (is_wsl(tree)) return {check_export(tree, status)};
  if (cards.empty()) return {check_cards(cards)};
  return {check_cards(cards), check_driver(tree),
          check_libcuda(tree, cuda::driver_library(cuda::kCudaLibrary)), check_uvm(tree),
          check_export(tree, status)};
}

}  // namespace vramswap::swapctl
