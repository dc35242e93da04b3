// nlohmann::json, with its parser and writer compiled only here: they take longer to compile than
// the code that uses them.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace vramswap {

using Json = nlohmann::json;

// Throws nlohmann::json::exception on malformed text.
Json parse_json(std::string_view text);
// For messages, whose numbers are all whole. Throws std::out_of_range for any other one, and for
// one of more than 64 bits: nlohmann would hand it out as an integer without a look at its range.
Json parse_message_json(std::string_view text);

// On one line. What is not UTF-8 in a string, such as the name that a driver gives a GPU, becomes
// U+FFFD.
std::string dump_json(const Json& json);

}  // namespace vramswap
