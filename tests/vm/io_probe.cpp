// Shows the results of I/O on a device, swap or not, past the page cache:
//   io_probe DEVICE LIMIT_MS read:PAGE... write:PAGE:VALUE...
// All requests start at once. Prints one line when all have ended or the limit is over, and another
// when the rest have ended: "read:1=7 write:2:8=done". A page that was written here reads as its
// value (1 to 255), an empty one as 0, anything else as "wrong". An error is its name, a request
// without an answer so far "queued".
//
// The kernel lets only the program that saves an image for hibernation write to swap:
//   io_probe --open-swap DEVICE </dev/snapshot
// makes DEVICE that swap for as long as the shell that ran it keeps /dev/snapshot open.
//
//   io_probe --used-bytes FILE
// prints how many bytes of a file on a ramfs are not zero. It looks at those pages only that are
// there.

#include <fcntl.h>
#include <linux/suspend_ioctls.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace {

constexpr std::size_t page_size = 4096;
constexpr std::size_t words_per_page = page_size / sizeof(std::uint64_t);
constexpr std::uint64_t max_value = 255;

using Page = std::array<std::uint64_t, words_per_page>;

struct Request {
  std::string name;
  std::uint64_t page = 0;
  std::uint64_t value = 0;  // 0: a read
  std::string result = "queued";
};

// Every word says which page it is of.
std::uint64_t word_of(const Request& request, std::uint64_t value) {
  return request.page << 8 | value;
}

std::string value_of(const Request& request, const Page& page) {
  const auto all_are = [&](std::uint64_t word) {
    for (const std::uint64_t other : page) {
      if (other != word) return false;
    }
    return true;
  };
  if (all_are(0)) return "0";
  const std::uint64_t value = page[0] & max_value;
  return value != 0 && all_are(word_of(request, value)) ? std::to_string(value) : "wrong";
}

std::string carry_out(const Request& request, int device) {
  alignas(page_size) Page page;
  const auto offset = static_cast<off_t>(request.page * page_size);
  ssize_t done = 0;
  if (request.value != 0) {
    page.fill(word_of(request, request.value));
    done = pwrite(device, page.data(), page_size, offset);
  } else {
    done = pread(device, page.data(), page_size, offset);
  }
  if (done < 0) return strerrorname_np(errno);
  if (done != page_size) return "short";
  return request.value != 0 ? "done" : value_of(request, page);
}

class Probe {
 public:
  Probe(int device, std::vector<Request> requests) : requests_(std::move(requests)) {
    for (Request& request : requests_) {
      threads_.emplace_back([this, device, &request] {
        auto result = carry_out(request, device);
        const std::lock_guard lock(mutex_);
        request.result = std::move(result);
        ++ended_;
        changed_.notify_one();
      });
    }
  }

  void report_after(std::chrono::milliseconds limit) {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, limit, [&] { return all_ended(); });
    const bool is_last = all_ended();
    print();
    if (is_last) return;
    changed_.wait(lock, [&] { return all_ended(); });
    print();
  }

  ~Probe() {
    for (std::thread& thread : threads_) thread.join();
  }

  Probe(const Probe&) = delete;
  Probe& operator=(const Probe&) = delete;

 private:
  bool all_ended() const { return ended_ == requests_.size(); }

  void print() const {
    std::string line;
    for (const Request& request : requests_) {
      line += (line.empty() ? "" : " ") + request.name + "=" + request.result;
    }
    std::puts(line.c_str());
    std::fflush(stdout);
  }

  std::vector<Request> requests_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::size_t ended_ = 0;
  std::vector<std::thread> threads_;
};

[[noreturn]] void usage() {
  std::fputs(
      "usage: io_probe DEVICE LIMIT_MS read:PAGE... write:PAGE:VALUE...\n"
      "       io_probe --open-swap DEVICE </dev/snapshot\n"
      "       io_probe --used-bytes FILE\n",
      stderr);
  std::exit(2);
}

[[noreturn]] void die(const char* what) {
  std::perror(what);
  std::exit(1);
}

std::uint64_t take_number(std::string_view& text) {
  std::uint64_t number = 0;
  const auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{}) usage();
  text.remove_prefix(static_cast<std::size_t>(rest - text.data()));
  return number;
}

Request parse(const char* argument) {
  Request request{.name = argument};
  std::string_view text = argument;
  const bool is_write = text.starts_with("write:");
  if (!is_write && !text.starts_with("read:")) usage();
  text.remove_prefix(text.find(':') + 1);
  request.page = take_number(text);
  if (is_write) {
    if (!text.starts_with(':')) usage();
    text.remove_prefix(1);
    request.value = take_number(text);
    if (request.value == 0 || request.value > max_value) usage();
  }
  if (!text.empty()) usage();
  return request;
}

void open_swap(const char* device) {
  struct stat status {};
  if (stat(device, &status) != 0) die(device);
  // To the kernel, too, a number of a device is its major in the second byte, as long as both fit.
  resume_swap_area area{};
  area.dev = static_cast<std::uint32_t>(status.st_rdev);
  if (ioctl(STDIN_FILENO, SNAPSHOT_SET_SWAP_AREA, &area) != 0) die("SNAPSHOT_SET_SWAP_AREA");
}

std::size_t used_bytes(const char* path) {
  const int file = open(path, O_RDONLY | O_CLOEXEC);
  struct stat status {};
  if (file < 0 || fstat(file, &status) != 0) die(path);
  const auto size = static_cast<std::size_t>(status.st_size);
  if (size == 0) return 0;
  void* mapping = mmap(nullptr, size, PROT_READ, MAP_SHARED, file, 0);
  if (mapping == MAP_FAILED) die(path);
  std::vector<unsigned char> is_present((size + page_size - 1) / page_size);
  if (mincore(mapping, size, is_present.data()) != 0) die(path);
  std::size_t used = 0;
  for (std::size_t page = 0; page < is_present.size(); ++page) {
    if ((is_present[page] & 1) == 0) continue;
    const auto* bytes = static_cast<const char*>(mapping) + page * page_size;
    const std::size_t length = std::min(page_size, size - page * page_size);
    static constexpr char zeros[page_size] = {};
    if (std::memcmp(bytes, zeros, length) == 0) continue;
    used += length - static_cast<std::size_t>(std::count(bytes, bytes + length, '\0'));
  }
  return used;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc == 3 && std::strcmp(argv[1], "--open-swap") == 0) {
    open_swap(argv[2]);
    return 0;
  }
  if (argc == 3 && std::strcmp(argv[1], "--used-bytes") == 0) {
    std::printf("%zu\n", used_bytes(argv[2]));
    return 0;
  }
  if (argc < 4) usage();
  std::string_view limit_text = argv[2];
  const std::chrono::milliseconds limit(take_number(limit_text));
  if (!limit_text.empty()) usage();
  std::vector<Request> requests;
  for (int i = 3; i < argc; ++i) requests.push_back(parse(argv[i]));
  const int device = open(argv[1], O_RDWR | O_DIRECT | O_CLOEXEC);
  if (device < 0) die(argv[1]);
  Probe probe(device, std::move(requests));
  probe.report_after(limit);
  return 0;
}
