#include "daemon/supervisor/spawn.hpp"

#include <fmt/format.h>

#include <cstdlib>
#include <exception>

#include "daemon/system/log.hpp"

namespace vramswap {
namespace {

void abort_on_exception(std::exception_ptr thrown) {
  if (!thrown) return;
  try {
    std::rethrow_exception(std::move(thrown));
  } catch (const std::exception& error) {
    log_error(
        fmt::format("the supervisor aborts because of an error in the program: {}. Its swap "
                    "is kept for the next one",
                    error.what()));
  } catch (...) {
    log_error("the supervisor aborts because of an error in the program");
  }
  std::abort();
}

}  // namespace

void spawn(const asio::any_io_executor& executor, awaitable<void> work) {
  asio::co_spawn(executor, std::move(work), abort_on_exception);
}

}  // namespace vramswap
