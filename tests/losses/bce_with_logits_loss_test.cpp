// SPDX-License-Identifier: MIT
#include <limits>
#include <vector>

#include <heed/core/dual.hpp>
#include <heed/core/random.hpp>
#include <heed/losses/bce_with_logits_loss.hpp>

#include "catch.hpp"
#include "extreme_inputs.hpp"
#include "reference/loss_reference.hpp"

using namespace heed;

namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

double of(const std::vector<double>& factors, Index feature) {
  return factors.empty() ? 1.0 : factors.size() == 1 ? factors[0] : factors[static_cast<std::size_t>(feature)];
}
Tensor<double, 1> row(const std::vector<double>& values) {
  return Tensor<double, 1>(TensorView<const double, 1>(values.data(), Shape{static_cast<Index>(values.size())}));
}

}  // namespace

TEMPLATE_TEST_CASE("bce_with_logits_loss: values and gradients agree with the derivative of the plain loss", "", float, double) {
  using T = TestType;
  const std::vector<double> five = {0.5, 2, 1, 0, 3}, other = {4, 0.25, 0, 1, 2};
  const std::vector<std::vector<double>> weights = {{}, {2.5}, five}, pos_weights = {{}, {0.5}, other};
  for (Index rows : {1, 3, 900})
    for (const auto& weight : weights)
      for (const auto& pos_weight : pos_weights)
        for (Reduction reduction : {Reduction::mean, Reduction::sum}) {
          INFO(rows << " rows, " << weight.size() << " weights, " << pos_weight.size() << " pos_weights");
          Tensor<T, 2> x({rows, 5}), target({rows, 5}), dx;
          for (Index i = 0; i < x.size(); ++i) {
            x[i] = static_cast<T>(static_cast<float>(2 * CounterRandom{1, 2}.normal(static_cast<std::uint64_t>(i))));
            const double draw = CounterRandom{1, 3}.uniform(static_cast<std::uint64_t>(i));
            target[i] = static_cast<T>(static_cast<float>(i % 3 == 0 ? draw : draw < 0.5 ? 0.0 : 1.0));
          }
          x[0] = T(0);  // where the sides of the formula meet
          const double factor = reduction == Reduction::mean ? 1 / static_cast<double>(x.size()) : 1.0;
          const BCEWithLogitsLoss<T> loss({.weight = weight, .pos_weight = pos_weight, .reduction = reduction});
          const double value = loss(x, target, dx);
          CHECK(value == loss.value(x, target));
          double sum = 0, worst = 0;
          for (Index i = 0; i < x.size(); ++i) {
            Dual<1> one(static_cast<double>(x[i]));
            one.tangent[0] = 1;
            const Dual<1> expected =
                reference::binary_cross_entropy(one, static_cast<double>(target[i]), of(weight, i % 5), of(pos_weight, i % 5));
            sum += expected.value;
            worst = std::max(worst, std::abs(static_cast<double>(dx[i]) / factor - expected.tangent[0]));
          }
          CHECK(value == Approx(factor * sum).epsilon(1e-12));
          CHECK(worst < (sizeof(T) == 4 ? 2e-6 : 1e-12));
        }
}

TEST_CASE("bce_with_logits_loss: numbers printed by torch 2, and each element's own loss") {
  Tensor<double, 2> x({2, 3}), target({2, 3}), losses, dx;
  const double xs[] = {1.0, -0.5, 0.25, 0.0, 2.0, -40.0}, targets[] = {1.0, 0.0, 0.5, 0.25, 1.0, 0.0};
  std::copy_n(xs, 6, x.data());
  std::copy_n(targets, 6, target.data());
  const auto check = [&](const BCEWithLogitsLossOptions& options, double value, const std::vector<double>& gradient) {
    CHECK(BCEWithLogitsLoss<double>(options)(x, target, dx) == Approx(value).epsilon(1e-14));
    for (Index i = 0; i < 6; ++i) CHECK(dx[i] == Approx(gradient[static_cast<std::size_t>(i)]).epsilon(1e-13));
  };
  check({}, 0.3847255471966818,
      {-0.04482357022833252, 0.0629234447996909, 0.010362750147633012, 0.041666666666666664, -0.01986715367035295, 7.080590425485981e-19});
  BCEWithLogitsLossOptions options{.weight = {0.5, 1.0, 3.0}, .pos_weight = {2.0, 0.5, 1.5}};
  check(options, 0.6364654149359075,
      {-0.04482357022833252, 0.0629234447996909, -0.023639686946376193, 0.010416666666666666, -0.009933576835176474,
          2.1241771276457944e-18});
  BCEWithLogitsLoss<double>(options).elements(x, target, losses, dx);
  CHECK(losses.shape() == x.shape());
  double sum = 0;
  for (Index i = 0; i < 6; ++i) sum += losses[i];
  CHECK(sum == Approx(3.818792489615445).epsilon(1e-14));
  CHECK(dx[2] == Approx(-0.14183812167825716).epsilon(1e-13));
  options.reduction = Reduction::sum;
  CHECK(BCEWithLogitsLoss<double>(options).value(x, target) == Approx(sum).epsilon(1e-14));
}

TEST_CASE("bce_with_logits_loss: logits of any size are safe") {
  const BCEWithLogitsLoss<double> loss({.reduction = Reduction::sum});
  Tensor<double, 1> dx;
  CHECK(loss(row({1e4, -1e4, 1e4, -1e4}), row({0, 1, 1, 0}), dx) == 2e4);
  CHECK(dx[0] == 1.0);
  CHECK(dx[1] == -1.0);
  CHECK(dx[2] == 0.0);
  CHECK(loss(row({50, -50}), row({1, 0}), dx) == Approx(2 * std::exp(-50.0)).epsilon(1e-14));  // not rounded to 0
  CHECK(dx[0] == Approx(-std::exp(-50.0)).epsilon(1e-14));
  CHECK(dx[1] == Approx(std::exp(-50.0)).epsilon(1e-14));
  CHECK(loss(row({kInfinity, -kInfinity}), row({1, 0}), dx) == 0.0);
  CHECK(dx[0] == 0.0);
  CHECK(loss.value(row({kInfinity}), row({0})) == kInfinity);
  CHECK(std::isnan(loss.value(row({std::nan("")}), row({0}))));

  // A weight of 0 hides what it stands for, whatever that holds.
  CHECK(BCEWithLogitsLoss<double>({.weight = {0, 1}})(row({std::nan(""), 0}), row({1, 1}), dx) == Approx(std::log(2.0) / 2));
  CHECK(dx[0] == 0.0);
  CHECK(BCEWithLogitsLoss<double>({.pos_weight = {0}})(row({-kInfinity, 0}), row({1, 0}), dx) == Approx(std::log(2.0) / 2));
}

TEMPLATE_TEST_CASE("bce_with_logits_loss: extreme logits, against the formula", "", float, double) {
  using T = TestType;
  constexpr long double kRounding = 8 * std::numeric_limits<T>::epsilon();
  const std::vector<T> numbers = extreme_numbers<T>();
  const std::vector<T> targets = {0, 1, T(0.5), T(0.999), T(1e-30), std::numeric_limits<T>::denorm_min()};
  const Index rows = static_cast<Index>(numbers.size()), columns = static_cast<Index>(targets.size());
  Tensor<T, 2> x({rows, columns}), target(x.shape()), losses, dx;
  for (Index i = 0; i < x.size(); ++i) {
    x[i] = numbers[static_cast<std::size_t>(i / columns)];
    target[i] = targets[static_cast<std::size_t>(i % columns)];
  }
  for (double weight : {1.0, 0.25, 1e-30})
    for (double pos_weight : {1.0, 0.0, 1e3}) {
      const BCEWithLogitsLoss<T> loss({.weight = {weight}, .pos_weight = {pos_weight}});
      loss.elements(x, target, losses, dx);
      const double mean = loss.value(x, target);
      long double sum = 0;
      for (Index i = 0; i < x.size(); ++i) {
        const long double z = x[i], on = static_cast<long double>(weight) * static_cast<long double>(pos_weight) * target[i],
                          off = weight * (1 - static_cast<long double>(target[i]));
        const long double rest = std::log1p(std::exp(-std::abs(z))), s = 1 / (1 + std::exp(-z)), not_s = 1 / (1 + std::exp(z));
        const long double expected = on * (std::max(-z, 0.0L) + rest) + off * (std::max(z, 0.0L) + rest);
        const long double tiny = std::numeric_limits<T>::denorm_min() * (1 + std::abs(z));  // a target or a loss that is subnormal
        INFO("x " << x[i] << ", target " << target[i] << ", weights " << weight << ", " << pos_weight);
        REQUIRE(is_near(losses[i], expected, kRounding * expected + tiny));
        REQUIRE(is_near(dx[i], off * s - on * not_s, kRounding * (off * s + on * not_s) + tiny));
        sum += expected;
      }
      CHECK(is_near(mean, static_cast<double>(sum) / static_cast<double>(x.size()), 1e-13L * sum));
    }
}

TEST_CASE("bce_with_logits_loss: the loss of dual numbers carries the derivative") {
  for (double at : {-1.5, 0.0, 2.0}) {
    Tensor<Dual<1>, 1> x({1}), target({1}), dx;
    x[0] = at, target[0] = 0.25;
    x[0].tangent[0] = 1;
    const Dual<1> value = BCEWithLogitsLoss<Dual<1>>({.weight = {3}, .pos_weight = {2}})(x, target, dx);
    CHECK(value.tangent[0] == Approx(dx[0].value).epsilon(1e-14));
  }
}

TEST_CASE("mistakes get a sentence, and the mean of nothing is 0") {
  const BCEWithLogitsLoss<float> loss;
  const Tensor<float, 2> x({2, 3});
  Tensor<float, 2> dx;
  CHECK_THROWS_WITH(loss(x, Tensor<float, 2>({2, 1}), dx), "BCEWithLogitsLoss: the input is 2x3, the targets 2x1");
  CHECK_THROWS_WITH(BCEWithLogitsLoss<float>({.weight = {1, 2}}).value(x, x), "BCEWithLogitsLoss: the input has 3 features, weight has 2");
  CHECK_THROWS_WITH(
      BCEWithLogitsLoss<float>({.pos_weight = {1, 2}}).value(x, x), "BCEWithLogitsLoss: the input has 3 features, pos_weight has 2");
  CHECK_THROWS_WITH(BCEWithLogitsLoss<float>({.weight = {1, -2}}), "BCEWithLogitsLoss: weights must be finite and not negative, one is -2");
  CHECK_THROWS_WITH(
      BCEWithLogitsLoss<float>({.pos_weight = {-2}}), "BCEWithLogitsLoss: pos_weights must be finite and not negative, one is -2");
  CHECK(loss(Tensor<float, 2>({0, 3}), Tensor<float, 2>({0, 3}), dx) == 0.0);
}
