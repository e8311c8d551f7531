// SPDX-License-Identifier: MIT
#include "catch.hpp"
#include "every_isa.hpp"
#include "reference/random_tensor.hpp"

#include <heed/kernels/pack.hpp>

using namespace heed;
using namespace heed::kernels;
using reference::random_tensor;

namespace {

template <class T>
struct TileRows {
  template <class Isa>
  HEED_INLINE static void run(Index* rows) {
    *rows = TileShape<Isa>::rows;
  }
};

}  // namespace

TEMPLATE_TEST_CASE("pack_tiles: rows of A in tiles, column by column, on every instruction set", "", float, double) {
  using T = TestType;
  for (Index rows : {1, 2, 5, 6, 7, 13, 14, 15, 16, 17, 28, 33, 47})
    for (Index depth : {1, 2, 3, 4, 7, 8, 9, 15, 16, 17, 33, 40})
      for (const auto& strides : {std::pair<Index, Index>{depth + 3, 1}, {1, rows}, {1, rows + 2}, {2, 2 * rows + 1}}) {
        const Index a_row = strides.first, a_col = strides.second;
        // As many elements as the matrix spans and not one more: the address sanitizer watches.
        const auto a = random_tensor<T, 1>({(rows - 1) * a_row + (depth - 1) * a_col + 1}, 5);
        const kernels::detail::RowsSource<T> source{a.data(), a_row, rows, depth, nullptr};
        Tensor<T, 1> packed({packed_tiles_size(rows + 14, depth, 2) + packed_tiles_size(rows + 14, depth, 14)});  // whatever the tile is
        const auto check = [&](const char* isa) {
          INFO(isa << ": " << rows << 'x' << depth << ", strides " << a_row << ", " << a_col);
          Index tile = 0;
          const std::string name = isa;
          if (name == "scalar") TileRows<T>::template run<Scalar>(&tile);
          if (name == "baseline") TileRows<T>::template run<Baseline>(&tile);
          if (name == "avx2") TileRows<T>::template run<Avx2>(&tile);
          if (name == "avx512") TileRows<T>::template run<Avx512>(&tile);
          bool right = true;
          for (Index i = 0; i < (rows + tile - 1) / tile * tile; ++i)
            for (Index k = 0; k < depth; ++k)
              right = right &&
                      packed[i / tile * tile_stride(depth, tile) + k * tile + i % tile] == (i < rows ? a[i * a_row + k * a_col] : T(0));
          CHECK(right);
          packed.fill(T(77));
        };
        packed.fill(T(77));
        for_every_isa<kernels::detail::PackTiles<T>, T>(check, &source, static_cast<Index>(a_col), packed.data());
      }
}

TEMPLATE_TEST_CASE("pack_panels: the fast ways make what the plain one does", "", float, double) {
  using T = TestType;
  const Index width = panel_width<T>();
  for (Index depth : {1, 5, 16, 31})
    for (Index cols : {Index{1}, width - 1, width, 2 * width + 3}) {
      const auto b = random_tensor<T, 1>({depth * cols}, 3);
      for (bool transposed : {false, true}) {
        Tensor<T, 1> packed({packed_size(depth, cols, width)});
        packed.fill(T(77));
        pack_panels(depth, cols, b.data(), transposed ? Index(1) : cols, transposed ? depth : Index(1), width, packed.data());
        bool right = true;
        for (Index n = 0; n < packed.size() / depth; ++n)
          for (Index k = 0; k < depth; ++k) {
            const T expected = n >= cols ? T(0) : transposed ? b[n * depth + k] : b[k * cols + n];
            right = right && packed[(n / width * depth + k) * width + n % width] == expected;
          }
        CHECK(right);
      }
    }
}
