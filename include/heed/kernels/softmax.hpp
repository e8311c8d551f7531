// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cmath>
#include <type_traits>

#include <heed/core/parallel.hpp>
#include <heed/kernels/exponential.hpp>
#include <heed/kernels/narrow_rows.hpp>

// Softmax and its logarithm. The largest element is taken off first, so nothing overflows; -inf has the weight 0. Where everything is -inf there
// is nothing to choose from: all weights are 0 (their logarithms -inf) and so are the gradients. Rows that hold NaN or +inf become NaN.

namespace heed::inline HEED_ABI::kernels {

/// outer x width x inner elements; a softmax runs along the middle axis. inner = 1: along contiguous rows.
struct SoftmaxShape {
  Index outer, width, inner = 1;  ///< in the product above
};

namespace detail {

/// `largest`, but 0 for -inf, which cannot be taken off.
template <class Isa, class T>
HEED_INLINE Packet<Isa, T> finite_shift(const Packet<Isa, T>& largest) {
  using P = Packet<Isa, T>;
  constexpr double kLowest = std::is_same_v<T, float> ? -0x1.fffffep127 : -0x1.fffffffffffffp1023;
  return P::select_greater(P::broadcast(T(kLowest)), largest, P::zero(), largest);
}
/// The sum of the exponentials is at least 1 (the largest one), or 0 where all are -inf: then 1. NaN stays.
template <class Isa, class T>
HEED_INLINE Packet<Isa, T> sum_or_one(const Packet<Isa, T>& sum) {
  using P = Packet<Isa, T>;
  return P::select_greater(P::broadcast(T(0.5)), sum, P::broadcast(T(1)), sum);
}
template <class Isa, class T>
HEED_INLINE Packet<Isa, T> logarithm(const Packet<Isa, T>& x) {
  using std::log;
  constexpr int lanes = Packet<Isa, T>::lanes;
  T element[lanes];
  x.store(element);
  for (int i = 0; i < lanes; ++i) element[i] = T(log(element[i]));
  return Packet<Isa, T>::load(element);
}

/// What is taken off the elements of a row before the exponential.
template <class Isa, class T>
HEED_INLINE Packet<Isa, T> row_shift(Index width, const T* x) {
  using P = Packet<Isa, T>;
  P top = P::broadcast(x[0]);
  for (Index j = 0; j < width; j += P::lanes) top = P::max(top, P::load_partial(x + j, width - j, x[0]));
  return finite_shift(P::broadcast(top.largest()));
}

/// The softmax of a row that fits `Count` packets, which stays in registers. (Written and read again, rows of 3 or 10 numbers took four times as long: a
/// load waits for a masked store beside it.)
template <int Count, class Isa, class T>
HEED_INLINE void short_softmax_row(Index width, const T* x, Packet<Isa, T> (&y)[Count]) {
  using P = Packet<Isa, T>;
#pragma GCC unroll 2
  for (int i = 0; i < Count; ++i) y[i] = P::load_partial(x + i * P::lanes, width - i * P::lanes, T(-HUGE_VAL));
  P top = y[0], sum = P::zero();
#pragma GCC unroll 2
  for (int i = 1; i < Count; ++i) top = P::max(top, y[i]);
  const P shift = finite_shift(P::broadcast(top.largest()));
#pragma GCC unroll 2
  for (int i = 0; i < Count; ++i) sum = sum + (y[i] = exponential(y[i] - shift));
  const P factor = P::broadcast(T(1)) / sum_or_one(P::broadcast(sum.sum()));
#pragma GCC unroll 2
  for (int i = 0; i < Count; ++i) y[i] = y[i] * factor;
}
template <int Count, class Isa, class T>
HEED_INLINE void short_softmax_row(Index width, const T* x, T* y) {
  using P = Packet<Isa, T>;
  P values[Count];
  short_softmax_row<Count, Isa>(width, x, values);
#pragma GCC unroll 2
  for (int i = 0; i < Count; ++i) values[i].store_partial(y + i * P::lanes, width - i * P::lanes);
}

/// y = softmax of one row; y may be x. `width` > 0. The row at `soon`, which is read next, is asked for during the exponentials, when the memory has little else to
/// do (8192x1024, Granite Rapids: forward 1.17 to 1.21 times as fast, both passes 1.13 to 1.16; the largest element in two or four chains: 0.88 at 49 numbers).
template <class Isa, class T>
HEED_INLINE void softmax_row(Index width, const T* x, T* y, const T* soon) {
  using P = Packet<Isa, T>;
  if (width <= P::lanes) return short_softmax_row<1, Isa>(width, x, y);
  if (width <= 2 * P::lanes) return short_softmax_row<2, Isa>(width, x, y);
  const P shift = row_shift<Isa>(width, x);
  P sum = P::zero();
  for (Index j = 0; j < width; j += P::lanes) {
    const Index left = width - j;
    ask_for<P::lanes>(soon + j);
    exponential(P::load_partial(x + j, left) - shift).store_partial(y + j, left);
    sum = sum + P::load_partial(y + j, left);  // lanes past the end as zeros
  }
  const P factor = P::broadcast(T(1)) / sum_or_one(P::broadcast(sum.sum()));
  for (Index j = 0; j < width; j += P::lanes) (P::load_partial(y + j, width - j) * factor).store_partial(y + j, width - j);
}

/// y = x - log of the sum of e^x of one row; y may be x. `width` > 0.
template <class Isa, class T>
HEED_INLINE void log_softmax_row(Index width, const T* x, T* y) {
  using P = Packet<Isa, T>;
  const P shift = row_shift<Isa>(width, x);
  P sum = P::zero();
  for (Index j = 0; j < width; j += P::lanes) sum = sum + exponential(P::load_partial(x + j, width - j, T(-HUGE_VAL)) - shift);
  using std::log;
  const T total = sum.sum();
  const P log_sum = P::broadcast(T(0.5) > total ? T(0) : T(log(total)));
  for (Index j = 0; j < width; j += P::lanes) {
    const Index left = width - j;
    (P::load_partial(x + j, left) - shift - log_sum).store_partial(y + j, left);
  }
}

template <class T, bool Log>
struct SoftmaxForwardRows {
  template <class Isa>
  HEED_INLINE static void run(Index rows, Index width, const T* x, T* y) {
    for (Index i = 0; i < rows; ++i)
      if constexpr (Log)
        log_softmax_row<Isa>(width, x + i * width, y + i * width);
      else
        softmax_row<Isa>(width, x + i * width, y + i * width, x + std::min(i + 1, rows - 1) * width);
  }
};

/// The same for elements that lie `inner` apart: columns [begin, end), a packet of neighbours at a time.
template <class T, bool Log>
struct SoftmaxForwardColumns {
  template <class Isa>
  HEED_INLINE static void run(Index begin, Index end, Index width, Index inner, const T* x, T* y) {
    using P = Packet<Isa, T>;
    for (Index j = begin; j < end; j += P::lanes) {
      const Index left = end - j, stop = j + width * inner;
      P top = P::load_partial(x + j, left), sum = P::zero();
      for (Index k = j + inner; k < stop; k += inner) top = P::max(top, P::load_partial(x + k, left));
      const P shift = finite_shift(top);
      for (Index k = j; k < stop; k += inner) {
        const P e = exponential(P::load_partial(x + k, left) - shift);
        if constexpr (!Log) e.store_partial(y + k, left);
        sum = sum + e;
      }
      const P total = sum_or_one(sum), last = Log ? logarithm(total) : P::broadcast(T(1)) / total;
      for (Index k = j; k < stop; k += inner) {
        const P value = Log ? P::load_partial(x + k, left) - shift - last : P::load_partial(y + k, left) * last;
        value.store_partial(y + k, left);
      }
    }
  }
};

/// dx where `total` is the sum of y dy; or, where y is the logarithm, of dy, and `top` the largest y.
template <bool Log, class Isa, class T>
HEED_INLINE Packet<Isa, T> softmax_gradient(
    const Packet<Isa, T>& y, const Packet<Isa, T>& dy, const Packet<Isa, T>& total, const Packet<Isa, T>& top) {
  using P = Packet<Isa, T>;
  if constexpr (!Log)
    return y * (dy - total);
  else  // the largest logarithm is -log(width) or more, or all are -inf
    return P::select_greater(P::broadcast(T(-1e30)), top, P::zero(), dy - exponential(y) * total);
}

template <bool Log, class Isa, class T>
HEED_INLINE void softmax_backward_row(Index width, const T* y, const T* dy, T* dx) {
  using P = Packet<Isa, T>;
  P sum = P::zero(), top = P::broadcast(y[0]);
  for (Index j = 0; j < width; j += P::lanes) {
    const Index left = width - j;
    if constexpr (Log)
      sum = sum + P::load_partial(dy + j, left), top = P::max(top, P::load_partial(y + j, left, y[0]));
    else
      sum = P::fma(P::load_partial(y + j, left), P::load_partial(dy + j, left), sum);
  }
  const P total = P::broadcast(sum.sum()), largest = P::broadcast(top.largest());
  for (Index j = 0; j < width; j += P::lanes) {
    const Index left = width - j;
    softmax_gradient<Log>(P::load_partial(y + j, left), P::load_partial(dy + j, left), total, largest).store_partial(dx + j, left);
  }
}

template <class T, bool Log>
struct SoftmaxBackwardRows {
  template <class Isa>
  HEED_INLINE static void run(Index rows, Index width, const T* y, const T* dy, T* dx) {
    for (Index i = 0; i < rows; ++i) softmax_backward_row<Log, Isa>(width, y + i * width, dy + i * width, dx + i * width);
  }
};

/// Forward and backward of a row at once, y in the place of dx or, where it fits, in a register. The bits are those of the two.
template <class T, bool Log>
struct SoftmaxAgainRows {
  template <class Isa>
  HEED_INLINE static void run(Index rows, Index width, const T* x, const T* dy, T* dx) {
    using P = Packet<Isa, T>;
    for (Index i = 0; i < rows; ++i, x += width, dy += width, dx += width) {
      if constexpr (Log) {
        log_softmax_row<Isa>(width, x, dx);
      } else if (width <= P::lanes) {
        P y[1];
        short_softmax_row<1, Isa>(width, x, y);
        const P d = P::load_partial(dy, width);
        softmax_gradient<false>(y[0], d, P::broadcast(P::fma(y[0], d, P::zero()).sum()), y[0]).store_partial(dx, width);
        continue;
      } else {
        softmax_row<Isa>(width, x, dx, dy);
      }
      softmax_backward_row<Log, Isa>(width, dx, dy, dx);
    }
  }
};

template <class T, bool Log>
struct SoftmaxBackwardColumns {
  template <class Isa>
  HEED_INLINE static void run(Index begin, Index end, Index width, Index inner, const T* y, const T* dy, T* dx) {
    using P = Packet<Isa, T>;
    for (Index j = begin; j < end; j += P::lanes) {
      const Index left = end - j, stop = j + width * inner;
      P sum = P::zero(), top = P::load_partial(y + j, left);
      for (Index k = j; k < stop; k += inner) {
        const P v = P::load_partial(y + k, left), d = P::load_partial(dy + k, left);
        if constexpr (Log)
          sum = sum + d, top = P::max(top, v);
        else
          sum = P::fma(v, d, sum);
      }
      for (Index k = j; k < stop; k += inner)
        softmax_gradient<Log>(P::load_partial(y + k, left), P::load_partial(dy + k, left), sum, top).store_partial(dx + k, left);
    }
  }
};

template <class T, bool Log>
struct SoftmaxAgainColumns {
  template <class Isa>
  HEED_INLINE static void run(Index begin, Index end, Index width, Index inner, const T* x, const T* dy, T* dx) {
    SoftmaxForwardColumns<T, Log>::template run<Isa>(begin, end, width, inner, x, dx);
    SoftmaxBackwardColumns<T, Log>::template run<Isa>(begin, end, width, inner, dx, dy, dx);
  }
};

/// Contiguous rows, those of few elements as columns.
template <class T, class Rows, class Columns>
struct WideOrNarrowRows {
  template <class Isa, class... Tensors>
  HEED_INLINE static void run(Index rows, Index width, Tensors... tensors) {
    using Narrow = NarrowRows<Isa, T>;
    if constexpr (Packet<Isa, T>::lanes > 1)
      if (width <= Narrow::most_features) {
        for (Index i = 0; i < rows; i += Narrow::most_rows)
          narrow<Isa>(std::min(Narrow::most_rows, rows - i), width, (tensors + i * width)...);
        return;
      }
    Rows::template run<Isa>(rows, width, tensors...);
  }

 private:
  template <class Isa>
  HEED_INLINE static void narrow(Index rows, Index width, const T* x, T* y) {
    NarrowRows<Isa, T> v(rows, width, x);
    Columns::template run<Isa>(0, rows, width, v.most_rows, v.elements[0], v.elements[0]);
    v.store(rows, width, y);
  }
  template <class Isa>
  HEED_INLINE static void narrow(Index rows, Index width, const T* x, const T* dy, T* dx) {
    const NarrowRows<Isa, T> v(rows, width, x), d(rows, width, dy);
    NarrowRows<Isa, T> result(0, width, x);
    Columns::template run<Isa>(0, rows, width, v.most_rows, v.elements[0], d.elements[0], result.elements[0]);
    result.store(rows, width, dx);
  }
};

/// Runs `Rows` over contiguous rows, or `Columns` over blocks of neighbouring columns, in parallel; `tensors` all have the shape.
template <class T, class Rows, class Columns, class... Tensors>
void along_axis(const SoftmaxShape& s, Tensors... tensors) {
  if (s.width == 0 || s.inner == 0) return;
  if (s.inner == 1)
    return parallel_for(s.outer, 1 + 8192 / (1 + s.width), [&](Index begin, Index end) {
      dispatch<WideOrNarrowRows<T, Rows, Columns>, T>(end - begin, s.width, (tensors + begin * s.width)...);
    });
  constexpr Index kBlock = 64;  // columns; four cache lines of float
  const Index blocks = (s.inner + kBlock - 1) / kBlock;
  parallel_for(s.outer * blocks, 1 + 8192 / (1 + s.width * std::min(kBlock, s.inner)), [&](Index begin, Index end) {
    for (Index task = begin; task < end; ++task) {
      const Index offset = task / blocks * s.width * s.inner, first = task % blocks * kBlock;
      dispatch<Columns, T>(first, std::min(first + kBlock, s.inner), s.width, s.inner, (tensors + offset)...);
    }
  });
}

}  // namespace detail

/// y = e^x / sum of e^x along the axis; y may be x.
template <class T>
void softmax_forward(const SoftmaxShape& shape, const T* x, T* y) {
  detail::along_axis<T, detail::SoftmaxForwardRows<T, false>, detail::SoftmaxForwardColumns<T, false>>(shape, x, y);
}
HEED_COMPILE_ONCE(softmax_forward);
/// dx = y (dy - sum of y dy), with y from forward; dx may be y or dy.
template <class T>
void softmax_backward(const SoftmaxShape& shape, const T* y, const T* dy, T* dx) {
  detail::along_axis<T, detail::SoftmaxBackwardRows<T, false>, detail::SoftmaxBackwardColumns<T, false>>(shape, y, dy, dx);
}
HEED_COMPILE_ONCE(softmax_backward);

/// The same from x instead of y, which is computed again; dx may be neither x nor dy.
template <class T>
void softmax_backward_again(const SoftmaxShape& shape, const T* x, const T* dy, T* dx) {
  detail::along_axis<T, detail::SoftmaxAgainRows<T, false>, detail::SoftmaxAgainColumns<T, false>>(shape, x, dy, dx);
}
HEED_COMPILE_ONCE(softmax_backward_again);

/// y = x - log of the sum of e^x along the axis; y may be x.
template <class T>
void log_softmax_forward(const SoftmaxShape& shape, const T* x, T* y) {
  detail::along_axis<T, detail::SoftmaxForwardRows<T, true>, detail::SoftmaxForwardColumns<T, true>>(shape, x, y);
}
HEED_COMPILE_ONCE(log_softmax_forward);
/// dx = dy - e^y sum of dy, with y from forward; dx may be y or dy.
template <class T>
void log_softmax_backward(const SoftmaxShape& shape, const T* y, const T* dy, T* dx) {
  detail::along_axis<T, detail::SoftmaxBackwardRows<T, true>, detail::SoftmaxBackwardColumns<T, true>>(shape, y, dy, dx);
}
HEED_COMPILE_ONCE(log_softmax_backward);
/// The same from x instead of y, which is computed again; dx may be neither x nor dy.
template <class T>
void log_softmax_backward_again(const SoftmaxShape& shape, const T* x, const T* dy, T* dx) {
  detail::along_axis<T, detail::SoftmaxAgainRows<T, true>, detail::SoftmaxAgainColumns<T, true>>(shape, x, dy, dx);
}
HEED_COMPILE_ONCE(log_softmax_backward_again);

}  // namespace heed::inline HEED_ABI::kernels
