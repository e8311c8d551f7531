// SPDX-License-Identifier: MIT
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include <heed/core/error.hpp>

namespace heed::inline HEED_ABI {

static_assert(std::endian::native == std::endian::little, "heed: files are little-endian and are copied as they lie; this machine is not");

/// The kinds of numbers in files, under the names of the safetensors format, in the order in which its own library writes them: wide first.
/// Complex numbers and floats of 8 bits have a place there, so that files that hold some are read beside them; the numbers themselves are not (`is_read`).
enum class Dtype {
  u64,
  i64,
  f64,
  c64,
  f32,
  u32,
  i32,
  bf16,
  f16,
  u16,
  i16,
  f8_e5m2fnuz,
  f8_e4m3fnuz,
  f8_e8m0,
  f8_e4m3,
  f8_e5m2,
  i8,
  u8,
  boolean
};

/// What there is to know about a kind of number.
struct DtypeTraits {
  Dtype dtype;            ///< the kind
  std::string_view name;  ///< in safetensors' headers, "F32"
  int width;              ///< in bytes
};

/// In the order of Dtype.
inline constexpr DtypeTraits kDtypes[] = {{Dtype::u64, "U64", 8}, {Dtype::i64, "I64", 8}, {Dtype::f64, "F64", 8}, {Dtype::c64, "C64", 8},
    {Dtype::f32, "F32", 4}, {Dtype::u32, "U32", 4}, {Dtype::i32, "I32", 4}, {Dtype::bf16, "BF16", 2}, {Dtype::f16, "F16", 2},
    {Dtype::u16, "U16", 2}, {Dtype::i16, "I16", 2}, {Dtype::f8_e5m2fnuz, "F8_E5M2FNUZ", 1}, {Dtype::f8_e4m3fnuz, "F8_E4M3FNUZ", 1},
    {Dtype::f8_e8m0, "F8_E8M0", 1}, {Dtype::f8_e4m3, "F8_E4M3", 1}, {Dtype::f8_e5m2, "F8_E5M2", 1}, {Dtype::i8, "I8", 1},
    {Dtype::u8, "U8", 1}, {Dtype::boolean, "BOOL", 1}};

/// Of a kind of number: see DtypeTraits. Floating: of 16 to 64 bits.
/// @{
constexpr std::string_view dtype_name(Dtype dtype) { return kDtypes[static_cast<int>(dtype)].name; }
constexpr int dtype_width(Dtype dtype) { return kDtypes[static_cast<int>(dtype)].width; }
constexpr bool is_floating(Dtype dtype) {
  return dtype == Dtype::f64 || dtype == Dtype::f32 || dtype == Dtype::f16 || dtype == Dtype::bf16;
}
constexpr bool is_read(Dtype dtype) { return dtype != Dtype::c64 && !dtype_name(dtype).starts_with("F8_"); }
/// @}

/// The Dtype of a C++ type; bool is one byte.
template <class T>
constexpr Dtype dtype_of() {
  static_assert(std::is_same_v<T, double> || std::is_same_v<T, float> || std::is_same_v<T, std::int64_t> ||
                    std::is_same_v<T, std::int32_t> || std::is_same_v<T, std::uint8_t> || std::is_same_v<T, bool>,
      "heed: files hold double, float, std::int64_t, std::int32_t, std::uint8_t and bool");
  if constexpr (std::is_same_v<T, double>) return Dtype::f64;
  if constexpr (std::is_same_v<T, float>) return Dtype::f32;
  if constexpr (std::is_same_v<T, std::int64_t>) return Dtype::i64;
  if constexpr (std::is_same_v<T, std::int32_t>) return Dtype::i32;
  if constexpr (std::is_same_v<T, std::uint8_t>) return Dtype::u8;
  return Dtype::boolean;
}

/// The value of IEEE 754 binary16 `bits`; exact.
inline float float_from_f16(std::uint16_t bits) {
  const std::uint32_t sign = (bits & 0x8000u) << 16, exponent = (bits >> 10) & 0x1fu, fraction = bits & 0x3ffu;
  if (exponent == 0x1f) return std::bit_cast<float>(sign | 0x7f800000u | fraction << 13);  // infinity, NaN
  if (exponent != 0) return std::bit_cast<float>(sign | (exponent + 112) << 23 | fraction << 13);
  const float magnitude = static_cast<float>(fraction) * 0x1p-24f;  // zero and subnormal
  return sign ? -magnitude : magnitude;
}

/// The value of bfloat16 `bits`, the upper half of a float; exact.
inline float float_from_bf16(std::uint16_t bits) { return std::bit_cast<float>(std::uint32_t{bits} << 16); }

namespace detail {

/// `value` as a To, if a To can be that value: floating numbers are not turned into whole ones, and whole ones must be in range, have no more digits than a
/// floating To, and be 0 or 1 for a bool. Between floating types the nearest value is taken, which is infinity beyond To's range.
template <class To, class From>
bool convert_number(From value, To& result) {
  if constexpr (std::is_same_v<To, bool>) {
    result = value != From(0);
    return std::is_integral_v<From> && (!result || value == From(1));
  } else if constexpr (std::is_floating_point_v<From> && !std::is_floating_point_v<To>) {
    return false;
  } else if constexpr (std::is_integral_v<From> && std::is_integral_v<To>) {
    result = static_cast<To>(value);
    return std::in_range<To>(value);
  } else {
    result = static_cast<To>(value);
    if constexpr (std::is_integral_v<From>) {
      const auto bits = static_cast<std::uint64_t>(static_cast<std::int64_t>(value)), magnitude = std::cmp_less(value, 0) ? 0 - bits : bits;
      return magnitude == 0 || magnitude >> std::countr_zero(magnitude) >> std::numeric_limits<To>::digits == 0;
    }
    return true;
  }
}

/// What a message says where `convert_numbers` stopped in numbers of kind `dtype`.
template <class To>
std::string unfit_number(Dtype dtype) {
  const Dtype wanted = dtype_of<To>();
  return text("expected ", dtype_name(wanted), ", found ",
      is_floating(dtype)    ? ""
      : is_floating(wanted) ? "a number of more digits than it has in "
                            : "a number out of its range in ",
      dtype_name(dtype));
}

template <class Stored, class To, class Decode>
std::size_t convert_all(const unsigned char* bytes, std::size_t count, To* out, const Decode& decode) {
  for (std::size_t i = 0; i < count; ++i) {
    Stored stored;
    std::memcpy(&stored, bytes + i * sizeof(Stored), sizeof(Stored));
    if (!convert_number<To>(decode(stored), out[i])) return i;
  }
  return count;
}

/// Reads `count` numbers of kind `dtype`, which may lie unaligned, as To. Returns how many could be converted: the position of the first
/// number that a To cannot be, or `count`.
template <class To>
std::size_t convert_numbers(Dtype dtype, const unsigned char* bytes, std::size_t count, To* out) {
  const auto same = [](auto value) { return value; };
  switch (dtype) {
    case Dtype::f64:
      return convert_all<double>(bytes, count, out, same);
    case Dtype::f32:
      return convert_all<float>(bytes, count, out, same);
    case Dtype::f16:
      return convert_all<std::uint16_t>(bytes, count, out, float_from_f16);
    case Dtype::bf16:
      return convert_all<std::uint16_t>(bytes, count, out, float_from_bf16);
    case Dtype::u64:
      return convert_all<std::uint64_t>(bytes, count, out, same);
    case Dtype::i64:
      return convert_all<std::int64_t>(bytes, count, out, same);
    case Dtype::u32:
      return convert_all<std::uint32_t>(bytes, count, out, same);
    case Dtype::i32:
      return convert_all<std::int32_t>(bytes, count, out, same);
    case Dtype::u16:
      return convert_all<std::uint16_t>(bytes, count, out, same);
    case Dtype::i16:
      return convert_all<std::int16_t>(bytes, count, out, same);
    case Dtype::i8:
      return convert_all<std::int8_t>(bytes, count, out, same);
    case Dtype::u8:
      return convert_all<std::uint8_t>(bytes, count, out, same);
    case Dtype::boolean:
      return convert_all<std::uint8_t>(bytes, count, out, [](std::uint8_t value) { return static_cast<std::uint8_t>(value != 0); });
    default:
      return 0;  // see is_read
  }
}

}  // namespace detail
}  // namespace heed::inline HEED_ABI
