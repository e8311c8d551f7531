// SPDX-License-Identifier: MIT
#include <heed/kernels/attention_blocks.hpp>

#include "catch.hpp"
#include "reference/random_tensor.hpp"

using namespace heed;
using namespace heed::kernels;

namespace {

const Index kSizes[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 13, 14, 15, 16, 17, 27, 28, 29, 31, 32, 33, 49};

}  // namespace

TEMPLATE_TEST_CASE("attention_blocks: products over every remainder of rows and columns", "[attention_blocks]", float, double) {
  using T = TestType;
  const TileSizes<T> sizes;
  const Index depth = 7, pad = 48;
  for (Index rows : kSizes)
    for (Index cols : kSizes) {
      const Index a_row = 9, b_row = sizes.whole_panels(cols) + 3, c_row = cols + 5;
      const auto a = reference::random_tensor<T, 1>({(rows + kTileSlack) * a_row}, 1);
      const auto at = reference::random_tensor<T, 1>({depth * (rows + pad)}, 2);  // the same product with A read down its columns
      const auto b = reference::random_tensor<T, 1>({depth * b_row + 64}, 3);
      const auto old = reference::random_tensor<T, 1>({rows * c_row}, 4);
      const auto before = reference::random_tensor<T, 1>({rows}, 5), after = reference::random_tensor<T, 1>({rows}, 6);
      for (int variant = 0; variant < 8; ++variant) {
        const bool columns = variant & 1, accumulate = variant & 2, factors = variant & 4;
        auto c = old;
        multiply_tiles<T>({.rows = rows,
            .cols = cols,
            .depth = depth,
            .a = columns ? at.data() : a.data(),
            .a_row = columns ? 1 : a_row,
            .a_step = columns ? rows + pad : 1,
            .b = b.data(),
            .b_row = b_row,
            .b_panel = sizes.width,
            .c = c.data(),
            .c_row = c_row,
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
                exact += static_cast<double>(columns ? at[k * (rows + pad) + i] : a[i * a_row + k]) * static_cast<double>(b[k * b_row + j]);
              if (factors) exact *= static_cast<double>(after[i]);
            }
            worst = std::max(worst, std::abs(static_cast<double>(c[i * c_row + j]) - exact));  // beyond cols: untouched
          }
        INFO(rows << " x " << cols << ", variant " << variant);
        REQUIRE(worst < (sizeof(T) == 4 ? 2e-6 : 1e-14));
      }
    }
}

TEMPLATE_TEST_CASE(
    "attention_blocks: packing transposes, copies scale, and both leave out flagged rows", "[attention_blocks]", float, double) {
  using T = TestType;
  const TileSizes<T> sizes;
  for (Index rows : kSizes)
    for (Index cols : kSizes) {
      const Index row = cols + 2;
      auto x = reference::random_tensor<T, 1>({rows * row}, 7);
      std::vector<unsigned char> flags(static_cast<std::size_t>(rows));
      for (Index i = 0; i < rows; ++i) flags[static_cast<std::size_t>(i)] = i % 3 != 1;
      for (const unsigned char* use : {static_cast<const unsigned char*>(nullptr), static_cast<const unsigned char*>(flags.data())}) {
        for (Index i = 0; i < rows && use; ++i)
          if (!use[i]) std::fill_n(x.data() + i * row, cols, T(NAN));
        const auto value = [&](Index i, Index j) { return i >= rows || j >= cols || (use && !use[i]) ? T(0) : x[i * row + j]; };
        auto packed = Tensor<T, 1>({sizes.whole_panels(rows) * cols});
        packed.fill(T(5));
        pack_transposed(x.data(), row, rows, cols, use, packed.data());
        bool right = true;
        for (Index i = 0; i < sizes.whole_panels(rows); ++i)
          for (Index j = 0; j < cols; ++j)
            right = right && packed[i / sizes.width * sizes.width * cols + j * sizes.width + i % sizes.width] == value(i, j);
        REQUIRE(right);

        const Index copy_row = sizes.whole_vectors(cols) + sizes.lanes, copy_count = rows + 2;
        auto copy = Tensor<T, 1>({copy_count * copy_row});
        copy_rows(x.data(), row, rows, cols, use, T(2), copy.data(), copy_row, copy_count);
        for (Index i = 0; i < copy_count; ++i)
          for (Index j = 0; j < sizes.whole_vectors(cols); ++j) right = right && copy[i * copy_row + j] == T(2) * value(i, j);
        REQUIRE(right);

        auto scratch = Tensor<T, 1>({rows * sizes.whole_vectors(cols)});
        const RightRows<T> in_place = right_rows(x.data(), row, rows, cols, use, sizes, scratch.data());
        CHECK((in_place.data == scratch.data()) == (use != nullptr || needs_copy(row, cols, sizes)));
        for (Index i = 0; i < rows; ++i)
          for (Index j = 0; j < cols; ++j) right = right && in_place.data[i * in_place.row + j] == value(i, j);
        REQUIRE(right);
      }
    }
}

TEMPLATE_TEST_CASE("attention_blocks: row dots", "[attention_blocks]", float, double) {
  using T = TestType;
  for (Index cols : kSizes) {
    const auto x = reference::random_tensor<T, 2>({3, cols + 1}, 8), y = reference::random_tensor<T, 2>({3, cols + 2}, 9);
    T sums[3];
    dispatch<kernels::detail::RowDots<T>, T>(Index(3), cols, x.data(), cols + 1, y.data(), cols + 2, static_cast<T*>(sums));
    for (Index i = 0; i < 3; ++i) {
      double exact = 0;
      for (Index j = 0; j < cols; ++j) exact += static_cast<double>(x(i, j)) * static_cast<double>(y(i, j));
      CHECK(std::abs(static_cast<double>(sums[i]) - exact) < (sizeof(T) == 4 ? 2e-6 : 1e-14));
    }
  }
}
