// SPDX-License-Identifier: MIT
#pragma once

#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

#include <heed/io/json.hpp>

namespace program {

/// JSON as text. Names of files are any bytes: what is not UTF-8 in them becomes U+FFFD.
inline std::string json_text(const nlohmann::ordered_json& json, int indent = -1) {
  return json.dump(indent, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

/// Reads one value that fills `text`, which may be a stranger's. Throws FileError "`name`: at offset O: expected ..., found ..." for all that heed::Json::parse refuses:
/// it limits how deep brackets go, which nlohmann's values follow with the stack when they are copied or written. Offsets count from `first_offset`.
inline nlohmann::ordered_json read_json(std::string_view text, std::string_view name, std::size_t first_offset = 0) {
  static_cast<void>(heed::Json::parse(text, name, first_offset));
  return nlohmann::ordered_json::parse(text);
}

/// The member `key` of an object that a file holds, if `fits(member)`. Else throws FileError "`where`: expected "`key`" to be `expected`, found ...".
template <class Fits>
const nlohmann::ordered_json& member(
    const nlohmann::ordered_json& object, std::string_view key, const Fits& fits, std::string_view expected, std::string_view where) {
  const auto found = object.find(key);
  if (found != object.end() && fits(*found)) return *found;
  heed::fail<heed::FileError>(where, ": expected \"", key, "\" to be ", expected, ", found ",
      found == object.end()    ? "nothing"
      : found->is_string()     ? heed::detail::quoted_name(found->get_ref<const std::string&>())
      : found->is_structured() ? heed::text("an ", found->type_name(), " of ", found->size())
                               : json_text(*found));
}
/// The same for the usual kinds of members.
/// @{
inline const nlohmann::ordered_json& number_member(const nlohmann::ordered_json& object, std::string_view key, std::string_view where) {
  return member(
      object, key, [](const auto& value) { return value.is_number(); }, "a number", where);
}
inline const nlohmann::ordered_json& word_member(const nlohmann::ordered_json& object, std::string_view key, std::string_view where) {
  return member(
      object, key, [](const auto& value) { return value.is_string(); }, "a string", where);
}
/// @}

}  // namespace program
