// SPDX-License-Identifier: MIT
#include "catch.hpp"
#include "reference/gemm_reference.hpp"
#include "reference/random_tensor.hpp"

#include <heed/kernels/linear.hpp>

using namespace heed;
using kernels::LinearSizes;
using reference::random_tensor;
using reference::same_bits;

namespace {

/// Whether `result`, of rows that lie `row` apart, is `before` (0 where null) plus `expected` (rows x cols), and `before` between the rows.
template <class T>
bool agrees(const Tensor<T, 1>& result, Index row, const Tensor<T, 1>* before, const std::vector<long double>& expected, Index cols,
    double tolerance) {
  bool good = true;
  for (Index i = 0; i < result.size() / row; ++i)
    for (Index j = 0; j < row; ++j) {
      const long double old = before ? static_cast<long double>((*before)[i * row + j]) : 0, now = result[i * row + j];
      if (j < cols)
        good = good && std::abs(now - old - expected[static_cast<std::size_t>(i * cols + j)]) < tolerance;
      else
        good = good && now == old;
    }
  return good;
}

/// Forward and backward, adding and not, on the columns of a weight that is wider by `gap`.
template <class T>
void check(Index rows, Index in, Index out, Index gap) {
  INFO(rows << " rows, " << in << " -> " << out << ", " << gap << " columns between");
  const Index row = in + gap;
  const LinearSizes sizes{.rows = rows, .in = in, .out = out, .weight_row = row};
  const auto x = random_tensor<T, 1>({rows * in}, 1), weight = random_tensor<T, 1>({out * row}, 2), bias = random_tensor<T, 1>({out}, 3);
  const auto dy = random_tensor<T, 1>({rows * out}, 4), y_before = random_tensor<T, 1>({rows * out}, 5),
             dx_before = random_tensor<T, 1>({rows * in}, 6);
  const auto d_weight_before = random_tensor<T, 1>({out * row}, 7), d_bias_before = random_tensor<T, 1>({out}, 8);

  auto y = reference::gemm(rows, out, in, x.data(), in, 1, weight.data(), 1, row);
  const auto y_without_bias = y;
  std::vector<long double> d_bias(static_cast<std::size_t>(out));
  for (std::size_t i = 0; i < y.size(); ++i) {
    const std::size_t k = i % d_bias.size();
    y[i] += bias[static_cast<Index>(k)];
    d_bias[k] += dy[static_cast<Index>(i)];
  }
  const auto dx = reference::gemm(rows, in, out, dy.data(), out, 1, weight.data(), row, 1);
  const auto d_weight = reference::gemm(out, in, rows, dy.data(), 1, out, x.data(), in, 1);
  // Partial sums grow as the root of their length, and each is rounded: errors grow as the length.
  const auto tolerance = [](Index length) { return (std::is_same_v<T, float> ? 1.2e-7 : 2.3e-16) * (5 + static_cast<double>(length)); };

  for (bool add : {false, true}) {
    auto result = y_before;
    kernels::linear_forward(sizes, x.data(), weight.data(), bias.data(), result.data(), add);
    CHECK(agrees(result, out, add ? &y_before : nullptr, y, out, tolerance(in)));
    result = y_before;
    kernels::linear_forward<T>(sizes, x.data(), weight.data(), nullptr, result.data(), add);
    CHECK(agrees(result, out, add ? &y_before : nullptr, y_without_bias, out, tolerance(in)));
    for (bool weight_wanted : {false, true})
      for (bool bias_wanted : {false, true}) {
        auto dx_result = dx_before, d_weight_result = d_weight_before, d_bias_result = d_bias_before;
        kernels::linear_backward(sizes, x.data(), weight.data(), dy.data(), dx_result.data(),
            weight_wanted ? d_weight_result.data() : nullptr, bias_wanted ? d_bias_result.data() : nullptr, add);
        CHECK(agrees(dx_result, in, add ? &dx_before : nullptr, dx, in, tolerance(out)));
        CHECK(agrees(d_weight_result, row, &d_weight_before, d_weight, weight_wanted ? in : 0, tolerance(rows)));
        CHECK(agrees(d_bias_result, out, &d_bias_before, d_bias, bias_wanted ? out : 0, tolerance(rows)));
      }
  }
}

}  // namespace

TEMPLATE_TEST_CASE("a linear map and its gradients against three loops over awkward sizes", "", float, double) {
  for (Index rows : {1, 2, 13, 14, 15, 57})
    for (Index in : {1, 5, 16, 33})
      for (Index out : {1, 15, 17, 65}) check<TestType>(rows, in, out, in % 2 == 0 ? 0 : 3);
  check<TestType>(400, 3, 20, 7);  // several blocks of depth in one product after the other
  check<TestType>(3, 400, 20, 400);
  check<TestType>(3, 20, 400, 0);
}

TEST_CASE("a weight has no gaps unless told otherwise") { CHECK(LinearSizes{.rows = 2, .in = 3, .out = 4}.weight_row == 3); }

TEST_CASE("no rows: gradients of parameters keep their values") {
  Tensor<float, 1> d_weight({6}), d_bias({2});
  d_weight.fill(5), d_bias.fill(6);
  const auto weight = random_tensor<float, 1>({6}, 1);
  const LinearSizes sizes{.rows = 0, .in = 3, .out = 2};
  kernels::linear_forward<float>(sizes, nullptr, weight.data(), nullptr, nullptr);
  kernels::linear_backward<float>(sizes, nullptr, weight.data(), nullptr, nullptr, d_weight.data(), d_bias.data());
  CHECK(d_weight[5] == 5);
  CHECK(d_bias[1] == 6);
}

TEST_CASE("a linear map has the same bits for any number of threads, and for a row alone") {
  const Index rows = 300, in = 70, out = 90;
  const auto x = random_tensor<float, 1>({rows * in}, 1), weight = random_tensor<float, 1>({out * in}, 2),
             bias = random_tensor<float, 1>({out}, 3), dy = random_tensor<float, 1>({rows * out}, 4);
  const auto run = [&](int threads) {
    ThreadScope limit(threads);
    Tensor<float, 1> all({rows * out + rows * in + out * in + out});
    float *y = all.data(), *dx = y + rows * out, *d_weight = dx + rows * in, *d_bias = d_weight + out * in;
    const LinearSizes sizes{.rows = rows, .in = in, .out = out};
    kernels::linear_forward(sizes, x.data(), weight.data(), bias.data(), y);
    kernels::linear_backward(sizes, x.data(), weight.data(), dy.data(), dx, d_weight, d_bias);
    return all;
  };
  const auto one = run(1);
  for (int threads : {2, 3, 7}) CHECK(same_bits(run(threads), one));
  Tensor<float, 1> alone({out});
  kernels::linear_forward({.rows = 1, .in = in, .out = out}, x.data() + 200 * in, weight.data(), bias.data(), alone.data());
  for (Index k = 0; k < out; ++k) REQUIRE(alone[k] == one[200 * out + k]);
}

TEST_CASE("a linear map whose weight is prepared has the same bits, on all of the weight and on parts of it") {
  const Index rows = 40, in = 40, out = 70, width = 100;
  const auto x = random_tensor<float, 1>({rows * width}, 1), bias = random_tensor<float, 1>({out}, 3);
  auto weight = random_tensor<float, 1>({out * width}, 2);
  PreparedWeights store;
  const LinearSizes cases[] = {
      {rows, width, out}, {rows, in, out, width}, {rows, width, out - 30}, {rows, in, out - 30, width}, {3, width, out}};
  for (int round = 0; round < 3; ++round) {
    for (const LinearSizes& sizes : cases)
      for (const Index column : {Index(0), width - sizes.in}) {
        Tensor<float, 1> expected({sizes.rows * sizes.out}), y(expected);
        kernels::linear_forward(sizes, x.data(), weight.data() + column, bias.data(), expected.data());
        PreparedScope scope(store);
        kernels::linear_forward(sizes, x.data(), weight.data() + column, bias.data(), y.data());
        CHECK(same_bits(y, expected));
      }
    CHECK(store.size() == 6);
    weight[55 * width + 80] += 1;
  }
  CHECK(store.made() == 6 + 2 * 2);  // three rows are not worth it; each round changed a number that two of them hold
}
