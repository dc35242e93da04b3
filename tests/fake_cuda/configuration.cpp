#include "tests/fake_cuda/configuration.hpp"

#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <utility>

namespace fake_cuda {
namespace {

[[noreturn]] void reject(const char* variable, std::string_view value) {
  std::fprintf(stderr, "fake libcuda: %s=%.*s makes no sense\n", variable,
               static_cast<int>(value.size()), value.data());
  std::abort();
}

std::optional<std::uint64_t> parse_number(std::string_view text) {
  std::uint64_t value = 0;
  const char* end = text.data() + text.size();
  auto [rest, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc{} || rest != end) {
    return std::nullopt;
  }
  return value;
}

std::uint64_t number(const char* variable, std::uint64_t standard, std::uint64_t maximum) {
  const char* text = std::getenv(variable);
  if (text == nullptr) {
    return standard;
  }
  auto value = parse_number(text);
  if (!value || *value > maximum) {
    reject(variable, text);
  }
  return *value;
}

/// Takes "key=value" apart; an empty value if there is no '='.
std::pair<std::string_view, std::string_view> split(std::string_view text) {
  auto equals = text.find('=');
  if (equals == text.npos) {
    return {text, {}};
  }
  return {text.substr(0, equals), text.substr(equals + 1)};
}

/// Removes and returns the first of a comma-separated list.
std::string_view next(std::string_view& list) {
  auto item = list.substr(0, list.find(','));
  list.remove_prefix(item.size() < list.size() ? item.size() + 1 : item.size());
  return item;
}

bool is_entry_point(std::string_view name) {
#define COMPARE(function)  \
  if (name == #function) { \
    return true;           \
  }
  VRAMSWAP_CUDA_FUNCTIONS(COMPARE)
  VRAMSWAP_CUDA_NEWER_FUNCTIONS(COMPARE)
#undef COMPARE
  return false;
}

void read_failing_calls(Configuration& configuration) {
  const char* variable = "FAKE_CUDA_FAIL";
  const char* text = std::getenv(variable);
  if (text == nullptr) {
    return;
  }
  configuration.failing_calls = text;
  for (std::string_view list = text; !list.empty();) {
    auto [call, code] = split(next(list));
    if (!is_entry_point(call) || !parse_number(code)) {
      reject(variable, text);
    }
  }
}

void read_copy_fault(Configuration& configuration) {
  const char* variable = "FAKE_CUDA_AT_COPY";
  const char* text = std::getenv(variable);
  if (text == nullptr) {
    return;
  }
  auto [count, fault] = split(text);
  auto at = parse_number(count);
  auto code = parse_number(fault);
  if (!at || *at == 0) {
    reject(variable, text);
  }
  configuration.fault_at_copy = *at;
  if (fault == "hang") {
    configuration.copy_fault = CopyFault::hang;
  } else if (fault == "kill") {
    configuration.copy_fault = CopyFault::kill;
  } else if (fault == "flip") {
    configuration.copy_fault = CopyFault::flip;
  } else if (fault == "reset") {
    configuration.copy_fault = CopyFault::reset;
    configuration.fault_code = api::CUDA_ERROR_UNKNOWN;
  } else if (code && *code != api::CUDA_SUCCESS) {
    configuration.copy_fault = CopyFault::error;
    configuration.fault_code = static_cast<api::CUresult>(*code);
  } else {
    reject(variable, text);
  }
}

}  // namespace

api::CUresult Configuration::ordered_result(std::string_view call) const {
  for (std::string_view list = failing_calls; !list.empty();) {
    auto [name, code] = split(next(list));
    if (name == call) {
      return static_cast<api::CUresult>(*parse_number(code));
    }
  }
  return api::CUDA_SUCCESS;
}

Configuration read_configuration() {
  Configuration configuration;
  if (const char* directory = std::getenv("FAKE_CUDA_DIR")) {
    configuration.directory = directory;
  }
  configuration.devices = static_cast<int>(number("FAKE_CUDA_DEVICES", 1, kMaxDevices));
  configuration.memory_bytes = number("FAKE_CUDA_MEMORY_MIB", 256, 1u << 20) << 20;
  configuration.context_bytes = number("FAKE_CUDA_CONTEXT_MIB", 0, 1u << 20) << 20;
  if (std::getenv("FAKE_CUDA_DISPLAY") != nullptr) {
    configuration.display_device =
        static_cast<int>(number("FAKE_CUDA_DISPLAY", 0, kMaxDevices - 1));
  }
  configuration.compute_mode = static_cast<int>(number("FAKE_CUDA_COMPUTE_MODE", 0, 3));
  configuration.has_jit = number("FAKE_CUDA_JIT", 1, 1) == 1;
  const char* order = std::getenv("CUDA_DEVICE_ORDER");
  configuration.pci_order = order != nullptr && std::string_view(order) == "PCI_BUS_ID";
  configuration.bad_word = number("FAKE_CUDA_BAD_WORD", 0, UINT64_MAX);
  read_failing_calls(configuration);
  read_copy_fault(configuration);
  return configuration;
}

}  // namespace fake_cuda
