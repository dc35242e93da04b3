#include "swapctl/doctor/daemon_checks.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "swapctl/commands.hpp"
#include "swapctl/settings.hpp"
#include "swapctl/status_trouble.hpp"

namespace vramswap::swapctl {
namespace {

constexpr const char* kDaemon = "daemon";

void add_segments(Findings& findings, const control::Status& status) {
  if (const auto trouble = made_by_others(status)) {
    findings.push_back(failure(kDaemon, trouble->text, trouble->advice));
  }
  for (const auto& segment : status.segments) {
    if (segment.lost_pages == 0) continue;
    findings.push_back(warning(
        kDaemon,
        fmt::format("{}: {} pages lost, {} of them with wrong bytes", segment.device,
                    segment.lost_pages, segment.corrupt_pages),
        "end programs that get SIGBUS; if it happens again, see the kernel's log for Xid and ECC "
        "errors"));
  }
}

void add_workers(Findings& findings, const control::Status& status) {
  for (const auto& worker : status.workers) {
    if (!worker.problem.empty()) {
      findings.push_back(failure(
          kDaemon,
          fmt::format("the worker of {} cannot be replaced: {}", worker.store, worker.problem),
          "remove the cause: the daemon tries again at least every 10 s, and no page is lost"));
    }
    for (const auto& note : worker.notes) {
      findings.push_back(warning(kDaemon, fmt::format("{}: {}", worker.store, note),
                                 "see 'vramswap status', and README's table of what happens"));
    }
  }
}

}  // namespace

Answer ask_daemon(const Environment& environment) {
  auto client = ControlClient::connect(environment.socket);
  if (!client) {
    if (no_daemon(client.error())) return std::nullopt;
    return client.error();
  }
  auto status =
      ask<control::Status>(*client, control::StatusRequest{}, {.limit = environment.status_limit});
  if (!status) return status.error();
  return *std::move(status);
}

Findings check_daemon(const Answer& answer, bool has_orphans) {
  if (!answer) return {failure(kDaemon, answer.error().message, "see journalctl -u vramswap")};
  if (!*answer) {
    if (has_orphans) return {failure(kDaemon, kDaemonDied, kStartAgain)};
    return {ok(kDaemon, "does not run; 'up' starts it")};
  }
  const control::Status& status = **answer;
  Findings findings;
  add_segments(findings, status);
  add_workers(findings, status);
  if (findings.empty()) {
    findings.push_back(
        ok(kDaemon, fmt::format("{} runs, with {} segment{}", status.version,
                                status.segments.size(), status.segments.size() == 1 ? "" : "s")));
  }
  return findings;
}

Result<control::UpRequest> read_settings(const ConfigPaths& paths) {
  control::UpRequest request;
  const auto settings = up_settings(request);
  if (const auto read = apply_config(paths, settings); !read) return read.error();
  return request;
}

Finding check_settings(const Result<control::UpRequest>& settings) {
  constexpr const char* kName = "settings";
  if (!settings) {
    return failure(kName, settings.error().message, "correct that line of the config file");
  }
  if (const auto complete = check_complete(*settings); !complete) {
    return ok(kName, "no size in a config file: 'up' needs --size");
  }
  return ok(kName,
            fmt::format("size {}, priority {}, backend {}", control::to_string(settings->size),
                        settings->priority, control::to_string(settings->backend)));
}

}  // namespace vramswap::swapctl
