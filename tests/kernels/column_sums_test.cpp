// SPDX-License-Identifier: MIT
#include "catch.hpp"
#include "reference/random_tensor.hpp"

#include <vector>

#include <heed/kernels/column_sums.hpp>

using namespace heed;
using reference::random_tensor;
using reference::same_bits;

namespace {

template <class T>
void check(Index rows, Index cols) {
  INFO(rows << " rows of " << cols);
  const Index x_row = cols + 2, y_row = 2 * cols;
  const auto x = random_tensor<T, 1>({rows * x_row}, 1), y = random_tensor<T, 1>({rows * y_row}, 2),
             start = random_tensor<T, 1>({cols + 1}, 3);
  auto sums = start, products = start;
  kernels::add_column_sums(rows, cols, x.data(), x_row, sums.data());
  kernels::add_column_products(rows, cols, x.data(), x_row, y.data(), y_row, products.data());
  const double tolerance = (std::is_same_v<T, float> ? 1.2e-7 : 2.3e-16) * static_cast<double>(rows + 1);
  for (Index j = 0; j < cols; ++j) {
    long double sum = start[j], product = start[j];
    for (Index i = 0; i < rows; ++i) {
      sum += x[i * x_row + j];
      product += static_cast<long double>(x[i * x_row + j]) * y[i * y_row + j];
    }
    REQUIRE(std::abs(static_cast<double>(sums[j] - sum)) < tolerance);
    REQUIRE(std::abs(static_cast<double>(products[j] - product)) < tolerance);
  }
  CHECK(sums[cols] == start[cols]);  // nothing beyond the columns is touched
  CHECK(products[cols] == start[cols]);
}

}  // namespace

TEST_CASE("sums of columns, and of products, are added to what is there") {
  for (Index rows : {0, 1, 2, 63, 1000})
    for (Index cols : {1, 3, 7, 8, 15, 16, 17, 63, 64, 65, 130}) {
      check<float>(rows, cols);
      check<double>(rows, cols);
    }
  check<float>(3, 20000);
}

TEST_CASE("sums of columns have the same bits for any number of threads") {
  const auto x = random_tensor<float, 2>({5000, 37}, 1), y = random_tensor<float, 2>({5000, 37}, 2);
  const auto run = [&](int threads) {
    ThreadScope limit(threads);
    Tensor<float, 1> sums({74});
    kernels::add_column_sums(5000, 37, x.data(), 37, sums.data());
    kernels::add_column_products(5000, 37, x.data(), 37, y.data(), 37, sums.data() + 37);
    return sums;
  };
  const auto one = run(1);
  for (int threads : {2, 3, 7}) CHECK(same_bits(run(threads), one));
}
