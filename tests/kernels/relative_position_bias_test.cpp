// SPDX-License-Identifier: MIT
#include <vector>

#include <heed/core/dual.hpp>
#include <heed/kernels/relative_position_bias.hpp>

#include "catch.hpp"
#include "reference/random_tensor.hpp"
#include "reference/relative_position_bias_reference.hpp"

using namespace heed;
using reference::random_tensor;

namespace {

/// `entries` rows of a table of `count`, in no order, some of them often and some never.
Tensor<Index, 1> some_rows(Index entries, Index count) {
  Tensor<Index, 1> rows({entries});
  for (Index p = 0; p < entries; ++p) rows[p] = (p * p * 7 + p / 3) % count;
  return rows;
}

template <class T>
void check(Index entries, Index heads, Index count) {
  INFO(entries << " entries, " << heads << " heads, a table of " << count << " rows");
  const auto rows = some_rows(entries, count);
  const auto table = random_tensor<T, 2>({count, heads}, 1), d_bias = random_tensor<T, 2>({heads, entries}, 2);
  const auto before = random_tensor<T, 2>({count, heads}, 3);
  for (int threads : {1, 3}) {
    ThreadScope scope(threads);
    Tensor<T, 2> bias({heads, entries}), expected({heads, entries});
    kernels::relative_position_bias_forward(entries, heads, rows.data(), table.data(), bias.data());
    reference::relative_position_bias_forward(entries, heads, rows.data(), table.data(), expected.data());
    REQUIRE(reference::same_bits(bias, expected));

    auto d_table = before, expected_d = before;
    kernels::relative_position_bias_backward(entries, heads, rows.data(), d_bias.data(), d_table.data());
    reference::relative_position_bias_backward(entries, heads, rows.data(), d_bias.data(), expected_d.data());
    REQUIRE(reference::same_bits(d_table, expected_d));  // the sums are taken in one order
  }
}

}  // namespace

TEMPLATE_TEST_CASE("numbers of relative positions are read and summed head by head", "", float, double) {
  for (Index entries : {0, 1, 2, 7, 100, 20000})
    for (Index heads : {1, 2, 5, 33})
      for (Index count : {1, 3, 64}) check<TestType>(entries, heads, count);
}

TEST_CASE("numbers of relative positions may be number-like") {
  using D = Dual<1>;
  const Index rows[] = {1, 0, 1};
  D table[2] = {2.0, 3.0}, bias[3], d_table[2] = {0.0, 0.0};
  table[1].tangent[0] = 1;
  kernels::relative_position_bias_forward(3, 1, rows, table, bias);
  CHECK(bias[0].value == 3);
  CHECK(bias[2].tangent[0] == 1);
  kernels::relative_position_bias_backward(3, 1, rows, bias, d_table);
  CHECK(d_table[1].value == 6);
  CHECK(d_table[0].value == 2);
}
