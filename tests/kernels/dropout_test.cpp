// SPDX-License-Identifier: MIT
#include "catch.hpp"
#include "reference/random_tensor.hpp"

#include <heed/kernels/dropout.hpp>

using namespace heed;

namespace {

Tensor<float, 1> dropped(std::uint64_t key, double p, Index count) {
  Tensor<float, 1> x({count}), y({count});
  x.fill(1);
  kernels::apply_dropout(kernels::DropoutMask(key, p), count, x.data(), y.data());
  return y;
}

double share_of_zeros(const Tensor<float, 1>& y) {
  return static_cast<double>(std::count(y.data(), y.data() + y.size(), 0.0f)) / static_cast<double>(y.size());
}

}  // namespace

TEST_CASE("dropout drops the share p and keeps the sum") {
  constexpr Index count = 100000;
  for (double p : {0.0, 0.01, 0.1, 0.5, 0.9, 1.0}) {
    const auto y = dropped(11, p, count);
    // five standard deviations of a binomial share
    CHECK(std::abs(share_of_zeros(y) - p) <= 5 * std::sqrt(p * (1 - p) / count));
    for (Index i = 0; i < count; ++i) REQUIRE((y[i] == 0 || y[i] == Approx(1 / (1 - p))));
  }
}

TEST_CASE("the mask is a function of key and element alone") {
  for (Index count : {1, 2, 3, 8191, 8192, 8193, 50001}) {
    const auto y = dropped(5, 0.3, count);
    const kernels::DropoutMask mask(5, 0.3);
    for (Index i = 0; i < count; ++i) REQUIRE((y[i] != 0) == mask.keeps(static_cast<std::uint64_t>(i)));
    for (int threads : {1, 2, 5}) {
      ThreadScope limit(threads);
      CHECK(reference::same_bits(dropped(5, 0.3, count), y));
    }
  }
  CHECK(!reference::same_bits(dropped(5, 0.3, 1000), dropped(6, 0.3, 1000)));
}

TEST_CASE("neighbours and keys are independent") {
  constexpr Index count = 100000;
  const auto a = dropped(1, 0.5, count), b = dropped(2, 0.5, count);
  Index equal_keys = 0, equal_neighbours = 0, equal_pairs = 0;
  for (Index i = 0; i + 2 < count; ++i) {
    equal_keys += (a[i] == 0) == (b[i] == 0);
    equal_neighbours += (a[i] == 0) == (a[i + 1] == 0);
    equal_pairs += (a[i] == 0) == (a[i + 2] == 0);
  }
  for (Index equal : {equal_keys, equal_neighbours, equal_pairs})
    CHECK(std::abs(static_cast<double>(equal) / count - 0.5) < 0.01);  // six standard deviations
}

TEST_CASE("what is dropped is 0, even if it was not a number") {
  Tensor<double, 1> x({64});
  x.fill(std::nan(""));
  kernels::apply_dropout(kernels::DropoutMask(3, 1.0), 64, x.data(), x.data());
  for (Index i = 0; i < 64; ++i) CHECK(x[i] == 0);
}
