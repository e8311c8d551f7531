// SPDX-License-Identifier: MIT
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>

#include <heed/core/random.hpp>
#include <heed/io/decimal.hpp>

#include "catch.hpp"

using heed::detail::double_text;
using heed::detail::parse_double;

namespace {

/// NaN for what is refused.
double parsed(const std::string& digits) {
  double value = 0;
  return parse_double(digits, value) ? value : std::numeric_limits<double>::quiet_NaN();
}

}  // namespace

TEST_CASE("Decimal numbers: text and double are each other's", "[decimal]") {
  CHECK(double_text(2) == "2.0");
  CHECK(double_text(0.1) == "0.1");
  CHECK(double_text(1e300) == "1e+300");
  const heed::CounterRandom random{1};
  for (std::uint64_t i = 0; i < 2000; ++i) {  // doubles of every exponent
    const double value = std::bit_cast<double>(random.bits(i));
    if (std::isfinite(value)) CHECK(parsed(double_text(value)) == value);
  }
}

TEST_CASE("Decimal numbers below all doubles are zero, those above are refused", "[decimal]") {
  const std::string zeros(400, '0'), many(1000, '0');
  for (const std::string& digits : {std::string("1e-400"), std::string("123456.789E-500"), "0." + zeros + "1", "0." + many + "1e500",
           std::string("1e-99999999999999999999"), std::string("0.001e-330"), "1" + zeros + "e-800"}) {
    INFO(digits);
    CHECK(parsed(digits) == 0);
    CHECK(!std::signbit(parsed(digits)));
    CHECK(parsed("-" + digits) == 0);
    CHECK(std::signbit(parsed("-" + digits)));
  }
  for (const std::string& digits : {std::string("1e400"), std::string("1e+400"), "1" + zeros, "1" + zeros + ".5", "1" + many + "e-500",
           std::string("1e99999999999999999999"), std::string("1E+99999999999999999999"), std::string("0.00001e400")}) {
    INFO(digits);
    CHECK(std::isnan(parsed(digits)));
    CHECK(std::isnan(parsed("-" + digits)));
  }
  CHECK(parsed("0e999999") == 0);
  CHECK(parsed("0.0e-99999999999999999999") == 0);
  CHECK(parsed("0e99999999999999999999") == 0);
  CHECK(parsed("5e-324") == std::numeric_limits<double>::denorm_min());
  CHECK(parsed("0." + many + "1e1001") == 0.1 * 10);
}
