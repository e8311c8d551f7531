// SPDX-License-Identifier: MIT
#include <limits>

#include <heed/core/random.hpp>
#include <heed/kernels/batch_norm.hpp>

#include "catch.hpp"
#include "reference/batch_norm_reference.hpp"
#include "reference/poison_pool.hpp"

using heed::Index;
using heed::Tensor;
using heed::kernels::BatchNormRows;

namespace {

/// The largest difference relative to `scale`, in rounding errors.
template <class T>
double largest_error(const Tensor<T, 1>& a, const Tensor<T, 1>& b, double scale) {
  double largest = 0;
  for (Index i = 0; i < a.size(); ++i) {
    const double difference = std::abs(static_cast<double>(a[i]) - static_cast<double>(b[i]));
    largest = std::isnan(difference) ? HUGE_VAL : std::max(largest, difference);
  }
  return largest / (std::numeric_limits<T>::epsilon() * scale);
}

template <class T>
struct Problem {
  BatchNormRows rows;
  Tensor<T, 1> x, dy, weight, bias, mean, mean_rest, variance, inv_std;

  Problem(const BatchNormRows& r, double offset, double deviation) : rows(r) {
    const heed::CounterRandom random({static_cast<std::uint64_t>(r.rows), static_cast<std::uint64_t>(r.features)});
    std::uint64_t counter = 0;
    for (auto* t : {&x, &dy}) *t = Tensor<T, 1>({r.rows * r.features});
    for (auto* t : {&weight, &bias}) *t = Tensor<T, 1>({r.features});
    for (auto* t : {&mean, &mean_rest, &variance, &inv_std}) *t = Tensor<T, 1>({r.groups * r.features});
    for (Index i = 0; i < x.size(); ++i) x[i] = static_cast<T>(offset + deviation * random.normal(counter++));
    for (Index i = 0; i < dy.size(); ++i) dy[i] = static_cast<T>(random.uniform(counter++, -1, 1));
    for (Index i = 0; i < r.features; ++i) weight[i] = static_cast<T>(random.uniform(counter++, 0.5, 2)), bias[i] = static_cast<T>(0.25);
  }
  void statistics(double eps) {
    heed::kernels::batch_norm_statistics(rows, x.data(), mean.data(), mean_rest.data(), variance.data());
    heed::kernels::batch_norm_inv_std(variance.size(), variance.data(), eps, inv_std.data());
  }
};

constexpr double kEps = 1e-5;

}  // namespace

TEMPLATE_TEST_CASE("batch norm kernels agree with the formulas", "", float, double) {
  const BatchNormRows cases[] = {
      {2, 1, 1, 2}, {5, 3, 1, 5}, {7, 15, 1, 7}, {9, 16, 1, 9}, {33, 17, 1, 33}, {100, 24, 1, 100},
      {5000, 33, 1, 5000},                                          // several chunks and a rest
      {20001, 2, 1, 20001}, {3, 20000, 1, 3}, {3000, 40, 3, 1000},  // shards of several chunks
      {50, 5, 4, 11},                                               // the last shard is longer
      {23, 8, 2, 20},                                               // and shorter
  };
  for (const BatchNormRows& r : cases)
    for (const bool fixed : {false, true})
      for (const bool affine : {true, false}) {
        INFO(r.rows << " rows, " << r.features << " features, " << r.groups << " groups, fixed " << fixed << ", affine " << affine);
        reference::poison_pool();
        Problem<TestType> p(r, 0.5, 2);
        p.statistics(kEps);
        Tensor<TestType, 1> y({p.x.size()}), dx({p.x.size()}), y_expected({p.x.size()}), dx_expected({p.x.size()});
        Tensor<TestType, 1> d_weight({r.features}), d_bias({r.features}), d_weight_expected({r.features}), d_bias_expected({r.features});
        d_weight.fill(TestType(3)), d_bias.fill(TestType(-2));  // gradients add
        const TestType *weight = affine ? p.weight.data() : nullptr, *bias = affine ? p.bias.data() : nullptr;
        heed::kernels::batch_norm_forward(r, p.x.data(), p.mean.data(), p.mean_rest.data(), p.inv_std.data(), weight, bias, y.data());
        heed::kernels::batch_norm_backward(r, p.x.data(), p.dy.data(), p.mean.data(), p.mean_rest.data(), p.inv_std.data(), weight, fixed,
            dx.data(), d_weight.data(), d_bias.data());
        for (Index j = 0; j < r.features; ++j) {
          long double d_w = 3, d_b = -2;
          for (Index group = 0; group < r.groups; ++group) {
            const auto expected = reference::batch_norm_column(r, p.x.data(), group, j);
            REQUIRE(std::abs(static_cast<double>(p.mean[group * r.features + j]) - static_cast<double>(expected.mean)) <
                    16 * std::numeric_limits<TestType>::epsilon());  // of values up to 8
            REQUIRE(static_cast<double>(p.variance[group * r.features + j]) == Approx(static_cast<double>(expected.variance))
                                                                                   .epsilon(32 * std::numeric_limits<TestType>::epsilon())
                                                                                   .margin(4 * std::numeric_limits<TestType>::epsilon()));
            reference::batch_norm_column(r, p.x.data(), p.dy.data(), group, j, kEps, affine ? p.weight[j] : 1, affine ? p.bias[j] : 0,
                fixed, expected, y_expected.data(), dx_expected.data(), &d_w, &d_b);
          }
          d_weight_expected[j] = static_cast<TestType>(d_w), d_bias_expected[j] = static_cast<TestType>(d_b);
        }
        const double rows = static_cast<double>(r.rows);
        CHECK(largest_error(y, y_expected, 8) < 8);
        double gain = 1;  // from dy to dx
        for (Index i = 0; i < p.inv_std.size(); ++i) gain = std::max(gain, 2 * static_cast<double>(p.inv_std[i]));
        CHECK(largest_error(dx, dx_expected, 8 * gain) < 32);
        CHECK(largest_error(d_weight, d_weight_expected, 10 + std::sqrt(rows)) < 8);
        CHECK(largest_error(d_bias, d_bias_expected, 10 + std::sqrt(rows)) < 8);
      }
}

TEST_CASE("batch norm of features far from zero keeps their digits") {
  const BatchNormRows r{10000, 3, 1, 10000};
  Problem<float> p(r, 10000, 1);  // x itself is rounded to 1e-3, which the reference sees too
  for (Index i = 0; i < p.dy.size(); ++i) p.dy[i] += 0.25f + 0.5f * (p.x[i] - 10000);  // no mean of it is near 0
  p.statistics(kEps);
  Tensor<float, 1> y({p.x.size()}), expected({p.x.size()}), dx({p.x.size()}), dx_expected({p.x.size()});
  Tensor<float, 1> d_weight({3}), d_bias({3}), d_weight_expected({3});
  heed::kernels::batch_norm_forward<float>(r, p.x.data(), p.mean.data(), p.mean_rest.data(), p.inv_std.data(), nullptr, nullptr, y.data());
  heed::kernels::batch_norm_backward<float>(r, p.x.data(), p.dy.data(), p.mean.data(), p.mean_rest.data(), p.inv_std.data(), nullptr, false,
      dx.data(), d_weight.data(), d_bias.data());
  for (Index j = 0; j < 3; ++j) {
    long double d_w = 0, unused = 0;
    reference::batch_norm_column(r, p.x.data(), p.dy.data(), 0, j, kEps, 1.0L, 0.0L, false,
        reference::batch_norm_column(r, p.x.data(), 0, j), expected.data(), dx_expected.data(), &d_w, &unused);
    d_weight_expected[j] = static_cast<float>(d_w);
  }
  CHECK(largest_error(y, expected, 4) < 32);  // a mean in float alone would be off by 4000 of these
  CHECK(largest_error(dx, dx_expected, 4) < 32);
  CHECK(largest_error(d_weight, d_weight_expected, 5000) < 32);  // sums of 10000 numbers around 0.5
}

TEST_CASE("batch norm of a constant feature gives the bias and no gradient") {
  const BatchNormRows r{300, 2, 1, 300};
  Problem<float> p(r, 0, 0);
  for (Index i = 0; i < p.x.size(); ++i) p.x[i] = 0.1f;
  p.statistics(kEps);
  CHECK(p.variance[0] >= 0);
  CHECK(p.variance[0] < 1e-14);
  Tensor<float, 1> y({p.x.size()});
  heed::kernels::batch_norm_forward<float>(
      r, p.x.data(), p.mean.data(), p.mean_rest.data(), p.inv_std.data(), p.weight.data(), p.bias.data(), y.data());
  for (Index i = 0; i < y.size(); ++i) REQUIRE(y[i] == Approx(0.25f).margin(1e-5));
}

TEST_CASE("running statistics take the mean over groups, weighed by rows, and the unbiased variance") {
  const BatchNormRows r{5, 1, 2, 2};
  const float mean[] = {1, 6}, variance[] = {4, 9};
  float running_mean = 10, running_var = 100;
  heed::kernels::batch_norm_update_running(r, mean, variance, 0.25, &running_mean, &running_var);
  CHECK(running_mean == Approx(0.75 * 10 + 0.25 * (2 * 1 + 3 * 6) / 5.0));
  CHECK(running_var == Approx(0.75 * 100 + 0.25 * (2 * 4 * 2.0 + 3 * 9 * 1.5) / 5.0));
}

TEST_CASE("batch norm gives the same bits for any number of threads") {
  const BatchNormRows r{9000, 24, 2, 4000};
  Tensor<float, 1> y[2], dx[2], d_weight[2], d_bias[2];
  for (int i = 0; i < 2; ++i) {
    heed::ThreadScope scope(1 + 3 * i);
    Problem<float> p(r, 0.5, 2);
    p.statistics(kEps);
    for (auto* t : {&y[i], &dx[i]}) *t = Tensor<float, 1>({p.x.size()});
    for (auto* t : {&d_weight[i], &d_bias[i]}) *t = Tensor<float, 1>({r.features});
    heed::kernels::batch_norm_forward(
        r, p.x.data(), p.mean.data(), p.mean_rest.data(), p.inv_std.data(), p.weight.data(), p.bias.data(), y[i].data());
    heed::kernels::batch_norm_backward(r, p.x.data(), p.dy.data(), p.mean.data(), p.mean_rest.data(), p.inv_std.data(), p.weight.data(),
        false, dx[i].data(), d_weight[i].data(), d_bias[i].data());
  }
  CHECK(std::equal(y[0].data(), y[0].data() + y[0].size(), y[1].data()));
  CHECK(std::equal(dx[0].data(), dx[0].data() + dx[0].size(), dx[1].data()));
  CHECK(std::equal(d_weight[0].data(), d_weight[0].data() + 24, d_weight[1].data()));
  CHECK(std::equal(d_bias[0].data(), d_bias[0].data() + 24, d_bias[1].data()));
}

TEMPLATE_TEST_CASE("batch norm with an activation gives the bits of the two kernels, one after the other", "", float, double) {
  const heed::kernels::Gelu gelu;
  const BatchNormRows cases[] = {{2, 1, 1, 2}, {33, 17, 1, 33}, {3000, 40, 3, 1000}, {50, 5, 4, 11}, {3, 20000, 1, 3}, {60, 24, 6, 10, 4}};
  for (const BatchNormRows& r : cases)
    for (const bool fixed : {false, true})
      for (const bool affine : {true, false})
        for (const bool trained : {true, false}) {
          INFO(r.rows << " rows, " << r.features << " features, " << r.groups << " groups, fixed " << fixed << ", affine " << affine);
          reference::poison_pool();
          Problem<TestType> p(r, 0.5, 2);
          p.statistics(kEps);
          const Index count = p.x.size();
          Tensor<TestType, 1> n({count}), y({count}), both({count}), d({count}), dx({count}), both_dx({count}), sums[2][2];
          const TestType *weight = affine ? p.weight.data() : nullptr, *bias = affine ? p.bias.data() : nullptr;
          for (auto& pair : sums)
            for (auto& sum : pair) sum = Tensor<TestType, 1>({r.features});
          const auto gradient = [&](int way, int which) { return trained ? sums[way][which].data() : nullptr; };
          heed::kernels::batch_norm_forward(r, p.x.data(), p.mean.data(), p.mean_rest.data(), p.inv_std.data(), weight, bias, n.data());
          heed::kernels::activation_forward(count, n.data(), y.data(), gelu);
          heed::kernels::activation_backward(count, n.data(), p.dy.data(), d.data(), gelu);
          heed::kernels::batch_norm_backward(r, p.x.data(), d.data(), p.mean.data(), p.mean_rest.data(), p.inv_std.data(), weight, fixed,
              dx.data(), gradient(0, 0), gradient(0, 1));
          heed::kernels::batch_norm_forward(
              r, p.x.data(), p.mean.data(), p.mean_rest.data(), p.inv_std.data(), weight, bias, both.data(), gelu);
          heed::kernels::batch_norm_backward(r, p.x.data(), p.dy.data(), p.mean.data(), p.mean_rest.data(), p.inv_std.data(), weight, fixed,
              both_dx.data(), gradient(1, 0), gradient(1, 1), bias, gelu);
          CHECK(std::equal(y.data(), y.data() + count, both.data()));
          CHECK(std::equal(dx.data(), dx.data() + count, both_dx.data()));
          for (int which = 0; which < 2; ++which)
            CHECK(std::equal(sums[0][which].data(), sums[0][which].data() + r.features, sums[1][which].data()));
        }
}

TEST_CASE("a feature with NaN or infinity has no variance that is a number") {
  const BatchNormRows r{40, 3, 1, 40};
  for (float odd : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    Problem<float> p(r, 0, 1);
    p.x[7 * 3 + 1] = odd;
    p.statistics(kEps);
    CHECK(std::isnan(p.variance[1]));
    CHECK(std::isfinite(p.variance[0]));
    CHECK(std::isfinite(p.variance[2]));
  }
}

TEST_CASE("batch norm of very wide rows agrees with the formulas, on one thread and on more") {
  const BatchNormRows r{37, 5000, 1, 37};
  std::vector<float> variances[2];
  for (int threads : {1, 3}) {
    heed::ThreadScope scope(threads);
    Problem<float> p(r, 0.5, 2);
    p.statistics(kEps);
    for (Index j = 0; j < r.features; j += 499) {
      double sum = 0, squares = 0;
      for (Index i = 0; i < r.rows; ++i) sum += static_cast<double>(p.x[i * r.features + j]);
      const double mean = sum / 37;
      for (Index i = 0; i < r.rows; ++i) squares += std::pow(static_cast<double>(p.x[i * r.features + j]) - mean, 2);
      REQUIRE(p.variance[j] == Approx(squares / 37).epsilon(1e-5));
    }
    variances[threads / 3].assign(p.variance.data(), p.variance.data() + r.features);
  }
  CHECK(variances[0] == variances[1]);
}

TEMPLATE_TEST_CASE(
    "features of any size are normalised, or are NaN where their squares are too large, and never zeros", "", float, double) {
  using Limits = std::numeric_limits<TestType>;
  const double largest = static_cast<double>(Limits::max_exponent10), squared = largest / 2 - 2;
  for (const BatchNormRows& r : {BatchNormRows{40, 5, 1, 40}, BatchNormRows{40, 6, 4, 10, 3}})
    for (double power = -largest; power < largest; power += 1) {
      Problem<TestType> p(r, 0.1, 1);
      for (Index i = 0; i < p.x.size(); ++i) p.x[i] = static_cast<TestType>(p.x[i] * std::pow(10.0, power));
      p.statistics(kEps);
      Tensor<TestType, 1> y({p.x.size()}), dx({p.x.size()});
      heed::kernels::batch_norm_forward<TestType>(
          r, p.x.data(), p.mean.data(), p.mean_rest.data(), p.inv_std.data(), nullptr, nullptr, y.data());
      heed::kernels::batch_norm_backward<TestType>(
          r, p.x.data(), p.dy.data(), p.mean.data(), p.mean_rest.data(), p.inv_std.data(), nullptr, false, dx.data(), nullptr, nullptr);
      INFO(r.groups << " groups around 1e" << power);
      const auto exact = reference::batch_norm_column(r, p.x.data(), 0, 0);
      for (Index row = 0; r.joined == 1 && row < r.rows; ++row) {
        const long double expected =
            (static_cast<long double>(p.x[row * r.features]) - exact.mean) / std::sqrt(exact.variance + static_cast<long double>(kEps));
        const TestType found = y[row * r.features];
        REQUIRE((std::isnan(found) ? power >= squared : std::abs(static_cast<double>(found) - static_cast<double>(expected)) < 1e-3));
      }
      for (Index i = 0; i < y.size(); ++i) {
        if (power < squared) REQUIRE(std::abs(y[i]) < 10);
        if (power > squared + 4) REQUIRE(std::isnan(y[i]));
        REQUIRE(std::isnan(dx[i]) == std::isnan(y[i]));
      }
    }
}
