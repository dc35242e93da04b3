// Runs lives of simulated machines, prints the first one that ends badly, and exits with 1 then.
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <boost/program_options.hpp>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <iostream>

#include "tests/simulation/life.hpp"

namespace {

namespace po = boost::program_options;
using namespace vramswap::simulation;

constexpr int kExitViolated = 1;
constexpr int kExitUsage = 2;
constexpr unsigned kLongestLife = 60;  // in seconds of real time; most take milliseconds

// What the processes of a run share.
struct Progress {
  std::atomic<std::uint64_t> next{0};
  std::atomic<std::uint64_t> lives{0};
  std::atomic<std::uint64_t> events{0};
  std::atomic<std::uint64_t> steps{0};
  std::atomic<std::uint64_t> violations{0};
  std::atomic<bool> is_over{false};
  std::atomic<std::uint64_t> failed_seed{0};
};

std::size_t count_descriptors() {
  return static_cast<std::size_t>(
      std::distance(std::filesystem::directory_iterator("/proc/self/fd"), {}));
}

Outcome live_and_count(const Plan& plan, bool records) {
  const std::size_t before = count_descriptors();
  Outcome outcome = live(plan, records);
  const std::size_t after = count_descriptors();
  if (outcome.violation.empty() && after != before) {
    outcome.violation = fmt::format("{} descriptors are left", after - before);
  }
  return outcome;
}

std::uint64_t seed_in_progress = 0;

// A life that ends the process, or does not end: the seed is all that can be said here.
void on_crash(int signal) {
  char text[80];
  const int length = std::snprintf(text, sizeof text, "seed %llu: signal %d\n",
                                   static_cast<unsigned long long>(seed_in_progress), signal);
  (void)!write(STDERR_FILENO, text, static_cast<std::size_t>(length));
  std::signal(signal, SIG_DFL);
  std::raise(signal);
}

// Goes on after a violation only if `finds_all`.
void run_lives(Progress& progress, std::uint64_t first_seed, std::uint64_t lives, bool finds_all) {
  for (const int signal : {SIGSEGV, SIGABRT, SIGBUS, SIGILL, SIGALRM}) {
    std::signal(signal, on_crash);
  }
  for (std::uint64_t i = 0; !progress.is_over && (i = progress.next++) < lives;) {
    seed_in_progress = first_seed + i;
    alarm(kLongestLife);
    const Outcome outcome = live_and_count(make_plan(seed_in_progress), false);
    ++progress.lives;
    progress.events += outcome.events;
    progress.steps += outcome.steps;
    if (outcome.violation.empty()) continue;
    if (finds_all) {
      ++progress.violations;
      fmt::print("seed {}: {}\n", seed_in_progress, outcome.violation);
      std::fflush(stdout);
      continue;
    }
    if (!progress.is_over.exchange(true)) progress.failed_seed = seed_in_progress;
  }
}

void print_life(std::uint64_t seed, bool shrinks) {
  Plan plan = make_plan(seed);
  if (shrinks && !live(plan, false).violation.empty()) plan = shrink(std::move(plan));
  const Outcome outcome = live_and_count(plan, true);
  for (const std::string& line : outcome.log) fmt::print("{}\n", line);
  fmt::print("events:\n");
  for (const Event& event : plan.events) fmt::print("  {}\n", describe(event));
  fmt::print("seed {}: {}{}\n", seed, plan.has_service_manager ? "with a service manager: " : "",
             outcome.violation.empty() ? "nothing is wrong" : outcome.violation);
}

}  // namespace

int main(int argc, char** argv) {
  po::options_description options("vramswap-simulation runs the supervisor on simulated machines");
  options.add_options()("lives", po::value<std::uint64_t>()->default_value(1), "how many")       //
      ("seed", po::value<std::uint64_t>()->default_value(1), "of the first; the others follow")  //
      ("jobs", po::value<unsigned>()->default_value(1), "processes")                             //
      ("all", "go on after a violation, with a line for each")                                   //
      ("brief", "print one line, with the violation")                                            //
      ("log", "print one life, whole")                                                           //
      ("help", "print this");
  po::variables_map given;
  try {
    po::store(po::parse_command_line(argc, argv, options), given);
  } catch (const po::error& error) {
    std::cerr << fmt::format("vramswap-simulation: {}; see --help\n", error.what());
    return kExitUsage;
  }
  if (given.contains("help")) {
    std::cout << options;
    return 0;
  }
  const auto seed = given["seed"].as<std::uint64_t>();
  const auto lives = given["lives"].as<std::uint64_t>();
  if (given.contains("log")) {
    print_life(seed, false);
    return 0;
  }
  void* shared =
      mmap(nullptr, sizeof(Progress), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (shared == MAP_FAILED) return kExitViolated;
  auto& progress = *new (shared) Progress;
  const auto began = std::chrono::steady_clock::now();
  const unsigned jobs = given["jobs"].as<unsigned>();
  for (unsigned job = 0; job < jobs; ++job) {
    if (fork() == 0) {
      run_lives(progress, seed, lives, given.contains("all"));
      std::_Exit(0);
    }
  }
  bool has_crashed = false;
  for (int status = 0; wait(&status) > 0;) has_crashed |= status != 0;
  if (given.contains("brief") && (progress.is_over || has_crashed)) {
    fmt::print("found after {} lives: {}\n", progress.lives.load(),
               has_crashed ? "a crash" : live(make_plan(progress.failed_seed), false).violation);
    return kExitViolated;
  }
  const std::chrono::duration<double> time = std::chrono::steady_clock::now() - began;
  if (progress.is_over) print_life(progress.failed_seed, true);
  const bool is_bad = progress.is_over || has_crashed || progress.violations > 0;
  fmt::print("{} lives from seed {}: {} events, {} steps, {:.1f} s, {:.0f} lives/s: {}\n",
             progress.lives.load(), seed, progress.events.load(), progress.steps.load(),
             time.count(), static_cast<double>(progress.lives) / time.count(),
             has_crashed ? "a crash, see its seed above"
             : is_bad    ? "a violation"
                         : "all is well");
  return is_bad ? kExitViolated : 0;
}
