// SPDX-License-Identifier: MIT
#include "catch.hpp"
#include "reference/embedding_reference.hpp"
#include "reference/random_tensor.hpp"

#include <heed/kernels/embedding.hpp>

using namespace heed;
using reference::random_tensor;

namespace {

Tensor<std::int64_t, 1> random_numbers(Index count, Index rows) {
  Tensor<std::int64_t, 1> numbers({count});
  const CounterRandom stream({3});
  for (Index i = 0; i < count; ++i)
    numbers[i] = static_cast<std::int64_t>(stream.below(static_cast<std::uint64_t>(i), static_cast<std::uint64_t>(rows)));
  return numbers;
}

template <class T>
void check(Index count, Index rows, Index width, Index padding) {
  INFO(count << " numbers of " << rows << " rows of " << width << ", padding " << padding);
  const auto numbers = random_numbers(count, rows);
  const auto table = random_tensor<T, 2>({rows, width}, 1), dy = random_tensor<T, 2>({count, width}, 2),
             start = random_tensor<T, 2>({rows, width}, 4);
  Tensor<T, 2> y({count, width});
  kernels::embedding_forward(count, width, numbers.data(), table.data(), y.data());
  const auto expected = reference::embedding(count, width, numbers.data(), table.data());
  REQUIRE(std::equal(expected.begin(), expected.end(), y.data()));
  std::vector<T> d_expected(start.data(), start.data() + start.size());
  reference::add_embedding_gradient(count, width, numbers.data(), dy.data(), padding, d_expected);
  for (int threads : {1, 2, 5}) {
    ThreadScope limit(threads);
    auto d_table = start;
    kernels::embedding_backward(count, width, numbers.data(), dy.data(), padding, d_table.data());
    REQUIRE(std::equal(d_expected.begin(), d_expected.end(), d_table.data()));  // the same order of additions: the same bits
  }
}

}  // namespace

TEST_CASE("lookups and their gradients against the reference") {
  for (Index count : {0, 1, 2, 100, 3000})
    for (Index rows : {1, 2, 97})
      for (Index width : {1, 3, 8, 16, 17, 63, 64, 65, 200})
        for (Index padding : {-1, 0, 1}) check<float>(count, rows, width, padding);
  check<double>(100, 7, 65, 2);
}

TEST_CASE("the first number that is no row is found") {
  const std::int64_t numbers[] = {0, 4, 2, 5, -1};
  CHECK(kernels::first_outside(5, numbers, 5) == 3);
  CHECK(kernels::first_outside(5, numbers, 6) == 4);
  CHECK(kernels::first_outside(3, numbers, 5) == 3);
  CHECK(kernels::first_outside(0, numbers, 5) == 0);
}
