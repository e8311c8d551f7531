// SPDX-License-Identifier: MIT
#pragma once

#include <cmath>
#include <type_traits>

#include <heed/core/parallel.hpp>
#include <heed/kernels/exponential.hpp>

namespace heed::inline HEED_ABI::kernels {

/// The largest element of a row and the sum of e^(x - largest), which is at least 1: what a cross-entropy is made of. In double for float.
template <class T>
struct RowExponentials {
  using Value = std::conditional_t<std::is_floating_point_v<T>, double, T>;  ///< double for float
  Value largest, sum;                                                        ///< of the row
};

namespace detail {

template <class T>
struct ExponentialRow {
  using Value = typename RowExponentials<T>::Value;

  template <class Isa>
  HEED_INLINE static void run(Index width, const T* x, const Value& factor, T* y, RowExponentials<T>* result) {
    using P = Packet<Isa, T>;
    using Wide = Packet<Isa, Value>;
    P top = P::broadcast(x[0]);
    for (Index j = 0; j < width; j += P::lanes) top = P::max(top, P::load_partial(x + j, width - j, x[0]));
    const Value largest(top.largest());
    const Wide shift = Wide::broadcast(largest);
    Wide sum = Wide::zero();
    Index j = 0;
    for (; j + Wide::lanes <= width; j += Wide::lanes) {
      const Wide e = exponential(Wide::load_numbers(x + j) - shift);
      sum = sum + e;
      if (y) e.store_numbers(y + j);
    }
    if (j < width) {
      T rest[P::lanes];
      P::load_partial(x + j, width - j, T(-HUGE_VAL)).store(rest);
      const Wide e = exponential(Wide::load_numbers(rest) - shift);
      sum = sum + e;
      e.store_numbers(rest);
      for (Index i = 0; y && i < width - j; ++i) y[j + i] = rest[i];
    }
    *result = {largest, sum.sum()};
    if (!y) return;
    const P share = P::broadcast(T(factor / result->sum));
    for (j = 0; j < width; j += P::lanes) (P::load_partial(y + j, width - j) * share).store_partial(y + j, width - j);
  }
};

}  // namespace detail

/// Of a row of `width` > 0 numbers; unless y is null, it becomes factor times their softmax. y may not be x.
template <class T>
RowExponentials<T> row_exponentials(Index width, const T* x, const typename RowExponentials<T>::Value& factor, T* y) {
  RowExponentials<T> result;
  using Row = detail::ExponentialRow<T>;
  if (width < 5)  // number by number: 256 rows of 3 take 6 us instead of 11
    Row::template run<Scalar>(width, x, factor, y, &result);
  else
    dispatch<Row, T>(width, x, factor, y, &result);
  return result;
}
HEED_COMPILE_ONCE(row_exponentials);

}  // namespace heed::inline HEED_ABI::kernels
