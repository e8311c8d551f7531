// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>

#include <heed/core/parallel.hpp>
#include <heed/core/simd.hpp>

namespace heed::inline HEED_ABI::kernels {

/// Elements of a chunk: 64 KiB of float in and out stay in L2, and a chunk costs some microseconds, which is worth a thread.
inline constexpr Index kElementwiseChunk = 16384;

/// a + b
struct Add {
  /// Lane by lane.
  template <class P>
  HEED_INLINE P operator()(const P& a, const P& b) const {
    return a + b;
  }
};

/// a * b
struct Multiply {
  /// Lane by lane.
  template <class P>
  HEED_INLINE P operator()(const P& a, const P& b) const {
    return a * b;
  }
};

/// factor * a
template <class T>
struct Scale {
  T factor;  ///< of every element

  /// Lane by lane.
  template <class P>
  HEED_INLINE P operator()(const P& a) const {
    return a * P::broadcast(factor);
  }
};

namespace detail {

template <class T, class F>
struct Elementwise {
  /// One loop body for whole vectors and for the rest, so that an element's bits do not depend on where in the tensor it lies.
  template <class Isa, class... Inputs>
  HEED_INLINE static void run(Index count, const F* f, T* out, Inputs... in) {
    using P = Packet<Isa, T>;
    for (Index i = 0; i < count; i += P::lanes) {
      const Index left = count - i;
      (*f)(P::load_partial(in + i, left)...).store_partial(out + i, left);
    }
  }
};

}  // namespace detail

/// out[i] = f(in[i]...) for one or more inputs; `out` may be one of them. F is a small struct whose operator() takes and returns packets and
/// is HEED_INLINE (`Add`, `Multiply`, `Scale`, the activations). Parallel over chunks.
template <class T, class F, class... Inputs>
void elementwise(const F& f, Index count, T* out, const Inputs*... in) {
  parallel_for(count, kElementwiseChunk, [&](Index begin, Index end) {
    dispatch<detail::Elementwise<T, F>, T>(end - begin, &f, out + begin, static_cast<const T*>(in + begin)...);
  });
}

/// out[i] = f(in[i], table[i % period]): one table for every sequence of a batch.
template <class T, class F>
void elementwise_repeated(const F& f, Index count, Index period, T* out, const T* in, const T* table) {
  parallel_for(count, kElementwiseChunk, [&](Index begin, Index end) {
    while (begin < end) {
      const Index offset = begin % period, part = std::min(end - begin, period - offset);
      dispatch<detail::Elementwise<T, F>, T>(part, &f, out + begin, in + begin, table + offset);
      begin += part;
    }
  });
}

/// to[i] = from[i], for tensors that one thread would copy for long.
template <class T>
void copy_elements(Index count, const T* from, T* to) {
  parallel_for(count, kElementwiseChunk, [&](Index begin, Index end) { std::copy_n(from + begin, end - begin, to + begin); });
}

}  // namespace heed::inline HEED_ABI::kernels
