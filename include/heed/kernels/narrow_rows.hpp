// SPDX-License-Identifier: MIT
#pragma once

#include <heed/core/simd.hpp>

namespace heed::inline HEED_ABI::kernels::detail {

/// Rows of few features, feature by feature, so that a lane is a row. Row by row most lanes would be idle, and every row would wait for its sums
/// across them (1000 rows of 3: layer norm 14 us, like this 3.5; softmax 10 and 3.3). Absent rows are zeros: what a row gives does not depend on its
/// neighbours.
template <class Isa, class T>
struct NarrowRows {
  using P = Packet<Isa, T>;
  static constexpr Index most_features = 8;
  static constexpr Index most_rows = 4 * P::lanes;  ///< so that not every packet waits for the stores that fill it
  T elements[most_features][most_rows];

  HEED_INLINE NarrowRows(Index rows, Index width, const T* x) {
    const Index whole = rows / P::lanes * P::lanes, first = whole + 1 == rows ? 1 : 0;
    if (whole < rows)  // a load of one number and zeros, where that is all: nothing waits for a store of part of a vector
      for (Index j = 0; j < width; ++j) P::load_partial(x + whole * width + j, first).store(elements[j] + whole);
    for (Index i = 0; i < rows - first; ++i)
      for (Index j = 0; j < width; ++j) elements[j][i] = x[i * width + j];
  }
  HEED_INLINE P load(Index row, Index feature) const { return P::load(elements[feature] + row); }
  HEED_INLINE void set(Index row, Index feature, const P& values) { values.store(elements[feature] + row); }
  HEED_INLINE void store(Index rows, Index width, T* y, bool add = false) const {
    for (Index i = 0; i < rows; ++i)
      for (Index j = 0; j < width; ++j) y[i * width + j] = add ? T(y[i * width + j] + elements[j][i]) : elements[j][i];
  }
};

}  // namespace heed::inline HEED_ABI::kernels::detail
