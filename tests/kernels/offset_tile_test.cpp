// SPDX-License-Identifier: MIT
#include <limits>
#include <vector>

#include <heed/core/random.hpp>
#include <heed/kernels/offset_tile.hpp>

#include "catch.hpp"

using heed::Index;
using heed::kernels::OffsetProduct;
using heed::kernels::Segment;

TEMPLATE_TEST_CASE("products read through offsets agree with their sum", "", float, double) {
  const Index width = heed::kernels::panel_width<TestType>(), tile = heed::kernels::tile_rows<TestType>();
  const heed::CounterRandom random({7});
  std::vector<TestType> a(4000), b(static_cast<std::size_t>(60 * width)), start(static_cast<std::size_t>(3 * width));
  std::uint64_t counter = 0;
  for (auto* v : {&a, &b, &start})
    for (TestType& e : *v) e = static_cast<TestType>(random.uniform(counter++, -1, 1));
  const Segment segments[] = {{5, 20}, {300, 1}, {0, 0}, {100, 33}};  // 54 steps
  for (const Index rows : {Index{1}, Index{2}, Index{3}, tile - 1, tile, tile + 1, 2 * tile + 13})
    for (const Index cols :
        {Index{1}, Index{3}, width / 4, width / 4 + 1, width / 2, width / 2 + 1, 3 * width / 4, 3 * width / 4 + 1, width})
      for (const Index a_step : {Index{1}, Index{7}}) {
        if (cols < 1 || cols > width) continue;  // narrow instruction sets
        INFO(rows << " rows, " << cols << " columns, step " << a_step);
        std::vector<Index> a_offset, c_offset;
        for (Index i = 0; i < rows; ++i) a_offset.push_back(i * 37 % 1000), c_offset.push_back((rows - 1 - i) * (width + 5));
        std::vector<TestType> c(static_cast<std::size_t>(rows * (width + 5)), TestType(99)), expected = c;
        const Index start_row = rows <= 3 ? width : 0;
        heed::kernels::multiply_offsets<TestType>({rows, cols, a.data(), a_offset.data(), a_step, segments, 4, b.data(), width,
            start.data(), start_row, c.data(), c_offset.data()});
        for (Index i = 0; i < rows; ++i)
          for (Index j = 0; j < cols; ++j) {
            double sum = static_cast<double>(start[static_cast<std::size_t>(i * start_row + j)]);
            Index k = 0;
            for (const Segment& s : segments)
              for (Index t = 0; t < s.length; ++t, ++k)
                sum += static_cast<double>(a[static_cast<std::size_t>(a_offset[static_cast<std::size_t>(i)] + s.offset + t * a_step)]) *
                       static_cast<double>(b[static_cast<std::size_t>(k * width + j)]);
            expected[static_cast<std::size_t>(c_offset[static_cast<std::size_t>(i)] + j)] = static_cast<TestType>(sum);
          }
        double largest = 0;  // elements beyond the columns must stay
        for (std::size_t i = 0; i < c.size(); ++i) largest = std::max(largest, std::abs(static_cast<double>(c[i] - expected[i])));
        CHECK(largest < 54 * std::numeric_limits<TestType>::epsilon());
      }
}

TEST_CASE("a row gives the same bits alone and in a tile") {
  const Index width = heed::kernels::panel_width<float>();
  std::vector<float> a(600), b(static_cast<std::size_t>(100 * width)), start(static_cast<std::size_t>(width)),
      c(static_cast<std::size_t>(30 * width)), alone(start);
  for (std::size_t i = 0; i < a.size(); ++i) a[i] = 1 / static_cast<float>(i + 1);
  for (std::size_t i = 0; i < b.size(); ++i) b[i] = 1 / static_cast<float>(i % 77 + 3);
  std::vector<Index> a_offset, c_offset;
  for (Index i = 0; i < 30; ++i) a_offset.push_back(i * 15), c_offset.push_back(i * width);
  const Segment all{0, 100};
  heed::kernels::multiply_offsets<float>(
      {30, width, a.data(), a_offset.data(), 1, &all, 1, b.data(), width, start.data(), 0, c.data(), c_offset.data()});
  for (Index i = 0; i < 30; ++i) {
    heed::kernels::multiply_offsets<float>(
        {1, width, a.data(), a_offset.data() + i, 1, &all, 1, b.data(), width, start.data(), 0, alone.data(), c_offset.data()});
    CHECK(std::equal(alone.begin(), alone.end(), c.begin() + i * width));
  }
}
