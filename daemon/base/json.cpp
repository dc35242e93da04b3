#include "daemon/base/json.hpp"

namespace vramswap {

Json parse_json(std::string_view text) {
  return Json::parse(text);
}

std::string dump_json(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace vramswap
