// SPDX-License-Identifier: MIT
#pragma once

#include <heed/core/parallel.hpp>
#include <heed/core/simd.hpp>
#include <heed/kernels/softmax.hpp>

namespace heed::inline HEED_ABI::kernels {

/// x holds sequences x tokens x width elements, contiguous; `direction` holds `width` elements.
template <class T>
struct SequencePoolShape {
  Index sequences, tokens, width;  ///< of x
  const T* direction;              ///< what scores are products with

  /// Sequences of a chunk that is worth a thread.
  Index grain() const { return 1 + 16384 / (1 + tokens * width); }
};

namespace detail {

template <class Isa, class T>
HEED_INLINE T dot_product(Index count, const T* a, const T* b) {
  using P = Packet<Isa, T>;
  P sum = P::zero();
  for (Index i = 0; i < count; i += P::lanes) sum = P::fma(P::load_partial(a + i, count - i), P::load_partial(b + i, count - i), sum);
  return sum.sum();
}

/// y += factor * x
template <class Isa, class T>
HEED_INLINE void add_multiple(Index count, const T& factor, const T* x, T* y) {
  using P = Packet<Isa, T>;
  const P f = P::broadcast(factor);
  for (Index i = 0; i < count; i += P::lanes)
    P::fma(f, P::load_partial(x + i, count - i), P::load_partial(y + i, count - i)).store_partial(y + i, count - i);
}

template <class T>
struct SequencePoolForward {
  template <class Isa>
  HEED_INLINE static void run(Index sequences, const SequencePoolShape<T>* shape, const T* x, T* weights, T* y) {
    const Index tokens = shape->tokens, width = shape->width;
    for (Index n = 0; n < sequences; ++n, x += tokens * width, weights += tokens, y += width) {
      for (Index t = 0; t < tokens; ++t) weights[t] = dot_product<Isa>(width, x + t * width, shape->direction);
      softmax_row<Isa>(tokens, weights, weights, x);  // x is read again
      std::fill_n(y, width, T(0));
      for (Index t = 0; t < tokens; ++t) add_multiple<Isa>(width, weights[t], x + t * width, y);
    }
  }
};

template <class T>
struct SequencePoolBackward {
  template <class Isa>
  HEED_INLINE static void run(
      Index sequences, const SequencePoolShape<T>* shape, const T* x, const T* weights, const T* dy, T* dx, T* d_direction) {
    using P = Packet<Isa, T>;
    const Index tokens = shape->tokens, width = shape->width;
    for (Index n = 0; n < sequences; ++n, x += tokens * width, dx += tokens * width, weights += tokens, dy += width) {
      // y = sum of w[t] x[t]: d_w[t] = dy . x[t]; the softmax gives d_s[t] = w[t] (d_w[t] - sum of w d_w), and sum of w d_w is dy . y.
      T average = T(0);
      for (Index t = 0; t < tokens; ++t) {
        dx[t * width] = dot_product<Isa>(width, dy, x + t * width);  // kept here until the row is written
        average = average + weights[t] * dx[t * width];
      }
      for (Index t = 0; t < tokens; ++t) {
        const T d_score = weights[t] * (dx[t * width] - average);
        const P w = P::broadcast(weights[t]), d = P::broadcast(d_score);
        for (Index c = 0; c < width; c += P::lanes) {
          const Index left = width - c;
          // s[t] = x[t] . direction
          (w * P::load_partial(dy + c, left) + d * P::load_partial(shape->direction + c, left)).store_partial(dx + t * width + c, left);
        }
        if (d_direction) add_multiple<Isa>(width, d_score, x + t * width, d_direction);
      }
    }
  }
};

}  // namespace detail

/// weights[n, t] = softmax over t of (x[n, t] . direction), y[n] = sum over t of weights[n, t] x[n, t]. Parallel over sequences.
template <class T>
void sequence_pool_forward(const SequencePoolShape<T>& shape, const T* x, T* weights, T* y) {
  parallel_for(shape.sequences, shape.grain(), [&](Index begin, Index end) {
    dispatch<detail::SequencePoolForward<T>, T>(
        end - begin, &shape, x + begin * shape.tokens * shape.width, weights + begin * shape.tokens, y + begin * shape.width);
  });
}
HEED_COMPILE_ONCE(sequence_pool_forward);

/// dx, and adds to d_direction (null: left out) over fixed shards of sequences, folded in order.
template <class T>
void sequence_pool_backward(const SequencePoolShape<T>& shape, const T* x, const T* weights, const T* dy, T* dx, T* d_direction) {
  const Index item = shape.tokens * shape.width;
  const auto run = [&](Index begin, Index end, T* partial) {
    dispatch<detail::SequencePoolBackward<T>, T>(
        end - begin, &shape, x + begin * item, weights + begin * shape.tokens, dy + begin * shape.width, dx + begin * item, partial);
  };
  if (d_direction)
    parallel_sum(shape.sequences, shape.grain(), shape.width, d_direction, run);
  else
    parallel_for(shape.sequences, shape.grain(), [&](Index begin, Index end) { run(begin, end, static_cast<T*>(nullptr)); });
}
HEED_COMPILE_ONCE(sequence_pool_backward);

}  // namespace heed::inline HEED_ABI::kernels
