// One line a message, to stderr: the journal under systemd, the kernel's log when detached.
#pragma once

#include <string_view>

namespace vramswap {

// Never blocks on a log that is itself short of memory: a message that cannot be written at once
// is dropped.
void log_info(std::string_view message);
void log_error(std::string_view message);

// Once, at start: stderr becomes non-blocking where it is a pipe or socket of our own.
void prepare_log();
// stdin and stdout from /dev/null, stderr to /dev/kmsg: it needs no process to take the messages
// and allocates nothing.
void detach_log();

}  // namespace vramswap
