// SPDX-License-Identifier: MIT
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include <heed/io/dtype.hpp>

#include "catch.hpp"

using heed::Dtype;

namespace {

/// The value of a binary format with `exponent_bits` and `fraction_bits`, from its definition (IEEE 754, 3.4).
double defined_value(unsigned bits, int exponent_bits, int fraction_bits) {
  const int bias = (1 << (exponent_bits - 1)) - 1, exponent = static_cast<int>(bits >> fraction_bits) & ((1 << exponent_bits) - 1);
  const double fraction = std::ldexp(static_cast<double>(bits & ((1u << fraction_bits) - 1)), -fraction_bits);
  const double sign = bits >> (exponent_bits + fraction_bits) ? -1 : 1;
  if (exponent == (1 << exponent_bits) - 1)
    return fraction == 0 ? sign * std::numeric_limits<double>::infinity() : std::numeric_limits<double>::quiet_NaN();
  return sign * (exponent == 0 ? std::ldexp(fraction, 1 - bias) : std::ldexp(1 + fraction, exponent - bias));
}

bool same(double a, double b) { return std::isnan(a) ? std::isnan(b) : a == b && std::signbit(a) == std::signbit(b); }

template <class To, class From>
std::vector<To> converted(Dtype dtype, const std::vector<From>& numbers, std::size_t expected_count) {
  std::vector<unsigned char> bytes(1);  // one byte off: files need not be aligned
  const auto* first = reinterpret_cast<const unsigned char*>(numbers.data());
  bytes.insert(bytes.end(), first, first + numbers.size() * sizeof(From));
  std::vector<To> result(numbers.size());
  CHECK(heed::detail::convert_numbers(dtype, bytes.data() + 1, numbers.size(), result.data()) == expected_count);
  return result;
}

}  // namespace

TEST_CASE("The table of kinds is in the order of the enumeration", "[dtype]") {
  int place = 0;
  for (const auto& [dtype, name, width] : heed::kDtypes) CHECK(static_cast<int>(dtype) == place++);
  CHECK(heed::dtype_name(heed::dtype_of<float>()) == "F32");
  CHECK(heed::dtype_name(heed::dtype_of<bool>()) == "BOOL");
  CHECK(heed::dtype_width(heed::dtype_of<std::int64_t>()) == 8);
  CHECK(heed::is_floating(Dtype::bf16));
  CHECK(!heed::is_floating(Dtype::i32));
  int unread = 0;
  for (const auto& kind : heed::kDtypes) unread += !heed::is_read(kind.dtype);
  CHECK(unread == 6);
  CHECK(!heed::is_read(Dtype::c64));
  CHECK(!heed::is_read(Dtype::f8_e5m2));
}

TEST_CASE("All 16-bit floats are read exactly", "[dtype]") {
  for (unsigned bits = 0; bits < 65536; ++bits) {
    if (!same(heed::float_from_f16(static_cast<std::uint16_t>(bits)), defined_value(bits, 5, 10))) FAIL("F16 " << bits);
    if (!same(heed::float_from_bf16(static_cast<std::uint16_t>(bits)), defined_value(bits, 8, 7))) FAIL("BF16 " << bits);
  }
}

TEST_CASE("Numbers become another kind only if it can hold them", "[dtype]") {
  using V64 = std::vector<std::int64_t>;
  CHECK(converted<double>(Dtype::f32, std::vector<float>{0.1f, -2}, 2) == std::vector<double>{0.1f, -2});
  CHECK(
      converted<float>(Dtype::f64, std::vector<double>{0.1, 1e300}, 2) == std::vector<float>{0.1f, std::numeric_limits<float>::infinity()});
  CHECK(converted<float>(Dtype::f16, std::vector<std::uint16_t>{0x3c00, 0xc000}, 2) == std::vector<float>{1, -2});
  CHECK(converted<double>(Dtype::bf16, std::vector<std::uint16_t>{0x3f80, 0xc000}, 2) == std::vector<double>{1, -2});
  CHECK(converted<double>(Dtype::i64, V64{-3, 4}, 2) == std::vector<double>{-3, 4});
  CHECK(converted<std::int32_t>(Dtype::i64, V64{-3, 4}, 2) == std::vector<std::int32_t>{-3, 4});
  CHECK(converted<double>(Dtype::u64, std::vector<std::uint64_t>{5, std::uint64_t{1} << 63}, 2) == std::vector<double>{5, 0x1p63});
  CHECK(converted<std::int64_t>(Dtype::u32, std::vector<std::uint32_t>{5, 0xffffffff}, 2) == V64{5, 0xffffffff});
  CHECK(converted<std::int64_t>(Dtype::u16, std::vector<std::uint16_t>{5, 0xffff}, 2) == V64{5, 0xffff});
  CHECK(converted<std::int64_t>(Dtype::i16, std::vector<std::int16_t>{5, -300}, 2) == V64{5, -300});
  CHECK(converted<float>(Dtype::i8, std::vector<std::int8_t>{5, -128}, 2) == std::vector<float>{5, -128});
  CHECK(converted<std::uint8_t>(Dtype::boolean, std::vector<std::uint8_t>{0, 1, 7}, 3) == std::vector<std::uint8_t>{0, 1, 1});
  converted<std::int32_t>(Dtype::i64, V64{1, std::int64_t{1} << 31}, 1);
  converted<std::uint8_t>(Dtype::i32, std::vector<std::int32_t>{255, 256}, 1);
  converted<std::uint8_t>(Dtype::i32, std::vector<std::int32_t>{-1}, 0);
  converted<std::int64_t>(Dtype::u64, std::vector<std::uint64_t>{1, std::uint64_t{1} << 63}, 1);
  converted<std::uint8_t>(Dtype::i8, std::vector<std::int8_t>{1, -1}, 1);
  converted<std::int64_t>(Dtype::f64, std::vector<double>{1, 2}, 0);
  bool flags[3] = {};
  const std::int32_t numbers[3] = {0, 1, 5};
  CHECK(heed::detail::convert_numbers(Dtype::i32, reinterpret_cast<const unsigned char*>(numbers), 3, flags) == 2);
  CHECK((!flags[0] && flags[1]));
  converted<float>(Dtype::c64, std::vector<float>{1, 2}, 0);
}

TEST_CASE("Whole numbers become floating ones only if no digit is lost", "[dtype]") {
  using V64 = std::vector<std::int64_t>;
  const std::int64_t least = std::numeric_limits<std::int64_t>::min();
  CHECK(converted<float>(Dtype::i64, V64{1 << 24, -(1 << 24), 3 * (std::int64_t{1} << 60), least}, 4) ==
        std::vector<float>{0x1p24f, -0x1p24f, 0x3p60f, -0x1p63f});
  converted<float>(Dtype::i64, V64{0, (1 << 24) + 1}, 1);
  converted<float>(Dtype::i64, V64{1, -(1 << 24) - 1}, 1);
  converted<float>(Dtype::i64, V64{2, std::numeric_limits<std::int64_t>::max()}, 1);
  converted<float>(Dtype::u32, std::vector<std::uint32_t>{7, 0xffffffff}, 1);
  converted<double>(Dtype::i64, V64{std::int64_t{1} << 53, -(std::int64_t{1} << 53) - 1}, 1);
  converted<double>(Dtype::u64, std::vector<std::uint64_t>{0xfffffffffffff800, 0xffffffffffffffff}, 1);
  CHECK(heed::detail::unfit_number<float>(Dtype::i64) == "expected F32, found a number of more digits than it has in I64");
  CHECK(heed::detail::unfit_number<bool>(Dtype::i32) == "expected BOOL, found a number out of its range in I32");
  CHECK(heed::detail::unfit_number<std::int32_t>(Dtype::f16) == "expected I32, found F16");
}
