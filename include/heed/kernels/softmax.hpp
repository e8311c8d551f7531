// SPDX-License-Identifier: MIT
#pragma once

#include <heed/core/parallel.hpp>
#include <heed/core/simd.hpp>
#include <heed/kernels/exponential.hpp>

namespace heed::kernels {

namespace detail {

/// y = softmax of one row; y may be x. The largest element is taken off first, so nothing overflows; -inf has the weight 0. `width` > 0.
template <class Isa, class T>
HEED_INLINE void softmax_row(Index width, const T* x, T* y) {
  using P = Packet<Isa, T>;
  P top = P::broadcast(x[0]);
  for (Index j = 0; j < width; j += P::lanes) top = P::max(top, P::load_partial(x + j, width - j, x[0]));
  const P largest = P::broadcast(top.largest());
  P sum = P::zero();
  for (Index j = 0; j < width; j += P::lanes) {
    const Index left = width - j;
    exponential(P::load_partial(x + j, left) - largest).store_partial(y + j, left);
    sum = sum + P::load_partial(y + j, left);  // lanes past the end as zeros
  }
  const P factor = P::broadcast(T(1) / sum.sum());
  for (Index j = 0; j < width; j += P::lanes) (P::load_partial(y + j, width - j) * factor).store_partial(y + j, width - j);
}

template <class T>
struct SoftmaxForward {
  template <class Isa>
  HEED_INLINE static void run(Index rows, Index width, const T* x, T* y) {
    for (Index i = 0; i < rows; ++i) softmax_row<Isa>(width, x + i * width, y + i * width);
  }
};

template <class T>
struct SoftmaxBackward {
  template <class Isa>
  HEED_INLINE static void run(Index rows, Index width, const T* y, const T* dy, T* dx) {
    using P = Packet<Isa, T>;
    for (Index i = 0; i < rows; ++i, y += width, dy += width, dx += width) {
      P sum = P::zero();
      for (Index j = 0; j < width; j += P::lanes) sum = P::fma(P::load_partial(y + j, width - j), P::load_partial(dy + j, width - j), sum);
      const P average = P::broadcast(sum.sum());
      for (Index j = 0; j < width; j += P::lanes) {
        const Index left = width - j;
        (P::load_partial(y + j, left) * (P::load_partial(dy + j, left) - average)).store_partial(dx + j, left);
      }
    }
  }
};

/// Rows of a chunk that is worth a thread.
inline Index softmax_grain(Index width) { return 1 + 8192 / (1 + width); }

}  // namespace detail

/// y[i] = exp(x[i]) / sum of exp(x) for each of `rows` contiguous rows; y may be x. A row that is -inf everywhere gives NaN. Parallel over rows.
template <class T>
void softmax_forward(Index rows, Index width, const T* x, T* y) {
  if (width == 0) return;
  parallel_for(rows, detail::softmax_grain(width),
      [&](Index begin, Index end) { dispatch<detail::SoftmaxForward<T>, T>(end - begin, width, x + begin * width, y + begin * width); });
}

/// dx = y (dy - sum of y dy) for each row; dx may be dy.
template <class T>
void softmax_backward(Index rows, Index width, const T* y, const T* dy, T* dx) {
  parallel_for(rows, detail::softmax_grain(width), [&](Index begin, Index end) {
    dispatch<detail::SoftmaxBackward<T>, T>(end - begin, width, y + begin * width, dy + begin * width, dx + begin * width);
  });
}

}  // namespace heed::kernels
