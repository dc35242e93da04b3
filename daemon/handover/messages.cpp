#include "daemon/handover/messages.hpp"

#include <fmt/format.h>

#include <cerrno>

#include "daemon/base/json.hpp"
#include "daemon/control/io_stats_json.hpp"
#include "daemon/handover/messages_json.hpp"

namespace vramswap::messages {

NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Create, segment, size_bytes)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Import, segment, size_bytes)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(PrepareMove, segment, store)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(FinishMove, segment)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(AbandonMove, segment)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(ConnectionName, id, thread)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Connect, segment, connections)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Remove, segment)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Describe, text)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(HandOver, segment)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Replace, program, leaves_card)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Started, device)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Failed, message, code)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(ConnectionEnded, segment, connection, end)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(StateChanged, state)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Adopted::Segment, id, connections)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Adopted, description, state, segments)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Stats, io)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Driver, path, has_page_kernel)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(LostPagesChanged, segment)

// For messages without a field, for which the macro does not work.
template <class T>
concept Empty = std::is_empty_v<T>;
void to_json(nlohmann::json& json, const Empty auto&) {
  json = nlohmann::json::object();
}
void from_json(const nlohmann::json&, Empty auto&) {}

namespace {

template <class Variant>
std::string encode_variant(const Variant& variant) {
  return std::visit(
      [&](const auto& value) {
        return dump_json({{"version", kVersion}, {"kind", variant.index()}, {"fields", value}});
      },
      variant);
}

template <class Variant, std::size_t Index = 0>
Variant variant_from(std::size_t kind, const Json& fields) {
  if constexpr (Index < std::variant_size_v<Variant>) {
    if (kind == Index) return fields.get<std::variant_alternative_t<Index, Variant>>();
    return variant_from<Variant, Index + 1>(kind, fields);
  } else {
    throw std::invalid_argument(fmt::format("kind {}", kind));
  }
}

template <class Variant>
Result<Variant> decode_variant(std::string_view text) {
  try {
    const Json json = parse_message_json(text);
    if (const int version = json.at("version"); version != kVersion) {
      return std::unexpected(
          Error{fmt::format("supervisor and worker are of different versions ({} and {})", version,
                            kVersion),
                EPROTO});
    }
    return variant_from<Variant>(json.at("kind"), json.at("fields"));
  } catch (const std::exception& error) {
    return fail(fmt::format("malformed message between supervisor and worker: {}", error.what()));
  }
}

}  // namespace

std::string encode(const Request& request) {
  return encode_variant(request);
}
std::string encode(const Message& message) {
  return encode_variant(message);
}
Result<Request> decode_request(std::string_view text) {
  return decode_variant<Request>(text);
}
Result<Message> decode_message(std::string_view text) {
  return decode_variant<Message>(text);
}

}  // namespace vramswap::messages
