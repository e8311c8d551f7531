// SPDX-License-Identifier: MIT
#include "catch.hpp"

#include <heed/core/dual.hpp>

using heed::Dual;

namespace {
using D = Dual<2>;
D variable(double value) {
  D x(value);
  x.tangent[0] = 1;
  return x;
}

template <class F>
void check(double at, double slope, const F& f) {
  const D y = f(variable(at));
  REQUIRE(y.tangent[0] == Approx(slope).epsilon(1e-14));
  REQUIRE(y.tangent[1] == 0);
}
}  // namespace

TEST_CASE("Dual numbers know the derivatives of the operations") {
  check(3, 6, [](D x) { return x * x; });
  check(3, -1.0 / 9, [](D x) { return 1.0 / x; });
  check(3, 2, [](D x) { return x + x - 5.0; });
  check(3, -1, [](D x) { return -x; });
  check(2, std::exp(2), [](D x) { return exp(x); });
  check(1, std::exp(1), [](D x) { return expm1(x); });
  check(2, std::log(2) * 4, [](D x) { return exp2(x); });
  check(2, 0.5, [](D x) { return log(x); });
  check(2, 1.0 / 3, [](D x) { return log1p(x); });
  check(4, 0.25, [](D x) { return sqrt(x); });
  check(0.5, 1 - std::tanh(0.5) * std::tanh(0.5), [](D x) { return tanh(x); });
  check(0.5, 2 / std::sqrt(3.14159265358979323846) * std::exp(-0.25), [](D x) { return erf(x); });
  check(0.5, std::cos(0.5), [](D x) { return sin(x); });
  check(0.5, -std::sin(0.5), [](D x) { return cos(x); });
  check(-2, -1, [](D x) { return abs(x); });
}

TEST_CASE("A product keeps each direction apart") {
  D x(2), y(5);
  x.tangent[0] = 1, y.tangent[1] = 1;
  const D z = x * y / (x + y);
  REQUIRE(z.tangent[0] == Approx(25.0 / 49));
  REQUIRE(z.tangent[1] == Approx(4.0 / 49));
  REQUIRE((x < y));
  REQUIRE(static_cast<double>(z) == Approx(10.0 / 7));
}
