// SPDX-License-Identifier: MIT
#include "catch.hpp"

#include <cmath>

#include <heed/core/initialize.hpp>

using namespace heed;

namespace {

struct Moments {
  double mean = 0, deviation = 0, largest = 0;
};

/// Of a parameter of that shape, from a fixed stream.
Moments moments_of(const Shape& shape, Initializer how, const InitializerOptions& options = {}) {
  Parameter<double> p(shape);
  initialize(p, how, options, CounterRandom({17}));
  Moments m;
  const double count = static_cast<double>(p.size());
  for (Index i = 0; i < p.size(); ++i) m.mean += p.value()[i] / count;
  for (Index i = 0; i < p.size(); ++i) {
    m.deviation += (p.value()[i] - m.mean) * (p.value()[i] - m.mean) / count;
    m.largest = std::max(m.largest, std::abs(p.value()[i]));
  }
  m.deviation = std::sqrt(m.deviation);
  return m;
}

// 128 outputs, 64 inputs, 3x3: fan_in 576, fan_out 1152; 73728 values, so deviations are known to 1 %.
const Shape kConvolution{128, 64, 3, 3};

void check_uniform(Initializer how, double bound, const InitializerOptions& options = {}) {
  const Moments m = moments_of(kConvolution, how, options);
  CHECK(m.mean == Approx(0).margin(0.02 * bound));
  CHECK(m.deviation == Approx(bound / std::sqrt(3.0)).epsilon(0.01));
  CHECK(m.largest <= bound);
  CHECK(m.largest > 0.99 * bound);
}

void check_normal(Initializer how, double deviation, const InitializerOptions& options = {}) {
  const Moments m = moments_of(kConvolution, how, options);
  CHECK(m.mean == Approx(0).margin(0.02 * deviation));
  CHECK(m.deviation == Approx(deviation).epsilon(0.015));
  CHECK(m.largest > 3 * deviation);
}

}  // namespace

TEST_CASE("initialisers have the spread of their formulas") {
  check_uniform(Initializer::uniform, 0.3, {.value = 0.3});
  check_uniform(Initializer::fan_in_uniform, 1 / std::sqrt(576.0));
  check_uniform(Initializer::xavier_uniform, 2 * std::sqrt(6.0 / (576 + 1152)), {.value = 2});
  check_uniform(Initializer::kaiming_uniform, std::sqrt(2.0) * std::sqrt(3.0 / 576), {.value = std::sqrt(2.0)});
  check_normal(Initializer::normal, 0.02, {.value = 0.02});
  check_normal(Initializer::xavier_normal, std::sqrt(2.0 / (576 + 1152)));
  check_normal(Initializer::kaiming_normal, std::sqrt(2.0 / 576), {.value = std::sqrt(2.0)});
  check_uniform(Initializer::fan_in_uniform, 0.1, {.fan_in = 100});  // as for a bias
}

TEST_CASE("the truncated normal stays within two deviations") {
  const Moments m = moments_of(kConvolution, Initializer::trunc_normal, {.value = 0.02});
  CHECK(m.largest <= 0.04);
  CHECK(m.largest > 0.0398);
  CHECK(m.deviation == Approx(0.8796 * 0.02).epsilon(0.015));  // of N(0, 1) cut at ±2
}

TEST_CASE("constants") {
  CHECK(moments_of({3, 4}, Initializer::zeros).largest == 0);
  CHECK(moments_of({3, 4}, Initializer::ones).mean == Approx(1));
  CHECK(moments_of({3, 4}, Initializer::constant, {.value = -2.5}).mean == Approx(-2.5));
}

TEST_CASE("dirac copies channels through the centre of the kernel, identity is the identity") {
  Parameter<float> p({3, 2, 3, 3});
  initialize(p, Initializer::dirac);
  for (Index o = 0; o < 3; ++o)
    for (Index i = 0; i < 2; ++i)
      for (Index k = 0; k < 9; ++k) CHECK(p.value()[(o * 2 + i) * 9 + k] == (o == i && k == 4 ? 1 : 0));
  Parameter<float> matrix({2, 3});
  initialize(matrix, Initializer::identity);
  for (Index i = 0; i < 6; ++i) CHECK(matrix.value()[i] == (i == 0 || i == 4 ? 1 : 0));
  Parameter<float> bias({3});
  CHECK_THROWS_WITH(initialize(bias, Initializer::dirac), contains("not a parameter of shape 3"));
}

TEST_CASE("names") {
  CHECK(initializer("zeros") == Initializer::zeros);
  CHECK(initializer("trunc_normal") == Initializer::trunc_normal);
  CHECK(initializer("kaiming_normal") == Initializer::kaiming_normal);
  CHECK(initializer("identity") == Initializer::identity);
  CHECK_THROWS_WITH(initializer("he"), contains("'he' is not known; choose one of zeros, ones") && contains("identity"));
}

TEST_CASE("each parameter draws from its own stream, which the seed names") {
  const auto draw = [] {
    Parameter<float> p({4});
    initialize(p, Initializer::normal);
    return p.value()[0];
  };
  float first = 0, second = 0;
  {
    SeedScope seed(5);
    first = draw();
    second = draw();
    CHECK(first != second);
    {
      SeedScope other(6);
      CHECK(draw() != first);
    }
    CHECK(draw() != second);
  }
  SeedScope again(5);
  CHECK(draw() == first);
  CHECK(draw() == second);
  // The numbers do not depend on the scalar, beyond its precision.
  Parameter<float> narrow({3});
  Parameter<double> wide({3});
  initialize(narrow, Initializer::normal, {}, CounterRandom({1}));
  initialize(wide, Initializer::normal, {}, CounterRandom({1}));
  for (Index i = 0; i < 3; ++i) CHECK(narrow.value()[i] == static_cast<float>(wide.value()[i]));
}
