// A hostile client of the control socket:
//   control_client SOCKET idle COUNT          connects COUNT times and says nothing
//   control_client SOCKET deaf COUNT          connects COUNT times, asks for the status and reads
//   nothing control_client SOCKET mutate COUNT SEED   sends COUNT messages that look like requests,
//   and reads
// The first two keep every connection open, say so in one line, and go on with a new one each 10 ms
// until they are killed. The third says in one line what came of its messages, and ends.

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <string>
#include <string_view>

namespace {

constexpr std::string_view kStatus = "{\"protocol\":2,\"type\":\"status\"}\n";
constexpr std::string_view kRequests[] = {
    "{\"protocol\":2,\"type\":\"status\"}",
    "{\"force\":false,\"protocol\":2,\"type\":\"down\"}",
    "{\"protocol\":2,\"type\":\"reload\"}",
    "{\"backend\":\"ram\",\"connections\":2,\"doze_after_s\":null,\"gpus\":[\"0\"],\"hang_timeout_"
    "s\":"
    "10,\"priority\":100,\"protocol\":2,\"reconnect_timeout_s\":600,\"segment_size_bytes\":"
    "1073741824,\"size\":\"64M\",\"type\":\"up\"}",
};
// What parsers trip over.
constexpr std::string_view kPieces[] = {
    "[[[[[[[[", "{\"a\":", "\"\\u0000\"", "\"\\ud800\"", "1e400", "-1", "18446744073709551616",
    "\xff\xfe", "null",    "\"",          "\\",          "\n",    "}",
};

sockaddr_un address{};

// Ends the program if no process listens: a case that continued would prove nothing.
int dial() {
  const int connection = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (connection < 0 ||
      connect(connection, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
    std::perror("control_client");
    std::exit(1);
  }
  return connection;
}

[[noreturn]] void hold(long count, std::string_view request) {
  for (long made = 0;; ++made) {
    // The program's limit is where it stops: no more than the case gives it are open.
    if (made == count) {
      std::printf("control_client: %ld connections\n", made);
      std::fflush(stdout);
    }
    const int connection = dial();
    send(connection, request.data(), request.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (made < count) continue;
    usleep(10'000);
    close(connection);
  }
}

std::string mutated(std::mt19937_64& random) {
  const auto below = [&](std::size_t limit) { return static_cast<std::size_t>(random() % limit); };
  std::string text(kRequests[below(std::size(kRequests))]);
  for (std::size_t changes = below(6); changes > 0 && !text.empty(); --changes) {
    const std::size_t at = below(text.size());
    switch (below(5)) {
      case 0:
        text[at] = static_cast<char>(random());
        break;
      case 1:
        text.erase(at, 1 + below(8));
        break;
      case 2:
        text.insert(at, text.substr(below(text.size()), below(40)));
        break;
      case 3:
        text.insert(at, kPieces[below(std::size(kPieces))]);
        break;
      default:
        text.insert(at, std::string(below(6000), text[at]));
        break;
    }
  }
  return text;
}

// The daemon's answer, or nothing where it only closed.
std::string exchange(std::string_view message) {
  const int connection = dial();
  send(connection, message.data(), message.size(), MSG_NOSIGNAL);
  shutdown(connection, SHUT_WR);
  std::string answer;
  char buffer[16384];
  ssize_t bytes = 0;
  while ((bytes = recv(connection, buffer, sizeof buffer, 0)) > 0) {
    answer.append(buffer, static_cast<std::size_t>(bytes));
  }
  close(connection);
  return answer;
}

int mutate(long count, unsigned long seed) {
  std::mt19937_64 random(seed);
  long served = 0;
  long refused = 0;
  long closed = 0;
  for (long sent = 0; sent < count; ++sent) {
    const std::string answer = exchange(mutated(random) + '\n');
    if (answer.empty()) {
      ++closed;
    } else if (answer.find("\"type\":\"status\"") != std::string::npos) {
      ++served;
    } else {
      ++refused;
    }
  }
  std::printf("control_client: %ld messages, %ld served, %ld refused, %ld closed\n", count, served,
              refused, closed);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string_view mode = argc > 3 ? argv[2] : "";
  if (argc > 3) std::strncpy(address.sun_path, argv[1], sizeof address.sun_path - 1);
  address.sun_family = AF_UNIX;
  if (mode == "idle" && argc == 4) hold(std::atol(argv[3]), "");
  if (mode == "deaf" && argc == 4) hold(std::atol(argv[3]), kStatus);
  if (mode == "mutate" && argc == 5) {
    return mutate(std::atol(argv[3]), std::strtoul(argv[4], nullptr, 10));
  }
  std::fputs("usage: control_client SOCKET idle|deaf|mutate COUNT [SEED]\n", stderr);
  return 2;
}
