// SPDX-License-Identifier: MIT
#include <vector>

#include <heed/core/dual.hpp>
#include <heed/core/random.hpp>
#include <heed/losses/mse_loss.hpp>

#include "catch.hpp"
#include "extreme_inputs.hpp"
#include "reference/loss_reference.hpp"

using namespace heed;

TEMPLATE_TEST_CASE("mse_loss: values and gradients agree with the derivative of the plain loss", "", float, double) {
  using T = TestType;
  for (Index count : {1, 2, 17, 5000})
    for (Reduction reduction : {Reduction::mean, Reduction::sum}) {
      INFO(count << " elements");
      Tensor<T, 1> x({count}), target({count}), dx;
      for (Index i = 0; i < count; ++i) {
        x[i] = static_cast<T>(static_cast<float>(CounterRandom{1, 2}.normal(static_cast<std::uint64_t>(i))));
        target[i] = static_cast<T>(static_cast<float>(CounterRandom{1, 3}.normal(static_cast<std::uint64_t>(i))));
      }
      const double factor = reduction == Reduction::mean ? 1 / static_cast<double>(count) : 1.0;
      const MSELoss<T> loss({.reduction = reduction});
      const double value = loss(x, target, dx);
      CHECK(value == loss.value(x, target));
      double sum = 0, worst = 0;
      for (Index i = 0; i < count; ++i) {
        Dual<1> one(static_cast<double>(x[i]));
        one.tangent[0] = 1;
        const Dual<1> expected = reference::squared_error(one, static_cast<double>(target[i]));
        sum += expected.value;
        worst = std::max(worst, std::abs(static_cast<double>(dx[i]) - factor * expected.tangent[0]) / factor);
      }
      CHECK(value == Approx(factor * sum).epsilon(1e-12));
      CHECK(worst < (sizeof(T) == 4 ? 1e-6 : 1e-14));
    }
}

TEST_CASE("mse_loss: numbers printed by torch 2, and each element's own loss") {
  Tensor<double, 2> x({2, 3}), target({2, 3}), losses, dx;
  const double xs[] = {1.0, -0.5, 0.25, 0.0, 2.0, -40.0}, targets[] = {1.0, 0.0, 0.5, 0.25, 1.0, 0.0};
  std::copy_n(xs, 6, x.data());
  std::copy_n(targets, 6, target.data());
  CHECK(MSELoss<double>()(x, target, dx) == Approx(266.8958333333333).epsilon(1e-15));
  const double mean[] = {0.0, -0.16666666666666666, -0.08333333333333333, -0.08333333333333333, 0.3333333333333333, -13.333333333333332};
  for (Index i = 0; i < 6; ++i) CHECK(dx[i] == Approx(mean[i]).epsilon(1e-15));
  CHECK(MSELoss<double>({.reduction = Reduction::sum})(x, target, dx) == 1601.375);
  MSELoss<double>().elements(x, target, losses, dx);
  const double squares[] = {0, 0.25, 0.0625, 0.0625, 1, 1600}, slopes[] = {0, -1, -0.5, -0.5, 2, -80};
  CHECK(losses.shape() == x.shape());
  for (Index i = 0; i < 6; ++i) {
    CHECK(losses[i] == squares[i]);
    CHECK(dx[i] == slopes[i]);
  }
}

TEMPLATE_TEST_CASE("mse_loss: extreme numbers, against the formula", "", float, double) {
  using T = TestType;
  constexpr long double kRounding = 4 * std::numeric_limits<T>::epsilon();
  const std::vector<T> numbers = extreme_numbers<T>();
  const Index count = static_cast<Index>(numbers.size());
  Tensor<T, 2> x({count, count}), target(x.shape()), losses, dx, d_mean;
  for (Index i = 0; i < x.size(); ++i) {
    x[i] = numbers[static_cast<std::size_t>(i / count)];
    target[i] = numbers[static_cast<std::size_t>(i % count)];
  }
  MSELoss<T>().elements(x, target, losses, dx);
  const double mean = MSELoss<T>()(x, target, d_mean);
  long double sum = 0;
  for (Index i = 0; i < x.size(); ++i) {
    const long double distance = static_cast<double>(x[i]) - static_cast<double>(target[i]), square = distance * distance;
    INFO(x[i] << " and " << target[i]);
    REQUIRE(is_near(losses[i], square, kRounding * square));
    REQUIRE(is_near(dx[i], 2 * distance, kRounding * std::abs(distance)));
    REQUIRE(is_near(d_mean[i], 2 * distance / static_cast<long double>(x.size()), kRounding * std::abs(distance)));
    sum += square;
  }
  CHECK(is_near(mean, static_cast<double>(sum) / static_cast<double>(x.size()), 1e-13L * sum));
}

TEST_CASE("mse_loss: the loss of dual numbers carries the derivative") {
  Tensor<Dual<1>, 3> x({1, 1, 2}), target({1, 1, 2}), dx;
  x[0] = 3.0, x[1] = 1.0;
  x[0].tangent[0] = 1;
  const Dual<1> value = MSELoss<Dual<1>>()(x, target, dx);
  CHECK(value.value == 5.0);
  CHECK(value.tangent[0] == 3.0);
  CHECK(dx[0].value == 3.0);
  CHECK(dx[0].tangent[0] == 1.0);
}

TEST_CASE("nothing is broadcast, and the mean of nothing is 0") {
  const MSELoss<float> loss;
  Tensor<float, 2> dx;
  CHECK_THROWS_WITH(loss(Tensor<float, 2>({2, 3}), Tensor<float, 2>({2, 1}), dx), "MSELoss: the input is 2x3, the targets 2x1");
  CHECK_THROWS_AS(loss.value(Tensor<float, 2>({2, 3}), Tensor<float, 2>({3, 2})), ShapeError);
  CHECK(loss(Tensor<float, 2>({0, 3}), Tensor<float, 2>({0, 3}), dx) == 0.0);
  CHECK(dx.shape() == Shape{0, 3});
}
