#include "daemon/system/module_advice.hpp"

#include <filesystem>

namespace vramswap {

std::string module_advice(std::string_view said, const std::string& modules) {
  // ENOKEY, as kmod says it.
  if (said.contains("Key was rejected") || said.contains("Required key not available")) {
    return std::string(kSecureBootAdvice);
  }
  std::error_code ignored;
  if (!std::filesystem::exists(modules, ignored)) {
    return modules +
           " is missing: reboot if the kernel was upgraded; in a container, run vramswap "
           "outside of it";
  }
  return "install the kernel's extra modules";
}

}  // namespace vramswap
