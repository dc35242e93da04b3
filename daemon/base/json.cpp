#include "daemon/base/json.hpp"

#include <stdexcept>

namespace vramswap {

Json parse_json(std::string_view text) {
  return Json::parse(text);
}

Json parse_message_json(std::string_view text) {
  std::string key;  // of what follows
  return Json::parse(text, [&key](int, Json::parse_event_t event, const Json& value) {
    if (event == Json::parse_event_t::key) key = value.get<std::string>();
    if (event == Json::parse_event_t::value && value.is_number_float()) {
      throw std::out_of_range(key + ": the number is not whole, or has more than 64 bits");
    }
    return true;
  });
}

std::string dump_json(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace vramswap
