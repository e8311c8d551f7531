// SPDX-License-Identifier: MIT
#include "catch.hpp"

#include <set>
#include <vector>

#include <heed/core/random.hpp>

using namespace heed;

TEST_CASE("the sequence over the counter is SplitMix64's") {
  // The published test vector for the seed 0 (an empty key).
  constexpr CounterRandom random({});
  STATIC_REQUIRE(random.bits(0) == 0xe220a8397b1dcdafu);
  STATIC_REQUIRE(random.bits(1) == 0x6e789e6aa1b965f4u);
  STATIC_REQUIRE(random.bits(2) == 0x06c45d188009454fu);
}

TEST_CASE("the key of a stream is what it always was: a seed means the same in every version") {
  // Computed by a Python script from the definition.
  STATIC_REQUIRE(CounterRandom({1}).key() == 0x910a2dec89025cc2u);
  STATIC_REQUIRE(CounterRandom({1, 2}).key() == 0xb1441d254bd86cd9u);
  STATIC_REQUIRE(CounterRandom({0x123456789abcdefu, 7, 9}).key() == 0x2a530517ae880fafu);
}

TEST_CASE("streams are named by all parts of their key, in order") {
  std::set<std::uint64_t> keys;
  std::size_t made = 0;
  for (std::uint64_t a = 0; a < 20; ++a) {
    keys.insert(CounterRandom({a}).key());
    ++made;
    for (std::uint64_t b = 0; b < 20; ++b) {
      keys.insert(CounterRandom({a, b}).key());
      ++made;
    }
  }
  CHECK(keys.size() == made);
  CHECK(CounterRandom({1, 2}).key() != CounterRandom({2, 1}).key());
  CHECK(CounterRandom({1, 2}).bits(5) == CounterRandom({1, 2}).bits(5));
}

TEST_CASE("uniform numbers lie in their range and have its moments") {
  const CounterRandom random({1, 2, 3});
  const int count = 100000;
  double sum = 0, squares = 0, product = 0;
  bool inside = true;
  for (std::uint64_t i = 0; i < count; ++i) {
    const double u = random.uniform(i);
    inside = inside && u >= 0 && u < 1;
    sum += u;
    squares += u * u;
    product += u * random.uniform(i + 1);
  }
  CHECK(inside);
  // Five standard errors: 5/√(12 n), and so on.
  CHECK(sum / count == Approx(0.5).margin(0.0046));
  CHECK(squares / count == Approx(1.0 / 3).margin(0.0048));
  CHECK(product / count == Approx(0.25).margin(0.0051));  // neighbours are independent
  const double shifted = random.uniform(9, -3, 5);
  CHECK(shifted == -3 + 8 * random.uniform(9));
}

TEST_CASE("normal numbers have the moments of N(0, 1)") {
  const CounterRandom random({7});
  const int count = 100000;
  double moments[5] = {};
  bool finite = true;
  for (std::uint64_t i = 0; i < count; ++i) {
    const double x = random.normal(i);
    finite = finite && std::isfinite(x);
    double power = 1;
    for (double& moment : moments) {
      moment += power / count;
      power *= x;
    }
  }
  CHECK(finite);
  // Five standard errors √(E x^2k − (E x^k)²)/√n: 1, √2, √15, √96 times 0.0158.
  CHECK(moments[1] == Approx(0).margin(0.016));
  CHECK(moments[2] == Approx(1).margin(0.023));
  CHECK(moments[3] == Approx(0).margin(0.062));
  CHECK(moments[4] == Approx(3).margin(0.155));
}

TEST_CASE("below is even over its range") {
  const CounterRandom random({11});
  CHECK(random.below(0, 1) == 0);
  std::vector<int> histogram(7);
  for (std::uint64_t i = 0; i < 70000; ++i) ++histogram.at(random.below(i, 7));
  for (int hits : histogram) CHECK(std::abs(hits - 10000) < 5 * 93);  // five standard deviations of a binomial count
}
