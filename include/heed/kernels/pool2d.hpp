// SPDX-License-Identifier: MIT
#pragma once

#include <cmath>
#include <cstdint>

#include <heed/core/parallel.hpp>
#include <heed/kernels/channel_sweep.hpp>

// Pooling over windows of channels-last images: channels go to vector lanes, the taps of a window are walked. Backward passes are written from
// the side of the input pixel (which windows look at me, and what do they send), so every dx is written once and rows are independent.

namespace heed::kernels {

/// The numbers of a 2-d pooling. Pairs are {vertical, horizontal}. A sequence is an image of height 1.
struct Pool2dGeometry {
  Index images;
  Index size[2], out_size[2], channels;
  Index kernel[2], stride[2], padding[2], dilation[2];  ///< padding: before the first row and column
  Index padding_end[2];                                 ///< behind the last; averages may count it

  Index taps() const { return kernel[0] * kernel[1]; }
  /// Position of tap `k` of window `o`.
  Index position(int axis, Index o, Index k) const { return o * stride[axis] + k * dilation[axis] - padding[axis]; }
  /// First tap of window `o` that lies in the image, and one past the last.
  Index first_tap(int axis, Index o) const {
    const Index start = position(axis, o, 0);
    return start >= 0 ? 0 : std::min(kernel[axis], (-start + dilation[axis] - 1) / dilation[axis]);
  }
  Index end_tap(int axis, Index o) const {
    const Index start = position(axis, o, 0);
    return start >= size[axis] ? 0 : std::min(kernel[axis], (size[axis] - 1 - start) / dilation[axis] + 1);
  }
  /// Windows [inner_begin, inner_end) have all their taps in the image; there may be none.
  Index inner_begin(int axis) const { return std::min(out_size[axis], (padding[axis] + stride[axis] - 1) / stride[axis]); }
  Index inner_end(int axis) const {
    const Index last = size[axis] - 1 - position(axis, 0, kernel[axis] - 1);  // where the last tap of window 0 can move by so much
    return last < 0 ? inner_begin(axis) : std::clamp(last / stride[axis] + 1, inner_begin(axis), out_size[axis]);
  }
  /// Whether no pixel lies in two windows.
  bool disjoint() const { return stride[0] > dilation[0] * (kernel[0] - 1) && stride[1] > dilation[1] * (kernel[1] - 1); }
  /// Taps of window `o` in the image, or with `include_pad` in the image and its padding: not what ceil mode lets hang over.
  Index counted(int axis, Index o, bool include_pad) const {
    if (!include_pad) return std::max<Index>(0, end_tap(axis, o) - first_tap(axis, o));
    const Index room = size[axis] + padding_end[axis] - position(axis, o, 0);
    return std::clamp<Index>((room + dilation[axis] - 1) / dilation[axis], 0, kernel[axis]);
  }
};

/// What an average divides by: the counted taps of its window, or `fixed` where that is not 0.
struct PoolDivisor {
  bool count_include_pad = true;
  Index fixed = 0;

  /// The factor of 1 / divisor that belongs to window `o` of an axis. 0 where nothing is counted.
  double factor(const Pool2dGeometry& g, int axis, Index o) const {
    const Index divisor = fixed == 0 ? g.counted(axis, o, count_include_pad) : axis == 0 ? fixed : 1;
    return divisor == 0 ? 0 : 1 / static_cast<double>(divisor);
  }
};

/// Windows along an axis: ⌊(size + padding + padding_end - dilation (kernel - 1) - 1) / stride⌋ + 1, or with ceil mode ⌈…⌉ + 1 as long as the last
/// window starts in the image or the padding before it (torch.nn.MaxPool2d, ONNX MaxPool). 0 if the kernel does not fit.
inline Index pool2d_windows(Index size, Index kernel, Index stride, Index padding, Index padding_end, Index dilation, bool ceil_mode) {
  const Index room = size + padding + padding_end - dilation * (kernel - 1) - 1;
  if (room < 0) return 0;
  const Index windows = (room + (ceil_mode ? stride - 1 : 0)) / stride + 1;
  return ceil_mode && (windows - 1) * stride >= size + padding ? windows - 1 : windows;
}

namespace detail {

/// Who reads the input positions along an axis: of(i) is a count, and then so many pairs of a window and the tap through which it reads i.
class Readers {
 public:
  Readers(const Pool2dGeometry& g, int axis)
      : row_(1 + 2 * g.kernel[axis]), table_(Tensor<Index, 1>::uninitialized({g.size[axis] * row_})) {
    for (Index i = 0; i < g.size[axis]; ++i) {
      Index *count = table_.data() + i * row_, *to = count + 1;
      for (Index k = 0; k < g.kernel[axis]; ++k) {
        const Index shifted = i + g.padding[axis] - k * g.dilation[axis];
        if (shifted >= 0 && shifted % g.stride[axis] == 0 && shifted / g.stride[axis] < g.out_size[axis])
          *to++ = shifted / g.stride[axis], *to++ = k;
      }
      *count = (to - count) / 2;
    }
  }
  const Index* of(Index i) const { return table_.data() + i * row_; }
  /// From one position to the next.
  Index row() const { return row_; }

 private:
  Index row_;
  Tensor<Index, 1> table_;
};

/// Calls `row.template window<Isa, Width>(ox, first tap, end tap)` for each window of a row of y. Windows that have all their taps in the image and
/// are 2 or 3 wide know so when they are compiled; Width 0 is any other.
template <class Isa, class Row>
HEED_INLINE void for_each_window(const Pool2dGeometry& g, const Row& row) {
  const Index begin = g.inner_begin(1), end = g.inner_end(1), width = g.kernel[1];
  for (Index ox = 0; ox < g.out_size[1]; ++ox) {
    if (ox < begin || ox >= end)
      row.template window<Isa, 0>(ox, g.first_tap(1, ox), g.end_tap(1, ox));
    else if (width == 2)
      row.template window<Isa, 2>(ox, 0, 2);
    else if (width == 3)
      row.template window<Isa, 3>(ox, 0, 3);
    else
      row.template window<Isa, 0>(ox, 0, width);
  }
}

/// Keeps the larger of two numbers and where it was seen; a number that is not larger leaves the first one (so the first maximum wins), and
/// NaN, which the maximum passes over, is remembered in `nan`.
template <class P>
HEED_INLINE void take_larger(const P& x, const P& place, P& best, P& winner, P& nan) {
  winner = P::select_greater(x, best, place, winner);
  best = P::max(x, best);
  nan = P::nan_or(x, nan);
}
template <class P, class T>
HEED_INLINE void take_larger(const P& x, const T& place, P& best, P& winner, P& nan) {
  take_larger(x, P::broadcast(place), best, winner, nan);
}

/// One window: y[c] = max over its taps of x, winner[c] = the first tap that has it. Winner is void where nobody asks for it.
template <class T, class Winner, int Width>
struct MaxWindow {
  const T* x;                ///< tap (0, 0), which may lie outside of the image
  Index tap_row, tap_pixel;  ///< elements from tap to tap
  Index first[2], end[2], kernel_width;
  T* y;
  Winner* winner;

  template <class P>
  HEED_INLINE void at(Index channel) const {
    P best = P::broadcast(T(-HUGE_VAL)), nan = P::zero(), tap = number<P>(first[0] * kernel_width + first[1]), place = tap;
    for (Index ky = first[0]; ky < end[0]; ++ky) {
      const T* row = x + ky * tap_row + channel;
      if constexpr (Width > 0) {
#pragma GCC unroll 4
        for (int kx = 0; kx < Width; ++kx) take(P::load(row + kx * tap_pixel), tap, best, place, nan);
      } else {
        for (Index kx = first[1]; kx < end[1]; ++kx) take(P::load(row + kx * tap_pixel), tap, best, place, nan);
        if constexpr (kKeeps) tap = tap + number<P>(kernel_width - end[1] + first[1]);
      }
    }
    P::nan_or(nan, best).store(y + channel);
    if constexpr (kKeeps) place.store_numbers(winner + channel);
  }

 private:
  static constexpr bool kKeeps = !std::is_void_v<Winner>;

  template <class P>
  HEED_INLINE static P number(Index n) {
    return P::broadcast(T(static_cast<double>(n)));
  }
  template <class P>
  HEED_INLINE static void take(const P& x, P& tap, P& best, P& place, P& nan) {
    take_larger(x, tap, best, place, nan);  // place is dropped when compiled, if nobody reads it
    if constexpr (kKeeps) tap = tap + P::broadcast(T(1));
  }
};

template <class T, class Winner>
struct MaxPoolRow {
  const Pool2dGeometry& g;
  Index oy;
  const T* image;
  T* y;
  Winner* winner;

  template <class Isa>
  HEED_INLINE static void run(const Pool2dGeometry* g, Index oy, const T* image, T* y, Winner* winner) {
    for_each_window<Isa>(*g, MaxPoolRow{*g, oy, image, y, winner});
  }
  template <class Isa, int Width>
  HEED_INLINE void window(Index ox, Index first, Index end) const {
    const Index row = g.size[1] * g.channels;
    const T* x = image + g.position(0, oy, 0) * row + g.position(1, ox, 0) * g.channels;
    Winner* to = winner;
    if constexpr (!std::is_void_v<Winner>) to += ox * g.channels;
    sweep_channels<Isa, T>(0, g.channels,
        MaxWindow<T, Winner, Width>{x, g.dilation[0] * row, g.dilation[1] * g.channels, {g.first_tap(0, oy), first},
            {g.end_tap(0, oy), end}, g.kernel[1], y + ox * g.channels, to});
  }
};

/// dy where the winner is `tap`, else 0.
template <class P, class T>
HEED_INLINE P won(const P& winner, Index tap, const P& dy) {
  const P off = winner - P::broadcast(T(static_cast<double>(tap)));  // one comparison: g++ 12 makes a mask of two into scalar code
  return P::select_greater(P::broadcast(T(0.5)), off * off, dy, P::zero());
}

/// One input pixel: dx[c] = sum of dy[c] of the windows whose winner it is.
template <class T, class Winner>
struct MaxPixel {
  const Index *readers_y, *readers_x;  ///< of this pixel
  Index kernel_width, out_width, channels;
  const T* dy;           ///< the image's
  const Winner* winner;  ///< the image's
  T* dx;

  template <class P>
  HEED_INLINE void at(Index channel) const {
    P sum = P::zero();
    for (Index a = 0; a < readers_y[0]; ++a)
      for (Index b = 0; b < readers_x[0]; ++b) {
        const Index window = (readers_y[1 + 2 * a] * out_width + readers_x[1 + 2 * b]) * channels + channel;
        const Index tap = readers_y[2 + 2 * a] * kernel_width + readers_x[2 + 2 * b];
        sum = sum + won<P, T>(P::load_numbers(winner + window), tap, P::load(dy + window));
      }
    sum.store(dx + channel);
  }
};

/// One window of a row of disjoint ones, and those of its taps that lie in a certain row of x: dx[tap, c] = dy[c] for the winner, else 0.
template <class T, class Winner, int Width>
struct MaxTaps {
  Index first, end, first_number, tap_pixel;
  const T* dy;
  const Winner* winner;
  T* dx;  ///< tap 0 of the row

  template <class P>
  HEED_INLINE void at(Index channel) const {
    const P d = P::load(dy + channel), w = P::load_numbers(winner + channel);
    if constexpr (Width > 0) {
#pragma GCC unroll 4
      for (int kx = 0; kx < Width; ++kx) won<P, T>(w, first_number + kx, d).store(dx + kx * tap_pixel + channel);
    } else {
      for (Index kx = first; kx < end; ++kx) won<P, T>(w, first_number + kx, d).store(dx + kx * tap_pixel + channel);
    }
  }
};

template <class T, class Winner>
struct MaxPoolGradientRow {
  const Pool2dGeometry& g;
  Index ky;
  const T* dy;
  const Winner* winner;
  T* dx;

  template <class Isa>
  HEED_INLINE static void run(
      const Pool2dGeometry* g, const Index* readers_y, const Readers* readers_x, const T* dy, const Winner* winner, T* dx) {
    if (g->disjoint()) {
      const bool tiled = readers_y[0] > 0 && g->stride[1] == g->kernel[1];  // side by side
      const Index covered = tiled ? std::clamp<Index>(g->position(1, g->out_size[1], 0), 0, g->size[1]) : 0;
      std::fill_n(dx + covered * g->channels, (g->size[1] - covered) * g->channels, T(0));  // pixels in no window
      if (readers_y[0] == 0) return;
      const Index window = readers_y[1] * g->out_size[1] * g->channels;
      for_each_window<Isa>(*g, MaxPoolGradientRow{*g, readers_y[2], dy + window, winner + window, dx});
    } else {
      MaxPixel<T, Winner> pixel{readers_y, readers_x->of(0), g->kernel[1], g->out_size[1], g->channels, dy, winner, dx};
      for (Index ix = 0; ix < g->size[1]; ++ix) {
        sweep_channels<Isa, T>(0, g->channels, pixel);
        pixel.readers_x += readers_x->row(), pixel.dx += g->channels;
      }
    }
  }
  template <class Isa, int Width>
  HEED_INLINE void window(Index ox, Index first, Index end) const {
    sweep_channels<Isa, T>(0, g.channels,
        MaxTaps<T, Winner, Width>{first, end, ky * g.kernel[1], g.dilation[1] * g.channels, dy + ox * g.channels, winner + ox * g.channels,
            dx + g.position(1, ox, 0) * g.channels});
  }
};

/// PoolDivisor::factor of all windows along an axis.
inline Tensor<double, 1> divisor_factors(const Pool2dGeometry& g, const PoolDivisor& divisor, int axis) {
  auto factors = Tensor<double, 1>::uninitialized({g.out_size[axis]});
  for (Index o = 0; o < g.out_size[axis]; ++o) factors[o] = divisor.factor(g, axis, o);
  return factors;
}

/// y[c] = factor * sum of x over the taps of a window.
template <class T, int Width>
struct AverageWindow {
  const T* x;                ///< tap (0, 0), which may lie outside of the image
  Index tap_row, tap_pixel;  ///< elements from tap to tap
  Index first[2], end[2];
  T factor;
  T* y;

  template <class P>
  HEED_INLINE void at(Index channel) const {
    P sum = P::zero();
    for (Index ky = first[0]; ky < end[0]; ++ky) {
      const T* row = x + ky * tap_row + channel;
      if constexpr (Width > 0) {
#pragma GCC unroll 4
        for (int kx = 0; kx < Width; ++kx) sum = sum + P::load(row + kx * tap_pixel);
      } else {
        for (Index kx = first[1]; kx < end[1]; ++kx) sum = sum + P::load(row + kx * tap_pixel);
      }
    }
    (sum * P::broadcast(factor)).store(y + channel);
  }
};

template <class T>
struct AveragePoolRow {
  const Pool2dGeometry& g;
  Index oy;
  double factor_y;
  const double* factors_x;
  const T* image;
  T* y;

  template <class Isa>
  HEED_INLINE static void run(const Pool2dGeometry* g, Index oy, double factor_y, const double* factors_x, const T* image, T* y) {
    for_each_window<Isa>(*g, AveragePoolRow{*g, oy, factor_y, factors_x, image, y});
  }
  template <class Isa, int Width>
  HEED_INLINE void window(Index ox, Index first, Index end) const {
    const Index row = g.size[1] * g.channels;
    const T* x = image + g.position(0, oy, 0) * row + g.position(1, ox, 0) * g.channels;
    sweep_channels<Isa, T>(0, g.channels,
        AverageWindow<T, Width>{x, g.dilation[0] * row, g.dilation[1] * g.channels, {g.first_tap(0, oy), first}, {g.end_tap(0, oy), end},
            T(factor_y * factors_x[ox]), y + ox * g.channels});
  }
};

/// dx[c] = sum over the windows that read the pixel of dy[c] / count of the window.
template <class T>
struct AveragePixel {
  const Index *readers_y, *readers_x;
  const double *factors_y, *factors_x;  ///< see PoolDivisor::factor
  Index out_width, channels;
  const T* dy;
  T* dx;

  template <class P>
  HEED_INLINE void at(Index channel) const {
    P sum = P::zero();
    for (Index a = 0; a < readers_y[0]; ++a)
      for (Index b = 0; b < readers_x[0]; ++b) {
        const Index oy = readers_y[1 + 2 * a], ox = readers_x[1 + 2 * b];
        sum = P::fma(P::load(dy + (oy * out_width + ox) * channels + channel), P::broadcast(T(factors_y[oy] * factors_x[ox])), sum);
      }
    sum.store(dx + channel);
  }
};

template <class T>
struct AveragePoolGradientRow {
  template <class Isa>
  HEED_INLINE static void run(const Pool2dGeometry* g, const Index* readers_y, const Readers* readers_x, const double* factors_y,
      const double* factors_x, const T* dy, T* dx) {
    AveragePixel<T> pixel{readers_y, readers_x->of(0), factors_y, factors_x, g->out_size[1], g->channels, dy, dx};
    for (Index ix = 0; ix < g->size[1]; ++ix) {
      sweep_channels<Isa, T>(0, g->channels, pixel);
      pixel.readers_x += readers_x->row(), pixel.dx += g->channels;
    }
  }
};

/// Rows that are worth a thread.
inline Index pool_grain(const Pool2dGeometry& g, Index row_pixels) { return 1 + 16384 / std::max<Index>(1, row_pixels * g.channels); }

}  // namespace detail

/// y[o, c] = max over the taps k in the image of x[o stride + k dilation - padding, c]; -inf where a window has none. `winner` (as y, or null)
/// gets the number of the first tap in scan order that has the maximum; Winner is uint8_t, or int32_t for more than 256 taps. NaN in a
/// window makes its y NaN. Parallel over rows of y.
template <class T, class Winner>
void max_pool2d_forward(const Pool2dGeometry& g, const T* x, T* y, Winner* winner) {
  const Index image = g.size[0] * g.size[1] * g.channels, row = g.out_size[1] * g.channels;
  parallel_for(g.images * g.out_size[0], detail::pool_grain(g, g.out_size[1]), [&](Index begin, Index end) {
    for (Index i = begin; i < end; ++i) {
      const Index oy = i % g.out_size[0];
      const T* from = x + i / g.out_size[0] * image;
      if (winner)
        dispatch<detail::MaxPoolRow<T, Winner>, T>(&g, oy, from, y + i * row, winner + i * row);
      else
        dispatch<detail::MaxPoolRow<T, void>, T>(&g, oy, from, y + i * row, static_cast<void*>(nullptr));
    }
  });
}

/// dx[i, c] = sum of dy[o, c] over the windows o whose winner is pixel i. Parallel over rows of x.
template <class T, class Winner>
void max_pool2d_backward(const Pool2dGeometry& g, const T* dy, const Winner* winner, T* dx) {
  const detail::Readers readers_y(g, 0), readers_x(g, 1);
  const Index out_image = g.out_size[0] * g.out_size[1] * g.channels, row = g.size[1] * g.channels;
  parallel_for(g.images * g.size[0], detail::pool_grain(g, g.size[1]), [&](Index begin, Index end) {
    for (Index i = begin; i < end; ++i) {
      const Index first = i / g.size[0] * out_image;
      dispatch<detail::MaxPoolGradientRow<T, Winner>, T>(
          &g, readers_y.of(i % g.size[0]), &readers_x, dy + first, winner + first, dx + i * row);
    }
  });
}

/// Where each y came from: indices[o, c] = row * width + column of the winner's pixel in its image, -1 for a window that has none (which has
/// won nothing). For use outside of training; not parallel.
template <class Winner>
void max_pool2d_indices(const Pool2dGeometry& g, const Winner* winner, std::int64_t* indices) {
  for (Index n = 0; n < g.images; ++n)
    for (Index oy = 0; oy < g.out_size[0]; ++oy)
      for (Index ox = 0; ox < g.out_size[1]; ++ox)
        for (Index c = 0; c < g.channels; ++c) {
          const Index tap = static_cast<Index>(*winner++);
          const Index iy = g.position(0, oy, tap / g.kernel[1]), ix = g.position(1, ox, tap % g.kernel[1]);
          const bool inside = iy >= 0 && iy < g.size[0] && ix >= 0 && ix < g.size[1];
          *indices++ = inside ? iy * g.size[1] + ix : -1;
        }
}

/// y[o, c] = sum over the taps in the image of x / divisor. Parallel over rows of y.
template <class T>
void avg_pool2d_forward(const Pool2dGeometry& g, const PoolDivisor& divisor, const T* x, T* y) {
  const auto factors_y = detail::divisor_factors(g, divisor, 0), factors_x = detail::divisor_factors(g, divisor, 1);
  const Index image = g.size[0] * g.size[1] * g.channels, row = g.out_size[1] * g.channels;
  parallel_for(g.images * g.out_size[0], detail::pool_grain(g, g.out_size[1]), [&](Index begin, Index end) {
    for (Index i = begin; i < end; ++i)
      dispatch<detail::AveragePoolRow<T>, T>(
          &g, i % g.out_size[0], factors_y[i % g.out_size[0]], factors_x.data(), x + i / g.out_size[0] * image, y + i * row);
  });
}

/// dx[i, c] = sum over the windows o that read pixel i of dy[o, c] / divisor(o). Parallel over rows of x.
template <class T>
void avg_pool2d_backward(const Pool2dGeometry& g, const PoolDivisor& divisor, const T* dy, T* dx) {
  const detail::Readers readers_y(g, 0), readers_x(g, 1);
  const auto factors_y = detail::divisor_factors(g, divisor, 0), factors_x = detail::divisor_factors(g, divisor, 1);
  const Index out_image = g.out_size[0] * g.out_size[1] * g.channels, row = g.size[1] * g.channels;
  parallel_for(g.images * g.size[0], detail::pool_grain(g, g.size[1]), [&](Index begin, Index end) {
    for (Index i = begin; i < end; ++i)
      dispatch<detail::AveragePoolGradientRow<T>, T>(
          &g, readers_y.of(i % g.size[0]), &readers_x, factors_y.data(), factors_x.data(), dy + i / g.size[0] * out_image, dx + i * row);
  });
}

}  // namespace heed::kernels
