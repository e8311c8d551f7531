// SPDX-License-Identifier: MIT
#include <limits>

#include <heed/kernels/conv2d.hpp>
#include <heed/kernels/pool2d.hpp>
#include <heed/kernels/winograd_few_sources.hpp>

#include "catch.hpp"
#include "reference/poison_pool.hpp"
#include "reference/random_tensor.hpp"

namespace {

using namespace heed;
using namespace heed::kernels;
using reference::random_tensor;

Conv2dGeometry geometry(Index images, Index height, Index width, Index in, Index out) {
  return {images, {height, width}, in, {height, width}, out, {3, 3}, {1, 1}, {1, 1}, {1, 1}, 1, Conv2dAlgorithm::winograd_4x4};
}

/// As many channels more that the products no longer are those of few sources: whose weights, or numbers, are 0.
template <class T>
Tensor<T, 1> with_zeros(const Tensor<T, 1>& from, Index rows, Index row, Index longer) {
  Tensor<T, 1> result({rows * longer});
  for (Index i = 0; i < rows; ++i) std::copy_n(from.data() + i * row, row, result.data() + i * longer);
  return result;
}

}  // namespace

// Not to the bit: the compiler may fuse the multiplications and additions of one transform otherwise than those of another.
TEMPLATE_TEST_CASE(
    "products of few sources agree with those that go through memory, pooled ones to the bit with their own", "", float, double) {
  using T = TestType;
  constexpr double kRounding = 100 * static_cast<double>(std::numeric_limits<T>::epsilon());  // of sums of up to 36 products
  for (const Index in : {1, 2, 3, 4})
    for (const Index out : {1, 8, 24, 32, 70})
      for (const Index height : {1, 4, 6, 9}) {
        const Index images = 3, width = 7, more = 6;
        INFO(height << 'x' << width << ", " << in << " -> " << out);
        const Conv2dGeometry few = geometry(images, height, width, in, out), many = geometry(images, height, width, more, out);
        REQUIRE(takes_few_sources(kernels::detail::forward_correlation(few)));
        REQUIRE(!takes_few_sources(kernels::detail::forward_correlation(many)));
        const auto x = random_tensor<T, 1>({images * height * width * in}, 1), weight = random_tensor<T, 1>({out * in * 9}, 2),
                   bias = random_tensor<T, 1>({out}, 3);
        const auto more_x = with_zeros(x, images * height * width, in, more), more_weight = with_zeros(weight, out, in * 9, more * 9);
        Tensor<T, 1> y({images * height * width * out}), expected(y);
        reference::poison_pool();
        conv2d_forward(few, x.data(), weight.data(), bias.data(), y.data());
        conv2d_forward(many, more_x.data(), more_weight.data(), bias.data(), expected.data());
        CHECK(reference::largest_difference(y, expected) < kRounding);

        Tensor<T, 1> largest({images * (height / 2) * (width / 2) * out}), expected_largest(largest);
        Tensor<std::uint8_t, 1> winner({largest.size()}), expected_winner(winner);
        reference::poison_pool();
        conv2d_max_pool_forward(few, x.data(), weight.data(), bias.data(), largest.data(), winner.data());
        max_pool2d_forward({images, {height, width}, {height / 2, width / 2}, out, {2, 2}, {2, 2}, {0, 0}, {1, 1}, {0, 0}}, y.data(),
            expected_largest.data(), expected_winner.data());
        CHECK(reference::same_numbers(largest, expected_largest));
        CHECK(reference::same_numbers(winner, expected_winner));
      }
}
