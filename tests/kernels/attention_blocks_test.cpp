// SPDX-License-Identifier: MIT
#include <heed/kernels/attention_blocks.hpp>

#include "catch.hpp"
#include "reference/random_tensor.hpp"

using namespace heed;
using namespace heed::kernels;

namespace {

const Index kSizes[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 13, 14, 15, 16, 17, 27, 28, 29, 31, 32, 33, 49};

}  // namespace

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

TEMPLATE_TEST_CASE(
    "attention_blocks: scratch is cut into parts that start at whole lines and do not overlap", "[attention_blocks]", float, double) {
  using T = TestType;
  T *one, *none, *seventeen, *sixteen;
  const auto memory = cut_scratch<T>({{&one, 1}, {&none, 0}, {&seventeen, 17}, {&sixteen, 16}});
  CHECK(memory.size() == 16 + 32 + 16);
  CHECK(one == memory.data());
  CHECK(none == nullptr);
  CHECK(seventeen == one + 16);
  CHECK(sixteen == seventeen + 32);
  CHECK(cut_scratch<T>({}).size() == 0);
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
