// The log: one line a message, to stderr. That is the journal under systemd, and the kernel's log
// after detach_log().
#pragma once

#include <string_view>

namespace vramswap {

// Never blocks, since the reader of the log may itself be short of memory: a message that cannot be
// written at once is dropped.
void log_info(std::string_view message);
void log_error(std::string_view message);

// For tests: has each message go there instead; null: to stderr again.
using LogSink = void (*)(std::string_view message);
void set_log_sink(LogSink sink);

// Call it once, at start. Makes stderr non-blocking if it is a socket, as it is under systemd.
void prepare_log();
// Redirects stdin and stdout to /dev/null and stderr to /dev/kmsg, which allocates nothing and
// needs no process that reads the messages.
void detach_log();

}  // namespace vramswap
