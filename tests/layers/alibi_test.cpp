// SPDX-License-Identifier: MIT
#include <vector>

#include <heed/layers/alibi.hpp>
#include <heed/layers/scaled_dot_product_attention.hpp>

#include "catch.hpp"
#include "reference/random_tensor.hpp"

using namespace heed;
using reference::random_tensor;

// The numbers are those of get_slopes in the code of Press et al.
TEST_CASE("slopes of ALiBi", "[alibi]") {
  const std::vector<std::vector<double>> expected = {{0.00390625}, {0.0625, 0.00390625}, {0.0625, 0.00390625, 0.25},
      {0.25, 0.0625, 0.015625, 0.00390625, 0.5, 0.125}, {0.5, 0.25, 0.125, 0.0625, 0.03125, 0.015625, 0.0078125, 0.00390625},
      {0.5, 0.25, 0.125, 0.0625, 0.03125, 0.015625, 0.0078125, 0.00390625, 0.7071067811865476, 0.35355339059327384, 0.17677669529663692,
          0.08838834764831849}};
  for (const auto& slopes : expected) {
    const auto given = alibi_slopes<double>(static_cast<Index>(slopes.size()));
    REQUIRE(given.size() == static_cast<Index>(slopes.size()));
    for (Index h = 0; h < given.size(); ++h) CHECK(given[h] == Approx(slopes[static_cast<std::size_t>(h)]).epsilon(1e-14));
  }
  CHECK(alibi_slopes<float>(8)[7] == 0.00390625f);
  CHECK_THROWS_WITH(alibi_slopes<float>(0), contains("num_heads (0) must be positive"));
}

TEST_CASE("the matrix of ALiBi", "[alibi]") {
  const auto slopes = alibi_slopes<double>(2);
  const auto bias = alibi_bias<double>(slopes, 2, 4, 1);
  CHECK(bias.shape() == Shape{2, 2, 4});
  const double steps[2][4] = {{1, 0, 1, 2}, {2, 1, 0, 1}};  // from keys 1 and 2
  for (Index h = 0; h < 2; ++h)
    for (Index i = 0; i < 2; ++i)
      for (Index j = 0; j < 4; ++j) CHECK(bias(h, i, j) == -slopes[h] * steps[i][j]);
}

TEMPLATE_TEST_CASE("attention with slopes is attention with their matrix", "[alibi]", float, double) {
  using T = TestType;
  const Index heads = 6, queries = 19;
  const auto slopes = alibi_slopes<T>(heads);
  for (const Index past : {0, 5})
    for (bool causal : {false, true}) {
      const Index keys = queries + past;
      const ScaledDotProductAttention<T> attention({.causal = causal});
      const auto q = random_tensor<T, 4>({2, heads, queries, 8}, 1), k = random_tensor<T, 4>({2, heads, keys, 8}, 2),
                 v = random_tensor<T, 4>({2, heads, keys, 8}, 3);
      const auto bias = alibi_bias<T>(slopes, queries, keys, past);
      const auto y = attention.forward(q, k, v, {.slopes = slopes.span(), .past = past});
      const auto expected = attention.forward(q, k, v, {.bias = bias, .past = past});
      CHECK(reference::largest_difference(y, expected) < (sizeof(T) == 4 ? 1e-6 : 1e-14));
      CHECK(reference::largest_difference(y, attention.forward(q, k, v, {.past = past})) > 1e-3);
    }
}
