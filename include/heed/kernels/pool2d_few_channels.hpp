// SPDX-License-Identifier: MIT
#pragma once

#include <cstring>

#include <heed/kernels/pool2d_windows.hpp>

// Pooling of images whose pixels do not fill a vector: lanes hold elements of many windows, which lie side by side in y. Where the stride is 1 they do so in x,
// too; else their taps are copied, tap by tap, into an array that lies as if one pixel had all these channels, and is pooled as one window. Backward passes walk
// numbers one by one, row by row of dx.

namespace heed::inline HEED_ABI::kernels::detail {

/// Calls `f.template run<C>()`, where C is `channels` up to 4, and for more 0.
template <class F>
HEED_INLINE void for_channels(Index channels, const F& f) {
  switch (channels) {
    case 1:
      return f.template run<1>();
    case 2:
      return f.template run<2>();
    case 3:
      return f.template run<3>();
    case 4:
      return f.template run<4>();
    default:
      return f.template run<0>();
  }
}

/// Copies the channels of the same tap of `count` windows to where they lie side by side. (By std::copy_n three numbers are a call: four times as long.)
template <class T>
struct GatherTaps {
  Index channels, count, window;  ///< up to 8 channels; window: elements of x from one to the next
  const T* x;
  T* to;

  template <int Channels>
  HEED_INLINE void run() const {
    if constexpr (Channels > 0)
      copy<Channels, 0>(Channels);
    else
      copy<4, 4>(channels);
  }

 private:
  /// `First` numbers from the first channel on, and those up to the last channel, which may overlap them.
  template <int First, int Last>
  HEED_INLINE void copy(Index n) const {
    const T* from = x;
    T* next = to;
    for (Index i = 0; i < count; ++i, from += window, next += n) {
      std::memcpy(next, from, sizeof(T) * First);
      if constexpr (Last > 0) std::memcpy(next + n - Last, from + n - Last, sizeof(T) * Last);
    }
  }
};

/// The same of two taps that lie side by side, with windows that do: pixels of one Unit go to one and the other array by turns.
template <class Unit>
struct SplitTaps {
  const char* x;
  char *even, *odd;

  template <class P>
  HEED_INLINE void at(Index i) const {
    constexpr Index size = static_cast<Index>(sizeof(Unit));
    P first, second;
    P::split_pairs(P::load_bytes(x + 2 * i * size), P::load_bytes(x + (2 * i + P::lanes) * size), first, second);
    first.store_bytes(even + i * size), second.store_bytes(odd + i * size);
  }
};

/// Rows of y of images of few channels, for `pool_rows`.
template <class Isa, class T, class Pool>
class FewChannels {
 public:
  /// Whether pixels are too small for vectors, rows are not, and the array holds a vector's elements and a pixel's for each tap.
  static bool serve(const Pool2dGeometry& g) {
    return Pool::few(g.channels) && g.out_size[1] * g.channels >= 8 &&
           (g.stride[1] == 1 || g.taps() * std::max<Index>(Packet<Isa, T>::lanes, g.channels) <= kElements);
  }

  FewChannels(const Pool2dGeometry& g, const T* x, const Pool& pool)
      : g_(g),
        x_(x),
        pool_(pool),
        begin_(g.inner_begin(1)),
        end_(g.inner_end(1)),
        room_(kElements / g.taps()),
        pixel_(static_cast<std::size_t>(g.channels) * sizeof(T)),
        pairs_(g.stride[1] == 2 && g.dilation[1] == 1 && (pixel_ == sizeof(float) || pixel_ == sizeof(double))) {}

  HEED_INLINE void rows(Index begin, Index end) {
    const bool wide = begin_ == 0 && end_ == g_.out_size[1];
    for (RowWalk at(g_, begin); at.row < end; at.next()) {
      const PoolRow<T> row(g_, at.oy, x_ + at.image);
      clipped(row, at, 0, begin_);
      if (g_.stride[1] == 1) {
        if (begin_ < end_) pool(at.oy, at.out() + begin_ * g_.channels, (end_ - begin_) * g_.channels, row.taps(begin_, 0, g_.kernel[1]));
      } else {
        const bool joins = wide && row.first == 0 && row.end == g_.kernel[0];  // the rows above and below, whose y is one run with its own
        if (!joins) flush();
        gather(row, at);
        if (!joins) flush();
      }
      clipped(row, at, end_, g_.out_size[1]);
    }
    flush();
  }

 private:
  static constexpr Index kElements = 1024;

  /// Windows that may have taps beside the image.
  HEED_INLINE void clipped(const PoolRow<T>& row, const RowWalk& at, Index begin, Index end) const {
    for (Index ox = begin; ox < end; ++ox)
      pool_.template elements<Isa, 0>(
          at.oy, ox, at.out() + ox * g_.channels, g_.channels, row.taps(ox, g_.first_tap(1, ox), g_.end_tap(1, ox)));
  }
  /// The other windows of a row, to the array, which is pooled whenever it is full.
  HEED_INLINE void gather(const PoolRow<T>& row, const RowWalk& at) {
    for (Index ox = begin_; ox < end_;) {
      if (held_ + g_.channels > room_) flush();
      if (held_ == 0) oy_ = at.oy, to_ = at.out() + ox * g_.channels, first_ = row.first, last_ = row.end;
      const Index count = std::min(end_ - ox, (room_ - held_) / g_.channels);
      for (Index ky = row.first; ky < row.end; ++ky) {
        const T* from = row.x + ox * row.window + ky * row.tap_row;
        T* to = array_ + ky * g_.kernel[1] * room_ + held_;
        for (Index kx = 0; kx < g_.kernel[1]; ++kx, from += row.tap_pixel, to += room_)
          if (pairs_ && kx + 1 < g_.kernel[1])
            split(count, from, to), ++kx, from += row.tap_pixel, to += room_;
          else
            for_channels(g_.channels, GatherTaps<T>{g_.channels, count, row.window, from, to});
      }
      held_ += count * g_.channels, ox += count;
    }
  }
  HEED_INLINE void split(Index count, const T* from, T* to) const {
    const auto* x = reinterpret_cast<const char*>(from);
    auto *even = reinterpret_cast<char*>(to), *odd = reinterpret_cast<char*>(to + room_);
    if (pixel_ == sizeof(float))
      sweep_channels<Isa, float>(0, count, SplitTaps<float>{x, even, odd});
    else
      sweep_channels<Isa, double>(0, count, SplitTaps<double>{x, even, odd});
  }
  HEED_INLINE void flush() {
    if (held_ > 0) pool(oy_, to_, held_, {array_, g_.kernel[1] * room_, room_, {first_, 0}, {last_, g_.kernel[1]}});
    held_ = 0;
  }
  /// Elements [to, to + n) of y, of whole windows.
  HEED_INLINE void pool(Index oy, Index to, Index n, const WindowTaps<T>& taps) const {
    if (g_.kernel[1] == 2)
      pool_.template elements<Isa, 2>(oy, begin_, to, n, taps);
    else if (g_.kernel[1] == 3)
      pool_.template elements<Isa, 3>(oy, begin_, to, n, taps);
    else
      pool_.template elements<Isa, 0>(oy, begin_, to, n, taps);
  }

  const Pool2dGeometry& g_;
  const T* x_;
  const Pool& pool_;
  Index begin_, end_;                                ///< windows of a row that have all their taps in the image
  Index room_;                                       ///< elements of the array for each tap
  std::size_t pixel_;                                ///< bytes
  bool pairs_;                                       ///< whether SplitTaps can take two taps
  Index held_ = 0, oy_ = 0, to_ = 0, first_, last_;  ///< of the array: elements, and their first one's row and place in y; rows of taps
  T array_[kElements];
};

/// Up to so many channels max-pooling's gradient walks numbers instead of vectors. (In packets each tap asks whether it won: 20 channels of disjoint windows took
/// twice as long; of windows 3x3 with stride 2, 24 as long, 12 three and 3 twelve times.)
inline constexpr Index kDisjointScatter = 63, kOverlappingScatter = 23;

/// Rows [begin, end) of all images' dx, image by image, for the windows that reach them.
template <class T>
class DxRows {
 public:
  DxRows(const Pool2dGeometry& g, Index begin, Index end, T* dx) : g_(g), begin_(begin), end_(end), dx_(dx) {}

  /// Calls f(number of the window's row in all images' y, oy, dx of the image, first, end): rows [first, end) of it are those of this walk. Rows are cleared right
  /// before the first window that reaches them.
  template <class F>
  HEED_INLINE void for_each_window_row(const F& f) const {
    const Index width = g_.size[1] * g_.channels;
    for (Index row = begin_; row < end_;) {
      const Index image = row / g_.size[0], first = row - image * g_.size[0], end = std::min(g_.size[0], first + end_ - row);
      T* dx = dx_ + image * g_.size[0] * width;
      Index cleared = first;
      const auto clear = [&](Index before) {
        if (before > cleared) std::fill_n(dx + cleared * width, (before - cleared) * width, T(0)), cleared = before;
      };
      const Index reach = first - g_.position(0, 0, g_.kernel[0] - 1);  // what the last tap of window 0 is short of
      for (Index oy = reach > 0 ? (reach + g_.stride[0] - 1) / g_.stride[0] : 0; oy < g_.out_size[0] && g_.position(0, oy, 0) < end; ++oy) {
        clear(std::min(g_.position(0, oy, g_.kernel[0] - 1) + 1, end));
        f(image * g_.out_size[0] + oy, oy, dx, first, end);
      }
      clear(end);
      row += end - first;
    }
  }

 private:
  const Pool2dGeometry& g_;
  Index begin_, end_;
  T* dx_;
};

/// Max-pooling's gradient, element by element: dx[winner] += dy.
template <class T, class Winner>
struct MaxScatter {
  const Pool2dGeometry& g;
  Index begin, end;  ///< rows of all images' dx
  const T* dy;
  const Winner* winner;
  T* dx;

  template <int Channels>
  HEED_INLINE void run() const {
    const Index channels = Channels > 0 ? Channels : g.channels, width = g.size[1] * channels;
    const Index inner_begin = g.inner_begin(1), inner_end = g.inner_end(1);
    const bool disjoint = g.disjoint();
    Index offset[256];
    for (Index ky = 0, tap = 0; ky < g.kernel[0]; ++ky)
      for (Index kx = 0; kx < g.kernel[1]; ++kx, ++tap) offset[tap] = ky * g.dilation[0] * width + kx * g.dilation[1] * channels;
    DxRows<T>(g, begin, end, dx).for_each_window_row([&](Index row, Index oy, T* image, Index first, Index last) {
      const T* d = dy + row * g.out_size[1] * channels;
      const Winner* w = winner + row * g.out_size[1] * channels;
      const auto clipped = [&](Index ox_begin, Index ox_end) {
        for (Index ox = ox_begin; ox < ox_end; ++ox)
          for (Index c = 0; c < channels; ++c) {
            const Index i = ox * channels + c, iy = g.position(0, oy, w[i] / g.kernel[1]), ix = g.position(1, ox, w[i] % g.kernel[1]);
            if (iy >= first && iy < last && ix >= 0 && ix < g.size[1]) image[iy * width + ix * channels + c] += d[i];
          }
      };
      if (g.first_tap(0, oy) >= g.end_tap(0, oy)) return;  // the image lies between the taps, and none has won
      clipped(0, inner_begin);
      const Index top = g.position(0, oy, 0), at = inner_begin * channels, count = inner_end - inner_begin;
      const Index x = top * width + g.position(1, inner_begin, 0) * channels;
      if (top < first || g.position(0, oy, g.kernel[0] - 1) >= last)
        inner<Channels>(count, offset, d + at, w + at, x, [=](Index to, T one) {
          if (to >= first * width && to < last * width) image[to] += one;
        });
      else if (disjoint)
        inner<Channels>(count, offset, d + at, w + at, x, [=](Index to, T one) { image[to] = one; });
      else
        inner<Channels>(count, offset, d + at, w + at, x, [=](Index to, T one) { image[to] += one; });
      clipped(inner_end, g.out_size[1]);
    });
  }

 private:
  /// f(place in the image, dy) for windows that have all their taps between the image's left and right.
  template <int Channels, class F>
  HEED_INLINE void inner(Index windows, const Index* offset, const T* d, const Winner* w, Index x, const F& f) const {
    const Index channels = Channels > 0 ? Channels : g.channels, window = g.stride[1] * channels;
    for (Index ox = 0; ox < windows; ++ox, x += window, d += channels, w += channels)
      for (Index c = 0; c < channels; ++c) f(x + c + offset[w[c]], d[c]);
  }
};

/// Average pooling's gradient of up to 4 channels.
template <class T>
struct AverageSpread {
  const Pool2dGeometry& g;
  Index begin, end;  ///< rows of all images' dx
  const double *factors_y, *factors_x;
  const T* dy;
  T *dx, *d;  ///< d: room for a row of y

  template <int Channels>
  HEED_INLINE void run() const {
    const Index channels = Channels > 0 ? Channels : g.channels, width = g.size[1] * channels, stride = g.stride[1];
    DxRows<T>(g, begin, end, dx).for_each_window_row([&](Index row, Index oy, T* image, Index first, Index last) {
      const T* from = dy + row * g.out_size[1] * channels;
      for (Index ox = 0; ox < g.out_size[1]; ++ox)
        for (Index c = 0; c < channels; ++c) d[ox * channels + c] = from[ox * channels + c] * T(factors_y[oy] * factors_x[ox]);
      for (Index ky = 0; ky < g.kernel[0]; ++ky) {
        const Index iy = g.position(0, oy, ky);
        if (iy < first || iy >= last) continue;
        for (Index kx = 0; kx < g.kernel[1]; ++kx) {
          const Index begin_x = g.first_window(1, kx), end_x = g.end_window(1, kx);
          T* x = image + iy * width + g.position(1, begin_x, kx) * channels;
          if (stride == 1) {
            for (Index i = begin_x * channels; i < end_x * channels; ++i) *x++ += d[i];
          } else {
            for (Index ox = begin_x; ox < end_x; ++ox, x += stride * channels)
              for (Index c = 0; c < channels; ++c) x[c] += d[ox * channels + c];
          }
        }
      }
    });
  }
};

}  // namespace heed::inline HEED_ABI::kernels::detail
