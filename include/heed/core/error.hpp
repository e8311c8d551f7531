// SPDX-License-Identifier: MIT
#pragma once

#include <concepts>
#include <cstdio>
#include <cstdlib>
#include <initializer_list>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>

#include <heed/core/context.hpp>

namespace heed::inline HEED_ABI {

/// The shapes of a call do not fit the layer.
class ShapeError : public std::invalid_argument {
 public:
  using std::invalid_argument::invalid_argument;
};

/// A file is missing, truncated, of another format, or cannot be written.
class FileError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

namespace detail {

inline void append_text(std::string& text, std::string_view part) { text += part; }
inline void append_text(std::string& text, const char* part) { text += part; }
inline void append_text(std::string& text, const std::string& part) { text += part; }
inline void append_text(std::string& text, char part) { text += part; }
inline void append_text(std::string& text, bool part) { text += part ? "true" : "false"; }

template <class Number>
  requires std::is_arithmetic_v<Number>
void append_text(std::string& text, Number part) {
  if constexpr (std::is_floating_point_v<Number>) {
    char digits[40];
    const double value = static_cast<double>(part);
    if (part != part) {  // without the sign, which differs between instruction sets
      text += "nan";
      return;
    }
    for (int count = 9; count <= 17; ++count) {  // nine digits tell all floats apart, 17 all doubles; fewer where they read back the same
      std::snprintf(digits, sizeof digits, "%.*g", count, value);
      if (static_cast<Number>(std::strtod(digits, nullptr)) == part) break;
    }
    text += digits;
  } else {
    text += std::to_string(part);
  }
}

template <class Printable>
  requires requires(const Printable& p) {
    { p.to_string() } -> std::convertible_to<std::string>;
  }
void append_text(std::string& text, const Printable& part) { text += part.to_string(); }

/// One part of a message without its type: what joins them is compiled once, and a check that holds costs a comparison.
struct TextPart {
  const void* part;
  void (*append)(std::string& text, const void* part);

  template <class Part>
  TextPart(const Part& given)
      : part(&given), append([](std::string& text, const void* it) { append_text(text, *static_cast<const Part*>(it)); }) {}
  TextPart(const char* given) : part(given), append([](std::string& text, const void* it) { text += static_cast<const char*>(it); }) {}
};

inline void append_parts(std::string& text, std::initializer_list<TextPart> parts) {
  for (const TextPart& part : parts) part.append(text, part.part);
}

template <class Error>
[[noreturn]] void fail_with(std::initializer_list<TextPart> parts) {
  std::string message = layer_path();
  if (!message.empty()) message += ": ";
  append_parts(message, parts);
#if defined(__cpp_exceptions)
  throw Error(message);
#else
#if defined(HEED_ERROR_HANDLER)
  HEED_ERROR_HANDLER(message.c_str());
#else
  std::fprintf(stderr, "heed: %s\n", message.c_str());
#endif
  std::abort();
#endif
}

}  // namespace detail

/// The parts one after another: strings, numbers (doubles with as many digits as read back the same), shapes (anything with `to_string()`).
template <class... Parts>
std::string text(const Parts&... parts) {
  std::string result;
  detail::append_parts(result, {detail::TextPart(parts)...});
  return result;
}

/// The one function of the library that throws. The message starts with the path of the layer that is at work, if a composed model is running.
///
/// Compiled without exceptions (-fno-exceptions) it calls `HEED_ERROR_HANDLER(message)`, where you define that as the name of a function that takes a
/// `const char*` and does not return; else the message goes to stderr. Then the program is aborted.
template <class Error = std::invalid_argument, class... Parts>
[[noreturn]] void fail(const Parts&... parts) {
  detail::fail_with<Error>({detail::TextPart(parts)...});
}

/// Calls `fail` when `condition` does not hold. The parts are put into words only then.
template <class Error = std::invalid_argument, class... Parts>
void require(bool condition, const Parts&... parts) {
  if (!condition) [[unlikely]]
    fail<Error>(parts...);
}

}  // namespace heed::inline HEED_ABI
