// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <system_error>
#include <version>

#if !defined(__cpp_lib_to_chars)
#include <locale>
#include <sstream>
#endif

#include <heed/core/config.hpp>

// Doubles as decimal text in JSON's grammar, whatever the program's locale.

namespace heed::inline HEED_ABI::detail {

/// Whether a number that no double can hold is below them and not above: by the place of its first digit that is not 0, and its exponent.
inline bool underflows(std::string_view digits) {
  const std::size_t e = std::min(digits.find_first_of("eE"), digits.size()), point = std::min(digits.find('.'), e),
                    first = std::min(digits.find_first_of("123456789"), e);
  if (first == e) return true;  // zero
  std::int64_t exponent = 0;
  if (e < digits.size()) {
    const std::string_view power = digits.substr(digits[e + 1] == '+' ? e + 2 : e + 1);  // which from_chars does not take
    if (std::from_chars(power.data(), power.data() + power.size(), exponent).ec != std::errc()) return power[0] == '-';
  }
  const auto place = static_cast<std::int64_t>(point) - static_cast<std::int64_t>(first);  // 0: tenths
  return exponent < -place;
}

/// The double nearest to `digits`, zero for those below all others; false when it is above them.
inline bool parse_double(std::string_view digits, double& value) {
#if defined(__cpp_lib_to_chars)
  if (std::from_chars(digits.data(), digits.data() + digits.size(), value).ec == std::errc()) return true;
#else
  std::istringstream stream{std::string(digits)};
  stream.imbue(std::locale::classic());
  if (stream >> value) return true;
#endif
  value = digits[0] == '-' ? -0.0 : 0.0;
  return underflows(digits);
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

}  // namespace heed::inline HEED_ABI::detail
