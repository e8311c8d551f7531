// SPDX-License-Identifier: MIT
#include "catch.hpp"
#include "reference/gemm_reference.hpp"
#include "reference/random_tensor.hpp"

#include <heed/core/dual.hpp>
#include <heed/kernels/pack.hpp>

using namespace heed;
using reference::random_tensor;

namespace {

/// A tile's shape and the lanes of its vectors, for the instruction set in use.
template <class T>
struct Sizes {
  Index rows = kernels::tile_rows<T>(), width = kernels::panel_width<T>();
};

/// Runs one product with B packed from b(k, n) = b[k * b_row + n * b_col], and compares with three loops. Nothing outside of C may change.
template <class T>
void check_block(Index rows, Index cols, Index depth, Index a_row, Index a_step, bool transpose_b, bool accumulate) {
  INFO(rows << "x" << depth << " by " << depth << "x" << cols << (accumulate ? ", added" : "") << (transpose_b ? ", B transposed" : ""));
  const auto a = random_tensor<T, 1>({rows * a_row + depth * a_step + 1}, 1), b = random_tensor<T, 1>({depth * cols + 1}, 2);
  const Index b_row = transpose_b ? 1 : cols, b_col = transpose_b ? depth : 1, c_row = cols + 3, width = Sizes<T>().width;
  Tensor<T, 1> packed({kernels::packed_size(depth, cols, width) + 1});
  packed.fill(T(77));
  kernels::pack_panels(depth, cols, b.data(), b_row, b_col, width, packed.data());
  CHECK(packed[packed.size() - 1] == T(77));
  const auto before = random_tensor<T, 1>({rows * c_row}, 3);
  auto c = before;
  kernels::multiply_tiles<T>({.rows = rows,
      .cols = cols,
      .depth = depth,
      .a = a.data(),
      .a_row = a_row,
      .a_step = a_step,
      .b = packed.data(),
      .b_row = width,
      .b_panel = width * depth,
      .c = c.data(),
      .c_row = c_row,
      .accumulate = accumulate});
  const auto expected = reference::gemm(rows, cols, depth, a.data(), a_row, a_step, b.data(), b_row, b_col);
  const double tolerance = (std::is_same_v<T, float> ? 1.2e-7 : 2.3e-16) * static_cast<double>(depth + 1);
  for (Index i = 0; i < rows; ++i)
    for (Index j = 0; j < c_row; ++j) {
      const double old = static_cast<double>(before[i * c_row + j]), now = static_cast<double>(c[i * c_row + j]);
      if (j >= cols)
        REQUIRE(now == old);
      else
        REQUIRE(std::abs(now - static_cast<double>(expected[static_cast<std::size_t>(i * cols + j)]) - (accumulate ? old : 0)) < tolerance);
    }
}

template <class T>
void check_sizes() {
  const Sizes<T> tile;
  for (Index rows : {Index{1}, Index{2}, Index{3}, Index{5}, tile.rows - 1, tile.rows, tile.rows + 1, 2 * tile.rows + 7})
    for (Index cols : {Index{1}, tile.width / 2, tile.width / 2 + 1, tile.width - 1, tile.width, tile.width + 1, 2 * tile.width + 5})
      for (Index depth : {1, 2, 7, 40}) {
        if (rows < 1 || cols < 1) continue;
        check_block<T>(rows, cols, depth, depth, 1, false, false);
        check_block<T>(rows, cols, depth, 1, rows, true, true);  // A is read down its columns
      }
}

}  // namespace

TEST_CASE("register tiles of every height and width against three loops") {
  check_sizes<float>();
  check_sizes<double>();
}

TEMPLATE_TEST_CASE("products of row-by-row operands over every remainder of rows and columns", "", float, double) {
  using T = TestType;
  using kernels::kTileSlack;
  constexpr Index kSizes[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 13, 14, 15, 16, 17, 27, 28, 29, 31, 32, 33, 49};
  const Index width = Sizes<T>().width;
  const Index depth = 7, pad = 48;
  for (Index rows : kSizes)
    for (Index cols : kSizes) {
      const Index a_row = 9, b_row = (cols + width - 1) / width * width + 3, c_row = cols + 5;
      const auto a = reference::random_tensor<T, 1>({(rows + kTileSlack) * a_row}, 1);
      const auto at = reference::random_tensor<T, 1>({depth * (rows + pad)}, 2);  // the same product with A read down its columns
      const auto b = reference::random_tensor<T, 1>({depth * b_row + 64}, 3);
      const auto old = reference::random_tensor<T, 1>({rows * c_row}, 4);
      const auto before = reference::random_tensor<T, 1>({rows}, 5), after = reference::random_tensor<T, 1>({rows}, 6);
      for (int variant = 0; variant < 16; ++variant) {
        const bool columns = variant & 1, accumulate = variant & 2, factors = variant & 4, slack = variant & 8;
        auto c = old;
        kernels::multiply_tiles<T>({.rows = rows,
            .cols = cols,
            .depth = depth,
            .a = columns ? at.data() : a.data() + (slack ? 0 : kTileSlack * a_row),
            .a_row = columns ? 1 : a_row,
            .a_step = columns ? rows + pad : 1,
            .b = b.data(),
            .b_row = b_row,
            .b_panel = width,
            .c = c.data(),
            .c_row = c_row,
            .slack = slack,
            .accumulate = accumulate,
            .before = factors ? before.data() : nullptr,
            .after = factors ? after.data() : nullptr});
        double worst = 0;
        for (Index i = 0; i < rows; ++i)
          for (Index j = 0; j < c_row; ++j) {
            double exact = static_cast<double>(old[i * c_row + j]);
            if (j < cols) {
              exact *= accumulate ? (factors ? static_cast<double>(before[i]) : 1.0) : 0.0;
              for (Index k = 0; k < depth; ++k)
                exact += static_cast<double>(columns ? at[k * (rows + pad) + i] : a[(slack ? i : i + kTileSlack) * a_row + k]) *
                         static_cast<double>(b[k * b_row + j]);
              if (factors) exact *= static_cast<double>(after[i]);
            }
            worst = std::max(worst, std::abs(static_cast<double>(c[i * c_row + j]) - exact));  // beyond cols: untouched
          }
        INFO(rows << " x " << cols << ", variant " << variant);
        REQUIRE(worst < (sizeof(T) == 4 ? 2e-6 : 1e-14));
      }
    }
}

TEST_CASE("panels hold columns side by side, padded with zeros") {
  const auto b = random_tensor<float, 2>({3, 5}, 1);
  Tensor<float, 1> packed({kernels::packed_size(3, 5, 4)});
  kernels::pack_panels(3, 5, b.data(), 5, 1, 4, packed.data());
  for (Index k = 0; k < 3; ++k)
    for (Index j = 0; j < 8; ++j) CHECK(packed[(j / 4 * 3 + k) * 4 + j % 4] == (j < 5 ? b(k, j) : 0.0f));
}

TEST_CASE("a product of number-like types") {
  using D = Dual<1>;
  Tensor<D, 1> a({2}), b({2}), c({1}), packed({kernels::packed_size(2, 1, kernels::panel_width<D>())});
  a[0] = 2.0, a[1] = 3.0, b[0] = 5.0, b[1] = 7.0;
  b[1].tangent[0] = 1;
  kernels::pack_panels(2, 1, b.data(), 1, 1, kernels::panel_width<D>(), packed.data());
  kernels::multiply_tiles<D>({1, 1, 2, a.data(), 2, 1, packed.data(), kernels::panel_width<D>(), 0, c.data(), 1});
  CHECK(c[0].value == 31);
  CHECK(c[0].tangent[0] == 3);
}
