// The log: one line a message, to stderr. That is the journal under systemd, and the kernel's log
// after detach_log().
#pragma once

#include <string>
#include <string_view>

#include "daemon/system/log_fields.hpp"

namespace vramswap {

// Never blocks, since the reader of the log may itself be short of memory: a message that cannot be
// written at once is dropped. One with a MESSAGE_ID is an entry of the journal with all its fields,
// if stderr is the journal; a line on stderr otherwise, and if journald does not take the entry.
void log_info(std::string_view message, const LogFields& fields = {});
void log_error(std::string_view message, const LogFields& fields = {});

// For tests: sends each message there instead; null: to stderr again.
using LogSink = void (*)(std::string_view message, const LogFields& fields);
void set_log_sink(LogSink sink);

// Call it once, at start. Makes stderr non-blocking if it is a socket, as it is under systemd, and
// finds out whether it is the journal, which takes entries at `journal_socket`.
void prepare_log(const std::string& journal_socket = "/run/systemd/journal/socket");
// Redirects stdin and stdout to /dev/null and stderr to /dev/kmsg, which allocates nothing and
// needs no process that reads the messages.
void detach_log();

}  // namespace vramswap
