// SPDX-License-Identifier: MIT
#include "catch.hpp"

#include <algorithm>

#include <heed/core/initialize.hpp>

using namespace heed;

namespace {

struct Moments {
  double mean, deviation, low, high;
};

/// Of a parameter (400, 50): fan_in 50, fan_out 400, 20000 numbers.
Moments moments(Initializer how, double value = 1) {
  SeedScope seed(3);
  Parameter<double> p({400, 50});
  initialize(p, how, {.value = value});
  double sum = 0, squares = 0;
  for (Index i = 0; i < p.size(); ++i) sum += p.value()[i], squares += p.value()[i] * p.value()[i];
  const double count = static_cast<double>(p.size()), mean = sum / count;
  const auto [low, high] = std::minmax_element(p.value(), p.value() + p.size());
  return {mean, std::sqrt(squares / count - mean * mean), *low, *high};
}

void check_uniform(const Moments& m, double bound) {
  CHECK(m.low >= -bound);
  CHECK(m.high < bound);
  CHECK(m.high > 0.999 * bound);
  CHECK(std::abs(m.mean) < 0.03 * bound);  // six standard deviations of a mean of 20000
  CHECK(m.deviation == Approx(bound / std::sqrt(3.0)).epsilon(0.02));
}

void check_normal(const Moments& m, double deviation) {
  CHECK(std::abs(m.mean) < 0.05 * deviation);
  CHECK(m.deviation == Approx(deviation).epsilon(0.03));
  CHECK(m.high > 3 * deviation);  // of 20000 draws some 27 lie there
}

}  // namespace

TEST_CASE("constants") {
  Parameter<float> p({2, 3});
  initialize(p, Initializer::ones);
  CHECK(std::all_of(p.value(), p.value() + 6, [](float v) { return v == 1; }));
  initialize(p, Initializer::constant, {.value = 2.5});
  CHECK(std::all_of(p.value(), p.value() + 6, [](float v) { return v == 2.5f; }));
  initialize(p, Initializer::zeros);
  CHECK(std::all_of(p.value(), p.value() + 6, [](float v) { return v == 0; }));
}

TEST_CASE("random initialisers have the bounds and deviations of their formulas") {
  check_uniform(moments(Initializer::uniform, 0.3), 0.3);
  check_uniform(moments(Initializer::fan_in_uniform), 1 / std::sqrt(50.0));
  check_uniform(moments(Initializer::xavier_uniform), std::sqrt(6.0 / 450));
  check_uniform(moments(Initializer::xavier_uniform, 2), 2 * std::sqrt(6.0 / 450));
  check_uniform(moments(Initializer::kaiming_uniform, std::sqrt(2.0)), std::sqrt(6.0 / 50));
  check_normal(moments(Initializer::normal, 0.02), 0.02);
  check_normal(moments(Initializer::xavier_normal), std::sqrt(2.0 / 450));
  check_normal(moments(Initializer::kaiming_normal, std::sqrt(2.0)), std::sqrt(2.0 / 50));
  const Moments cut = moments(Initializer::trunc_normal, 0.5);
  CHECK(cut.low >= -1);
  CHECK(cut.high <= 1);
  CHECK(cut.high > 0.99);
  CHECK(cut.deviation == Approx(0.5 * 0.8796).epsilon(0.02));  // of a normal distribution cut at two deviations
}

TEST_CASE("fans are read from convolution weights, biases are told theirs") {
  Parameter<double> weight({64, 8, 3, 3}), bias({1000});
  initialize(weight, Initializer::fan_in_uniform);
  const double bound = 1 / std::sqrt(72.0);
  CHECK(*std::max_element(weight.value(), weight.value() + weight.size()) < bound);
  CHECK(*std::max_element(weight.value(), weight.value() + weight.size()) > 0.99 * bound);
  initialize(bias, Initializer::fan_in_uniform, {.fan_in = 72});
  CHECK(*std::max_element(bias.value(), bias.value() + 1000) < bound);
  CHECK(*std::max_element(bias.value(), bias.value() + 1000) > 0.98 * bound);
  initialize(weight, Initializer::xavier_uniform);
  CHECK(*std::max_element(weight.value(), weight.value() + weight.size()) < std::sqrt(6.0 / (72 + 576)));
}

TEST_CASE("a dirac convolution copies its channels, an identity matrix its features") {
  Parameter<float> weight({5, 3, 3, 2});
  initialize(weight, Initializer::dirac);
  for (Index o = 0; o < 5; ++o)
    for (Index i = 0; i < 3; ++i)
      for (Index k = 0; k < 6; ++k) CHECK(weight.value()[(o * 3 + i) * 6 + k] == (o == i && k == 3 ? 1.0f : 0.0f));  // row 1, column 1
  Parameter<float> matrix({3, 4});
  initialize(matrix, Initializer::identity);
  for (Index i = 0; i < 3; ++i)
    for (Index j = 0; j < 4; ++j) CHECK(matrix.value()[i * 4 + j] == (i == j ? 1.0f : 0.0f));
  Parameter<float> vector({3});
  CHECK_THROWS_WITH(initialize(vector, Initializer::dirac), contains("not a parameter of shape 3"));
}

TEST_CASE("one seed gives one model, layer after layer") {
  const auto draw = [](std::uint64_t seed) {
    SeedScope scope(seed);
    Parameter<float> first({4}), second({4});
    initialize(first, Initializer::normal);
    initialize(second, Initializer::normal);
    return std::vector<float>{first.value()[0], second.value()[0], first.value()[3]};
  };
  CHECK(draw(1) == draw(1));
  CHECK(draw(1) != draw(2));
  CHECK(draw(1)[0] != draw(1)[1]);
  // A stream of one's own: float and double get the same numbers.
  Parameter<float> f({9});
  Parameter<double> d({9});
  initialize(f, Initializer::uniform, {}, CounterRandom({5}));
  initialize(d, Initializer::uniform, {}, CounterRandom({5}));
  for (Index i = 0; i < 9; ++i) CHECK(f.value()[i] == static_cast<float>(d.value()[i]));
}

TEST_CASE("initialisers by name") {
  CHECK(initializer("zeros") == Initializer::zeros);
  CHECK(initializer("trunc_normal") == Initializer::trunc_normal);
  CHECK(initializer("kaiming_uniform") == Initializer::kaiming_uniform);
  CHECK(initializer("identity") == Initializer::identity);
  CHECK_THROWS_WITH(initializer("kaiming"), contains("'kaiming' is not known") && contains("kaiming_normal, dirac"));
}
