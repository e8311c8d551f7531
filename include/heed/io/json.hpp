// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <heed/core/error.hpp>
#include <heed/io/decimal.hpp>
#include <heed/io/utf8.hpp>

namespace heed::inline HEED_ABI {

/// A JSON value (RFC 8259): as much as file headers and run records need. Whole numbers are exact in the range of `std::int64_t`, all
/// others are doubles, those too small for one are zero. Strings are UTF-8. Objects keep the order of their members; a key occurs once.
class Json {
 public:
  using Array = std::vector<Json>;                           ///< elements in order
  using Object = std::vector<std::pair<std::string, Json>>;  ///< keys and values, in order

  /// null
  Json() = default;
  /// A value of this kind.
  /// @{
  Json(bool value) : kind_(Kind::boolean), whole_(value) {}
  template <class Number>
    requires(std::is_arithmetic_v<Number> && !std::is_same_v<Number, bool>)
  Json(Number value) : kind_(Kind::number), number_(static_cast<double>(value)) {
    if constexpr (std::is_integral_v<Number>) {
      if (!std::in_range<std::int64_t>(value)) return;  // above 2^63 - 1
      kind_ = Kind::whole_number;
      whole_ = static_cast<std::int64_t>(value);
    }
  }
  Json(std::string value) : kind_(Kind::string), string_(std::move(value)) {}
  Json(std::string_view value) : Json(std::string(value)) {}
  Json(const char* value) : Json(std::string(value)) {}
  Json(Array value) : kind_(Kind::array), array_(std::move(value)) {}
  Json(Object value) : kind_(Kind::object), object_(std::move(value)) {}
  /// @}

  /// Reads one value that fills `source`. Throws FileError "`name`: at offset O: expected ..., found ...", where offsets count from
  /// `first_offset`. Arrays and objects may be `kMaxDepth` deep, and a document may hold `kMaxValues` values, or one for every four bytes where that
  /// is more, so that hostile input can exhaust neither the stack nor the memory: at most `kMemoryFactor` bytes are held for each byte of `source`.
  static Json parse(std::string_view source, std::string_view name = "JSON", std::size_t first_offset = 0);
  static constexpr int kMaxDepth = 64;               ///< of arrays and objects in each other
  static constexpr std::size_t kMemoryFactor = 160;  ///< "0," is a value of 104 bytes, for which a growing array has room three times
  static constexpr std::size_t kMaxValues = std::size_t{1}
                                            << 21;  ///< of short documents; tensors' headers take five bytes a value and more

  /// What kind of value it is. A whole number is a number, too.
  /// @{
  bool is_null() const { return kind_ == Kind::null; }
  bool is_bool() const { return kind_ == Kind::boolean; }
  bool is_integer() const { return kind_ == Kind::whole_number; }
  bool is_number() const { return is_integer() || kind_ == Kind::number; }
  bool is_string() const { return kind_ == Kind::string; }
  bool is_array() const { return kind_ == Kind::array; }
  bool is_object() const { return kind_ == Kind::object; }
  /// @}

  /// The value; throws std::invalid_argument when it is of another kind.
  /// @{
  bool as_bool() const { return expect(is_bool(), "a boolean").whole_ != 0; }
  std::int64_t as_integer() const { return expect(is_integer(), "a whole number").whole_; }
  double as_number() const { return expect(is_number(), "a number").number_; }
  const std::string& as_string() const { return expect(is_string(), "a string").string_; }
  const Array& as_array() const { return expect(is_array(), "an array").array_; }
  const Object& as_object() const { return expect(is_object(), "an object").object_; }
  /// @}

  /// The member `key` of an object; null if it has none.
  const Json* find(std::string_view key) const;
  /// Sets the member `key` of an object (null becomes an empty one) and returns the object.
  Json& set(std::string_view key, Json value);
  /// Adds an element to an array (null becomes an empty one) and returns the array.
  Json& push_back(Json value);

  /// "null", "a string", ...: for messages.
  const char* kind() const {
    constexpr const char* kNames[] = {"null", "a boolean", "a whole number", "a number", "a string", "an array", "an object"};
    return kNames[static_cast<int>(kind_)];
  }
  /// One line of text, the same for equal values. Doubles in the shortest form that reads back equal; infinities and NaN, which JSON
  /// has no words for, become null. Bytes that are no UTF-8 become U+FFFD.
  std::string to_string() const {
    std::string result;
    write(result);
    return result;
  }

 private:
  enum class Kind { null, boolean, whole_number, number, string, array, object };

  const Json& expect(bool fits, const char* expected) const {
    require(fits, "JSON: expected ", expected, ", found ", kind());
    return *this;
  }
  void write(std::string& out) const;

  // Side by side rather than in a std::variant, which costs compile time and, with GCC 12, users' warnings.
  Kind kind_ = Kind::null;
  std::int64_t whole_ = 0;  // and booleans
  double number_ = 0;       // whole numbers too
  std::string string_;
  Array array_;
  Object object_;
};

namespace detail {

/// What stands behind a backslash, and what it means.
inline constexpr std::string_view kJsonEscapes = "\"\\/bfnrt", kJsonEscaped = "\"\\/\b\f\n\r\t";

/// `value` in quotes.
inline void append_json_string(std::string& out, std::string_view value) {
  out += '"';
  while (!value.empty()) {
    const std::size_t length = utf8_length(value);
    const char c = value[0];
    if (length == 0) {
      out += "\xef\xbf\xbd";
    } else if (const std::size_t letter = kJsonEscaped.find(c); letter != std::string_view::npos && c != '/') {
      out += '\\';
      out += kJsonEscapes[letter];
    } else if (length == 1 && static_cast<unsigned char>(c) < 0x20) {
      char escape[8];
      std::snprintf(escape, sizeof escape, "\\u%04x", static_cast<unsigned>(c));
      out += escape;
    } else {
      out += value.substr(0, length);
    }
    value.remove_prefix(length == 0 ? 1 : length);
  }
  out += '"';
}

/// `value` in quotes for a message, at most 80 bytes of it: names come from files that may be hostile.
inline std::string quoted_name(std::string_view value) {
  constexpr std::size_t kLongest = 80;
  std::size_t end = value.size() <= kLongest ? value.size() : kLongest;
  while (end < value.size() && end > 0 && (static_cast<unsigned char>(value[end]) & 0xc0) == 0x80) --end;  // not inside a character
  std::string result;
  append_json_string(result, value.substr(0, end));
  if (end < value.size()) result += "...";
  return result;
}

/// A recursive-descent reader of RFC 8259: no comments, no trailing commas, no bare words.
class JsonParser {
 public:
  JsonParser(std::string_view source, std::string_view name, std::size_t first_offset)
      : source_(source), name_(name), first_offset_(first_offset), most_values_(std::max(Json::kMaxValues, source.size() / 4)) {}

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
    fail<FileError>(
        name_, ": at offset ", first_offset_ + position_, ": expected ", expected, ", found ", found, hint.empty() ? "" : "; ", hint);
  }

  char peek() const { return position_ < source_.size() ? source_[position_] : '\0'; }
  bool digit() const { return peek() >= '0' && peek() <= '9'; }
  bool take(char c) {
    if (position_ >= source_.size() || source_[position_] != c) return false;
    ++position_;
    return true;
  }
  void skip_space() {
    while (peek() == ' ' || peek() == '\n' || peek() == '\r' || peek() == '\t') ++position_;
  }

  Json value(int depth) {
    skip_space();
    if (++values_ > most_values_) error(text("at most ", most_values_, " values"));
    switch (peek()) {
      case '{':
        return object(depth);
      case '[':
        return array(depth);
      case '"':
        return string();
      case 't':
        return word("true", true);
      case 'f':
        return word("false", false);
      case 'n':
        return word("null", Json());
      default:
        return number();
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
    Json::Object members;
    if (take('}')) return members;
    for (;;) {
      skip_space();
      if (peek() != '"') error("a key in quotes");
      std::string key = string();
      skip_space();
      if (!take(':')) error("':'");
      members.emplace_back(std::move(key), value(depth + 1));
      skip_space();
      if (take('}')) break;
      if (!take(',')) error("',' or '}'");
    }
    refuse_duplicates(members, start);
    return members;
  }

  void refuse_duplicates(const Json::Object& members, std::size_t start) const {
    std::vector<const std::string*> keys;
    for (const auto& [key, member] : members) keys.push_back(&key);
    std::sort(keys.begin(), keys.end(), [](const std::string* a, const std::string* b) { return *a < *b; });
    const auto twice = std::adjacent_find(keys.begin(), keys.end(), [](const std::string* a, const std::string* b) { return *a == *b; });
    if (twice != keys.end())
      fail<FileError>(
          name_, ": in the object at offset ", first_offset_ + start, ": expected each key once, found ", quoted_name(**twice), " twice");
  }

  std::string string() {
    ++position_;
    std::string result;
    for (;;) {
      if (position_ >= source_.size()) error("a closing '\"'");
      const char c = source_[position_];
      if (c == '"') break;
      if (c == '\\') {
        escape(result);
        continue;
      }
      const std::size_t length = utf8_length(source_.substr(position_, 4));
      if (length == 0) error("UTF-8");
      if (static_cast<unsigned char>(c) < 0x20) error("a control character as \\u escape");
      result += source_.substr(position_, length);
      position_ += length;
    }
    ++position_;
    return result;
  }

  void escape(std::string& result) {
    ++position_;
    if (take('u')) {
      std::uint32_t code = hexadecimal();
      if (code >= 0xd800 && code < 0xdc00) {
        if (!take('\\') || !take('u')) error("the second half of a surrogate pair");
        const std::uint32_t low = hexadecimal();
        if (low < 0xdc00 || low > 0xdfff) error("the second half of a surrogate pair before this");
        code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
      } else if (code >= 0xdc00 && code < 0xe000) {
        error("the first half of a surrogate pair before this");
      }
      append_utf8(result, code);
      return;
    }
    const std::size_t letter = position_ < source_.size() ? kJsonEscapes.find(peek()) : std::string_view::npos;
    if (letter == std::string_view::npos) error("one of \" \\ / b f n r t u after '\\'");
    result += kJsonEscaped[letter];
    ++position_;
  }

  std::uint32_t hexadecimal() {
    std::uint32_t code = 0;
    for (int i = 0; i < 4; ++i, ++position_) {
      const char c = peek();
      const int value = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
      if (value < 0) error("four hexadecimal digits after \\u");
      code = code * 16 + static_cast<std::uint32_t>(value);
    }
    return code;
  }

  Json number() {
    const std::size_t start = position_;
    bool whole = true;
    const auto digits = [&](const char* expected) {
      if (!digit()) error(expected);
      while (digit()) ++position_;
    };
    const bool negative = take('-');
    if (!take('0')) digits(negative ? "a digit" : "a value");
    if (take('.')) {
      whole = false;
      digits("a digit after '.'");
    }
    if (take('e') || take('E')) {
      whole = false;
      if (!take('+')) take('-');
      digits("a digit of the exponent");
    }
    const std::string_view spelling = source_.substr(start, position_ - start);
    if (whole && spelling != "-0") {  // minus zero is a double
      std::int64_t exact = 0;
      if (std::from_chars(spelling.data(), spelling.data() + spelling.size(), exact).ec == std::errc()) return exact;
    }
    double nearest = 0;
    if (!parse_double(spelling, nearest))
      fail<FileError>(
          name_, ": at offset ", first_offset_ + start, ": expected a number that a double can hold, found ", quoted_name(spelling));
    return nearest;
  }

  std::string_view source_, name_;
  std::size_t first_offset_, most_values_, position_ = 0, values_ = 0;
};

}  // namespace detail

inline Json Json::parse(std::string_view source, std::string_view name, std::size_t first_offset) {
  return detail::JsonParser(source, name, first_offset).document();
}

inline const Json* Json::find(std::string_view key) const {
  for (const auto& [name, member] : as_object())
    if (name == key) return &member;
  return nullptr;
}

inline Json& Json::set(std::string_view key, Json value) {
  if (is_null()) *this = Object();
  expect(is_object(), "an object");
  for (auto& [name, member] : object_)
    if (name == key) {
      member = std::move(value);
      return *this;
    }
  object_.emplace_back(key, std::move(value));
  return *this;
}

inline Json& Json::push_back(Json value) {
  if (is_null()) *this = Array();
  expect(is_array(), "an array");
  array_.push_back(std::move(value));
  return *this;
}

inline void Json::write(std::string& out) const {
  if (is_bool()) {
    out += as_bool() ? "true" : "false";
  } else if (is_integer()) {
    out += std::to_string(as_integer());
  } else if (is_number()) {
    out += std::isfinite(as_number()) ? detail::double_text(as_number()) : "null";
  } else if (is_string()) {
    detail::append_json_string(out, as_string());
  } else if (is_array()) {
    out += '[';
    for (const Json& element : as_array()) {
      if (&element != as_array().data()) out += ',';
      element.write(out);
    }
    out += ']';
  } else if (is_object()) {
    out += '{';
    for (const auto& member : as_object()) {
      if (&member != as_object().data()) out += ',';
      detail::append_json_string(out, member.first);
      out += ':';
      member.second.write(out);
    }
    out += '}';
  } else {
    out += "null";
  }
}

}  // namespace heed::inline HEED_ABI
