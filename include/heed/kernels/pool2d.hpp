// SPDX-License-Identifier: MIT
#pragma once

#include <cmath>
#include <cstdint>

#include <heed/kernels/pool2d_few_channels.hpp>

// Pooling over windows of channels-last images: channels go to vector lanes, the taps of a window are walked. Where windows overlap, backward passes
// are written from the side of the input pixel (which windows look at me, and what do they send), so every dx is written once and rows are
// independent; disjoint windows send to their pixels themselves.

namespace heed::inline HEED_ABI::kernels {

namespace detail {

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

/// Asks for a row of taps `ahead` elements on, if that is not 0. Max-pool 2x2 on one thread of Zen 4, with winners, 64x32x32x64: 0.7 to 1.05 -> 0.47 to 0.6
/// ms, 256x31x31x24: 2.0 -> 1.0 to 1.3.
template <class P, int Width, class T>
HEED_INLINE void ask_ahead(const T* row, Index tap_pixel, Index ahead) {
  if (ahead == 0) return;
#pragma GCC unroll 4
  for (int kx = 0; kx < Width; ++kx) ask_for<P::lanes, 2>(row + (kx * tap_pixel + ahead));
}

/// One window: y[c] = max over its taps of x, winner[c] = the first tap that has it. Winner is void where nobody asks for it.
template <class T, class Winner, int Width>
struct MaxWindow {
  WindowTaps<T> taps;
  Index kernel_width, ahead;
  T* y;
  Winner* winner;

  template <class P>
  HEED_INLINE void at(Index channel) const {
    P best = P::broadcast(T(-HUGE_VAL)), nan = P::zero(), tap = number<P>(taps.first[0] * kernel_width + taps.first[1]), place = tap;
    for (Index ky = taps.first[0]; ky < taps.end[0]; ++ky) {
      const T* row = taps.x + ky * taps.row + channel;
      if constexpr (Width > 0) {
        ask_ahead<P, Width>(row, taps.pixel, ahead);
#pragma GCC unroll 4
        for (int kx = 0; kx < Width; ++kx) take(P::load(row + kx * taps.pixel), tap, best, place, nan);
      } else {
        for (Index kx = taps.first[1]; kx < taps.end[1]; ++kx) take(P::load(row + kx * taps.pixel), tap, best, place, nan);
        if constexpr (kKeeps) tap = tap + number<P>(kernel_width - taps.end[1] + taps.first[1]);
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

/// A window of a row of y.
template <class T, class Pool>
struct PoolWindow {
  const PoolRow<T>& row;
  const RowWalk& at;
  const Pool& pool;

  template <class Isa, int Width>
  HEED_INLINE void window(Index ox, Index first, Index end) const {
    pool.template elements<Isa, Width>(at.oy, ox, at.out() + ox * at.g.channels, at.g.channels, row.taps(ox, first, end));
  }
};

/// Rows [begin, end) of all images' y, by `pool.template elements<Isa, Width>(oy, ox, to, n, taps)`: elements [to, to + n) of y from their taps. They are those of
/// window (oy, ox), and there may follow those of other windows with all their taps. Width as in `for_each_window`.
template <class Isa, class T, class Pool>
HEED_INLINE void pool_rows(const Pool2dGeometry& g, Index begin, Index end, const T* x, const Pool& pool) {
  if constexpr (Packet<Isa, T>::lanes > 1) {
    if (FewChannels<Isa, T, Pool>::serve(g)) return FewChannels<Isa, T, Pool>(g, x, pool).rows(begin, end);
    if (g.channels < 4) return pool_rows<Scalar>(g, begin, end, x, pool);  // no vector is looked for at each window
  }
  const Index inner_begin = g.inner_begin(1), inner_end = g.inner_end(1);
  for (RowWalk at(g, begin); at.row < end; at.next()) {
    const PoolRow<T> row(g, at.oy, x + at.image);
    for_each_window<Isa>(g, inner_begin, inner_end, PoolWindow<T, Pool>{row, at, pool});
  }
}

template <class T, class Winner>
struct MaxPool {
  static bool few(Index channels) { return channels < 8 && channels != 4; }
  Index kernel_width, ahead;
  T* y;
  Winner* winner;

  template <class Isa>
  HEED_INLINE static void run(const Pool2dGeometry* g, Index begin, Index end, const T* x, T* y, Winner* winner) {
    pool_rows<Isa>(*g, begin, end, x, MaxPool{g->kernel[1], pool_ahead<T>(*g), y, winner});
  }
  template <class Isa, int Width>
  HEED_INLINE void elements(Index, Index, Index to, Index n, const WindowTaps<T>& taps) const {
    Winner* places = winner;
    if constexpr (!std::is_void_v<Winner>) places += to;
    sweep_channels<Isa, T>(0, n, MaxWindow<T, Winner, Width>{taps, kernel_width, ahead, y + to, places});
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

/// One window of a row of disjoint ones, and those of its taps that lie in a certain row of x: dx[tap, c] = dy[c] for the winner, else 0. (Asking for the lines that
/// later windows write took 1.4 times as long: whole lines are stored side by side, which need not be read at all.)
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
      for_each_window<Isa>(*g, g->inner_begin(1), g->inner_end(1), MaxPoolGradientRow{*g, readers_y[2], dy + window, winner + window, dx});
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

/// y[c] = factor * sum of x over the taps of a window.
template <class T, int Width>
struct AverageWindow {
  WindowTaps<T> taps;
  Index ahead;
  T factor;
  T* y;

  template <class P>
  HEED_INLINE void at(Index channel) const {
    P sum = P::zero();
    for (Index ky = taps.first[0]; ky < taps.end[0]; ++ky) {
      const T* row = taps.x + ky * taps.row + channel;
      if constexpr (Width > 0) {
        ask_ahead<P, Width>(row, taps.pixel, ahead);
#pragma GCC unroll 4
        for (int kx = 0; kx < Width; ++kx) sum = sum + P::load(row + kx * taps.pixel);
      } else {
        for (Index kx = taps.first[1]; kx < taps.end[1]; ++kx) sum = sum + P::load(row + kx * taps.pixel);
      }
    }
    (sum * P::broadcast(factor)).store(y + channel);
  }
};

template <class T>
struct AveragePool {
  static bool few(Index channels) { return channels < 4; }
  Index ahead;
  const double *factors_y, *factors_x;  ///< see PoolDivisor::factor
  T* y;

  template <class Isa>
  HEED_INLINE static void run(
      const Pool2dGeometry* g, Index begin, Index end, const double* factors_y, const double* factors_x, const T* x, T* y) {
    pool_rows<Isa>(*g, begin, end, x, AveragePool{pool_ahead<T>(*g), factors_y, factors_x, y});
  }
  template <class Isa, int Width>
  HEED_INLINE void elements(Index oy, Index ox, Index to, Index n, const WindowTaps<T>& taps) const {
    sweep_channels<Isa, T>(0, n, AverageWindow<T, Width>{taps, ahead, T(factors_y[oy] * factors_x[ox]), y + to});
  }
};

/// dx[tap, c] = factor * dy[c] for the taps of a window.
template <class T, int Width>
struct AverageTaps {
  WindowTaps<T> taps;
  T* dx;  ///< where the taps' x points
  T factor;
  const T* dy;

  template <class P>
  HEED_INLINE void at(Index channel) const {
    const P d = P::load(dy + channel) * P::broadcast(factor);
    for (Index ky = taps.first[0]; ky < taps.end[0]; ++ky) {
      T* row = dx + ky * taps.row + channel;
      if constexpr (Width > 0) {
#pragma GCC unroll 4
        for (int kx = 0; kx < Width; ++kx) d.store(row + kx * taps.pixel);
      } else {
        for (Index kx = taps.first[1]; kx < taps.end[1]; ++kx) d.store(row + kx * taps.pixel);
      }
    }
  }
};

/// Of disjoint windows.
template <class T>
struct AveragePoolScatter {
  const PoolRow<T>& row;
  T* dx;
  Index channels;
  double factor_y;
  const double* factors_x;
  const T* dy;

  template <class Isa>
  HEED_INLINE static void run(
      const Pool2dGeometry* g, Index begin, Index end, const double* factors_y, const double* factors_x, const T* dy, T* dx) {
    const Index inner_begin = g->inner_begin(1), inner_end = g->inner_end(1);
    for (RowWalk at(*g, begin); at.row < end; at.next()) {
      clear_band(*g, at.oy, dx + at.image);
      const PoolRow<T> row(*g, at.oy, dx + at.image);
      for_each_window<Isa>(
          *g, inner_begin, inner_end, AveragePoolScatter{row, dx, g->channels, factors_y[at.oy], factors_x, dy + at.out()});
    }
  }
  template <class Isa, int Width>
  HEED_INLINE void window(Index ox, Index first, Index end) const {
    const WindowTaps<T> taps = row.taps(ox, first, end);
    sweep_channels<Isa, T>(0, channels, AverageTaps<T, Width>{taps, dx + (taps.x - dx), T(factor_y * factors_x[ox]), dy + ox * channels});
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

}  // namespace detail

/// y[o, c] = max over the taps k in the image of x[o stride + k dilation - padding, c]; -inf where a window has none. `winner` (as y, or null)
/// gets the number of the first tap in scan order that has the maximum; Winner is uint8_t, or int32_t for more than 256 taps. NaN in a
/// window makes its y NaN. Parallel over rows of y.
template <class T, class Winner>
void max_pool2d_forward(const Pool2dGeometry& g, const T* x, T* y, Winner* winner) {
  parallel_for(g.images * g.out_size[0], detail::pool_grain(g, g.out_size[1]), [&](Index begin, Index end) {
    if (winner)
      dispatch<detail::MaxPool<T, Winner>, T>(&g, begin, end, x, y, winner);
    else
      dispatch<detail::MaxPool<T, void>, T>(&g, begin, end, x, y, static_cast<void*>(nullptr));
  });
}
HEED_COMPILE_ONCE(max_pool2d_forward, std::uint8_t);
HEED_COMPILE_ONCE(max_pool2d_forward, std::int32_t);

/// dx[i, c] = sum of dy[o, c] over the windows o whose winner is pixel i. Parallel over rows of x.
template <class T, class Winner>
void max_pool2d_backward(const Pool2dGeometry& g, const T* dy, const Winner* winner, T* dx) {
  if constexpr (sizeof(Winner) == 1) {
    if (g.channels <= (g.disjoint() ? detail::kDisjointScatter : detail::kOverlappingScatter))
      return parallel_for(g.images * g.size[0], detail::pool_grain(g, g.size[1]), [&](Index begin, Index end) {
        detail::for_channels(g.channels, detail::MaxScatter<T, Winner>{g, begin, end, dy, winner, dx});
      });
  }
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
HEED_COMPILE_ONCE(max_pool2d_backward, std::uint8_t);
HEED_COMPILE_ONCE(max_pool2d_backward, std::int32_t);

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
  parallel_for(g.images * g.out_size[0], detail::pool_grain(g, g.out_size[1]),
      [&](Index begin, Index end) { dispatch<detail::AveragePool<T>, T>(&g, begin, end, factors_y.data(), factors_x.data(), x, y); });
}
HEED_COMPILE_ONCE(avg_pool2d_forward);

/// dx[i, c] = sum over the windows o that read pixel i of dy[o, c] / divisor(o). Parallel over rows of x.
template <class T>
void avg_pool2d_backward(const Pool2dGeometry& g, const PoolDivisor& divisor, const T* dy, T* dx) {
  const auto factors_y = detail::divisor_factors(g, divisor, 0), factors_x = detail::divisor_factors(g, divisor, 1);
  if (g.channels <= 4) {
    const auto make_row = [&] { return Tensor<T, 1>::uninitialized({g.out_size[1] * g.channels}); };
    return parallel_for(g.images * g.size[0], detail::pool_grain(g, g.size[1]), make_row, [&](Index begin, Index end, Tensor<T, 1>& row) {
      detail::for_channels(g.channels, detail::AverageSpread<T>{g, begin, end, factors_y.data(), factors_x.data(), dy, dx, row.data()});
    });
  }
  if (g.disjoint())
    return parallel_for(g.images * g.out_size[0], detail::pool_grain(g, g.out_size[1] * g.taps()), [&](Index begin, Index end) {
      dispatch<detail::AveragePoolScatter<T>, T>(&g, begin, end, factors_y.data(), factors_x.data(), dy, dx);
    });
  const detail::Readers readers_y(g, 0), readers_x(g, 1);
  const Index out_image = g.out_size[0] * g.out_size[1] * g.channels, row = g.size[1] * g.channels;
  parallel_for(g.images * g.size[0], detail::pool_grain(g, g.size[1]), [&](Index begin, Index end) {
    for (Index i = begin; i < end; ++i)
      dispatch<detail::AveragePoolGradientRow<T>, T>(
          &g, readers_y.of(i % g.size[0]), &readers_x, factors_y.data(), factors_x.data(), dy + i / g.size[0] * out_image, dx + i * row);
  });
}
HEED_COMPILE_ONCE(avg_pool2d_backward);

}  // namespace heed::inline HEED_ABI::kernels
