// Stands for any other program that has an NBD device connected: takes the one it is told, which
// then reads as zeros, and lets go of it when it is killed.

#include <endian.h>
#include <fcntl.h>
#include <linux/nbd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstring>

namespace {

constexpr unsigned long block_size = 4096;
constexpr unsigned long block_count = 1024;

// A program that opens the device reads its partition table: unanswered, that would hang forever.
void serve(int socket) {
  static std::array<char, block_size * block_count> zeros;
  nbd_request request;
  while (recv(socket, &request, sizeof request, MSG_WAITALL) == sizeof request) {
    nbd_reply reply{};
    reply.magic = htobe32(NBD_REPLY_MAGIC);
    std::memcpy(&reply.handle, &request.handle, sizeof reply.handle);
    const bool is_read = request.type == htobe32(NBD_CMD_READ);
    send(socket, &reply, sizeof reply, is_read ? MSG_MORE : 0);
    if (is_read) send(socket, zeros.data(), be32toh(request.len), 0);
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fputs("usage: nbd_squatter DEVICE\n", stderr);
    return 2;
  }
  int ends[2];
  const int device = open(argv[1], O_RDWR | O_CLOEXEC);
  if (device < 0 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0 ||
      ioctl(device, NBD_SET_BLKSIZE, block_size) != 0 ||
      ioctl(device, NBD_SET_SIZE_BLOCKS, block_count) != 0 ||
      ioctl(device, NBD_SET_SOCK, static_cast<long>(ends[0])) != 0) {
    std::perror(argv[1]);
    return 1;
  }
  if (fork() == 0) {
    close(device);
    close(ends[0]);
    serve(ends[1]);
    return 0;
  }
  close(ends[1]);
  // Blocks as long as the device is connected.
  ioctl(device, NBD_DO_IT);
  return 0;
}
