// SPDX-License-Identifier: MIT
#pragma once

#include <charconv>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <initializer_list>
#include <locale>
#include <numeric>
#include <sstream>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include <heed/core/error.hpp>

namespace heed {

struct JsonMember;

/// A JSON value (RFC 8259): as much as file headers and run records need. Whole numbers are exact in the range of `std::int64_t`, all
/// others are doubles. Strings are UTF-8. Objects keep the order of their members; a key occurs once.
class Json {
 public:
  using Array = std::vector<Json>;
  using Object = std::vector<JsonMember>;

  /// null
  Json() = default;
  Json(bool value) : value_(value) {}
  template <class Number>
    requires(std::is_arithmetic_v<Number> && !std::is_same_v<Number, bool>)
  Json(Number value) {
    if constexpr (std::is_floating_point_v<Number>)
      value_ = static_cast<double>(value);
    else if (std::in_range<std::int64_t>(value))
      value_ = static_cast<std::int64_t>(value);
    else
      value_ = static_cast<double>(value);  // above 2^63 - 1
  }
  Json(std::string value) : value_(std::move(value)) {}
  Json(std::string_view value) : value_(std::string(value)) {}
  Json(const char* value) : value_(std::string(value)) {}
  Json(Array value) : value_(std::move(value)) {}
  static Json object() {
    Json result;
    result.value_ = Object();
    return result;
  }

  /// Reads one value that fills `source`. Throws FileError "`name`: at offset O: expected ..., found ...", where offsets count from
  /// `first_offset`. Arrays and objects may be `kMaxDepth` deep, and a document may hold `kMaxValues` values, so that hostile input can
  /// exhaust neither the stack nor the memory.
  static Json parse(std::string_view source, std::string_view name = "JSON", std::size_t first_offset = 0);
  static constexpr int kMaxDepth = 64;
  static constexpr std::size_t kMaxValues = std::size_t{1} << 22;  // a header of 100 000 tensors holds a million values

  bool is_null() const { return value_.index() == 0; }
  bool is_bool() const { return holds<bool>(); }
  bool is_integer() const { return holds<std::int64_t>(); }
  bool is_number() const { return is_integer() || holds<double>(); }
  bool is_string() const { return holds<std::string>(); }
  bool is_array() const { return holds<Array>(); }
  bool is_object() const { return holds<Object>(); }

  /// The value; throws std::invalid_argument when it is of another kind.
  bool as_bool() const { return as<bool>("a boolean"); }
  std::int64_t as_integer() const { return as<std::int64_t>("a whole number"); }
  double as_number() const { return is_integer() ? static_cast<double>(as_integer()) : as<double>("a number"); }
  const std::string& as_string() const { return as<std::string>("a string"); }
  const Array& as_array() const { return as<Array>("an array"); }
  const Object& as_object() const { return as<Object>("an object"); }

  /// The member `key` of an object; null if it has none.
  const Json* find(std::string_view key) const;
  /// Sets the member `key` of an object (null becomes an empty one) and returns the object.
  Json& set(std::string_view key, Json value);
  /// Adds an element to an array (null becomes an empty one) and returns the array.
  Json& push_back(Json value);

  /// "null", "a string", ...: for messages.
  const char* kind() const {
    constexpr const char* kNames[] = {"null", "a boolean", "a whole number", "a number", "a string", "an array", "an object"};
    return kNames[value_.index()];
  }
  /// One line of text, the same for equal values. Doubles in the shortest form that reads back equal; infinities and NaN, which JSON
  /// has no words for, become null. Bytes that are no UTF-8 become U+FFFD.
  std::string to_string() const {
    std::string result;
    write(result);
    return result;
  }

 private:
  template <class Kind>
  bool holds() const {
    return std::holds_alternative<Kind>(value_);
  }
  template <class Kind>
  const Kind& as(const char* expected) const {
    require(holds<Kind>(), "JSON: expected ", expected, ", found ", kind());
    return *std::get_if<Kind>(&value_);
  }
  void write(std::string& out) const;

  std::variant<std::monostate, bool, std::int64_t, double, std::string, Array, Object> value_;
};

struct JsonMember {
  std::string key;
  Json value;
};

namespace detail {

/// Length of the UTF-8 sequence at the start of `bytes` (1 to 4), 0 if there is none: overlong forms, surrogates and values above
/// U+10FFFF are none (Unicode 15, table 3-7).
inline std::size_t utf8_length(std::string_view bytes) {
  const auto at = [&](std::size_t i) { return i < bytes.size() ? static_cast<unsigned char>(bytes[i]) : 0u; };
  const auto tail = [&](std::size_t i) { return (at(i) & 0xc0u) == 0x80u; };
  const unsigned a = at(0), b = at(1);
  if (bytes.empty()) return 0;
  if (a < 0x80) return 1;
  if (a >= 0xc2 && a <= 0xdf) return tail(1) ? 2 : 0;
  if (a >= 0xe0 && a <= 0xef) return b >= (a == 0xe0 ? 0xa0u : 0x80u) && b <= (a == 0xed ? 0x9fu : 0xbfu) && tail(2) ? 3 : 0;
  if (a >= 0xf0 && a <= 0xf4)
    return b >= (a == 0xf0 ? 0x90u : 0x80u) && b <= (a == 0xf4 ? 0x8fu : 0xbfu) && tail(2) && tail(3) ? 4 : 0;
  return 0;
}

inline bool is_utf8(std::string_view bytes) {
  while (!bytes.empty()) {
    const std::size_t length = utf8_length(bytes);
    if (length == 0) return false;
    bytes.remove_prefix(length);
  }
  return true;
}

inline void append_utf8(std::string& out, std::uint32_t code) {
  const auto put = [&](std::uint32_t byte) { out += static_cast<char>(static_cast<unsigned char>(byte)); };
  if (code < 0x80) {
    put(code);
  } else if (code < 0x800) {
    put(0xc0 | code >> 6);
    put(0x80 | (code & 0x3f));
  } else if (code < 0x10000) {
    put(0xe0 | code >> 12);
    put(0x80 | (code >> 6 & 0x3f));
    put(0x80 | (code & 0x3f));
  } else {
    put(0xf0 | code >> 18);
    put(0x80 | (code >> 12 & 0x3f));
    put(0x80 | (code >> 6 & 0x3f));
    put(0x80 | (code & 0x3f));
  }
}

/// The double nearest to `digits` (JSON's grammar), whatever the program's locale; false when it is out of range.
inline bool parse_double(std::string_view digits, double& value) {
#if defined(__cpp_lib_to_chars)
  return std::from_chars(digits.data(), digits.data() + digits.size(), value).ec == std::errc();
#else
  std::istringstream stream{std::string(digits)};
  stream.imbue(std::locale::classic());
  return static_cast<bool>(stream >> value);
#endif
}

/// The shortest text that `parse_double` turns back into `value`; a whole number keeps a mark of its kind ("2.0").
inline std::string double_text(double value) {
#if defined(__cpp_lib_to_chars)
  char digits[40];
  const auto end = std::to_chars(digits, digits + sizeof digits, value).ptr;
  std::string result(digits, end);
#else
  std::ostringstream stream;
  stream.imbue(std::locale::classic());
  stream.precision(17);
  stream << value;
  std::string result = stream.str();
#endif
  if (result.find_first_of(".e") == std::string::npos) result += ".0";
  return result;
}

/// `value` in quotes.
inline void append_json_string(std::string& out, std::string_view value) {
  out += '"';
  while (!value.empty()) {
    const std::size_t length = utf8_length(value);
    const char c = value[0];
    if (length == 0) {
      out += "\xef\xbf\xbd";
    } else if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (length == 1 && static_cast<unsigned char>(c) < 0x20) {
      char escape[8];
      std::snprintf(escape, sizeof escape, "\\u%04x", static_cast<unsigned>(c));
      out += c == '\n' ? "\\n" : c == '\t' ? "\\t" : c == '\r' ? "\\r" : escape;
    } else {
      out += value.substr(0, length);
    }
    value.remove_prefix(length == 0 ? 1 : length);
  }
  out += '"';
}

/// A recursive-descent reader of RFC 8259: no comments, no trailing commas, no bare words. Its depth is limited by the caller's type.
class JsonParser {
 public:
  JsonParser(std::string_view source, std::string_view name, std::size_t first_offset)
      : source_(source), name_(name), first_offset_(first_offset) {}

  Json document() {
    Json result = value(0);
    skip_space();
    if (position_ != source_.size()) error("the end of the document");
    return result;
  }

 private:
  [[noreturn]] void error(std::string_view expected, std::string_view hint = {}) const {
    std::string found = "the end of the text";
    if (position_ < source_.size()) {
      const unsigned char c = static_cast<unsigned char>(source_[position_]);
      char code[16];
      std::snprintf(code, sizeof code, "byte 0x%02x", static_cast<unsigned>(c));
      found = c > 0x20 && c < 0x7f ? text('\'', static_cast<char>(c), '\'') : std::string(code);
    }
    fail<FileError>(name_, ": at offset ", first_offset_ + position_, ": expected ", expected, ", found ", found, hint.empty() ? "" : "; ", hint);
  }

  char peek() const { return position_ < source_.size() ? source_[position_] : '\0'; }
  bool digit() const { return peek() >= '0' && peek() <= '9'; }
  bool take(char c) {
    if (position_ >= source_.size() || source_[position_] != c) return false;
    ++position_;
    return true;
  }
  void skip_space() {
    while (position_ < source_.size() && (peek() == ' ' || peek() == '\n' || peek() == '\r' || peek() == '\t')) ++position_;
  }

  Json value(int depth) {
    skip_space();
    if (++values_ > Json::kMaxValues) error(text("at most ", Json::kMaxValues, " values"));
    switch (peek()) {
      case '{': return object(depth);
      case '[': return array(depth);
      case '"': return string();
      case 't': return word("true", true);
      case 'f': return word("false", false);
      case 'n': return word("null", Json());
      default: return number();
    }
  }

  Json word(std::string_view spelling, Json meaning) {
    if (source_.substr(position_, spelling.size()) != spelling) error(spelling);
    position_ += spelling.size();
    return meaning;
  }

  void descend(int depth) {
    if (depth >= Json::kMaxDepth) error(text("at most ", Json::kMaxDepth, " levels of arrays and objects"));
    ++position_;
    skip_space();
  }

  Json array(int depth) {
    descend(depth);
    Json::Array elements;
    if (take(']')) return elements;
    for (;;) {
      elements.push_back(value(depth + 1));
      skip_space();
      if (take(']')) return elements;
      if (!take(',')) error("',' or ']'");
    }
  }

  Json object(int depth) {
    const std::size_t start = position_;
    descend(depth);
    Json result = Json::object();
    Json::Object members;
    if (take('}')) return result;
    for (;;) {
      skip_space();
      if (peek() != '"') error("a key in quotes");
      std::string key = string();
      skip_space();
      if (!take(':')) error("':'");
      members.push_back({std::move(key), value(depth + 1)});
      skip_space();
      if (take('}')) break;
      if (!take(',')) error("',' or '}'");
    }
    refuse_duplicates(members, start);
    return Json(JsonObjectTag{}, std::move(members));
  }

  std::string_view source_, name_;
  std::size_t first_offset_, position_ = 0, values_ = 0;
};

}  // namespace detail
}  // namespace heed
