// SPDX-License-Identifier: MIT
#pragma once

#include <cmath>
#include <cstdint>

#include <heed/core/parallel.hpp>
#include <heed/kernels/channel_sweep.hpp>
#include <heed/kernels/fetch_ahead.hpp>

// How the windows of a pooling lie on channels-last images, and who walks them.

namespace heed::inline HEED_ABI::kernels {

/// The numbers of a 2-d pooling. Pairs are {vertical, horizontal}. A sequence is an image of height 1.
struct Pool2dGeometry {
  Index images;                                         ///< in the batch
  Index size[2], out_size[2], channels;                 ///< pixels of x and y, and their channels
  Index kernel[2], stride[2], padding[2], dilation[2];  ///< padding: before the first row and column
  Index padding_end[2];                                 ///< behind the last; averages may count it

  /// Taps of a window.
  Index taps() const { return kernel[0] * kernel[1]; }
  /// Position of tap `k` of window `o`.
  Index position(int axis, Index o, Index k) const { return o * stride[axis] + k * dilation[axis] - padding[axis]; }
  /// First tap of window `o` that lies in the image, and one past the last.
  Index first_tap(int axis, Index o) const {
    const Index start = position(axis, o, 0);
    return start >= 0 ? 0 : std::min(kernel[axis], (-start + dilation[axis] - 1) / dilation[axis]);
  }
  /// One behind the last tap of window o that lies inside of the image.
  Index end_tap(int axis, Index o) const {
    const Index start = position(axis, o, 0);
    if (start + (kernel[axis] - 1) * dilation[axis] < size[axis]) return kernel[axis];  // mostly, and without a division
    return start >= size[axis] ? 0 : (size[axis] - 1 - start) / dilation[axis] + 1;
  }
  /// Windows [first_window, end_window) have tap `k` in the image; there may be none.
  Index first_window(int axis, Index k) const {
    const Index start = position(axis, 0, k);
    return start >= 0 ? 0 : (-start + stride[axis] - 1) / stride[axis];
  }
  /// One behind the last window that has tap k in the image.
  Index end_window(int axis, Index k) const {
    const Index start = position(axis, 0, k), room = size[axis] - 1 - start;
    if ((out_size[axis] - 1) * stride[axis] <= room) return out_size[axis];  // mostly, and without a division
    return room < 0 ? 0 : room / stride[axis] + 1;
  }
  /// Windows [inner_begin, inner_end) have all their taps in the image; there may be none.
  Index inner_begin(int axis) const { return std::min(out_size[axis], (padding[axis] + stride[axis] - 1) / stride[axis]); }
  /// One behind the last window that lies inside of the image altogether.
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
  bool count_include_pad = true;  ///< taps on the border count, as in torch
  Index fixed = 0;                ///< a divisor for all windows; 0: the counted taps

  /// The factor of 1 / divisor that belongs to window `o` of an axis. 0 where nothing is counted.
  double factor(const Pool2dGeometry& g, int axis, Index o) const {
    const Index divisor = fixed == 0 ? g.counted(axis, o, count_include_pad) : axis == 0 ? fixed : 1;
    return divisor == 0 ? 0 : 1 / static_cast<double>(divisor);
  }
};

/// Windows along an axis: ⌊(size + padding + padding_end - dilation (kernel - 1) - 1) / stride⌋ + 1, or with ceil mode ⌈…⌉ + 1 as long as the last
/// window starts in the image or the padding before it (torch.nn.MaxPool2d, ONNX MaxPool). 0 if the kernel does not fit.
inline Index pool2d_windows(Index size, Index kernel, Index stride, Index padding, Index padding_end, Index dilation, bool ceil_mode) {
  const Index room = size + padding + padding_end - dilation * (kernel - 1) - 1 + (ceil_mode ? stride - 1 : 0);
  if (room < 0) return 0;
  const Index windows = room / stride + 1;
  return ceil_mode && (windows - 1) * stride >= size + padding ? windows - 1 : windows;
}

namespace detail {

/// Who reads the input positions along an axis: of(i) is a count, and then so many pairs of a window and the tap through which it reads i.
class Readers {
 public:
  Readers(const Pool2dGeometry& g, int axis)
      : row_(1 + 2 * std::min(g.kernel[axis], g.dilation[axis] * (g.kernel[axis] - 1) / g.stride[axis] + 1)),
        table_(Tensor<Index, 1>::uninitialized({g.size[axis] * row_})) {
    for (Index i = 0; i < g.size[axis]; ++i) table_[i * row_] = 0;
    for (Index o = g.out_size[axis]; o-- > 0;)
      for (Index k = g.first_tap(axis, o); k < g.end_tap(axis, o); ++k) {
        Index* row = table_.data() + g.position(axis, o, k) * row_;
        row[1 + 2 * row[0]] = o, row[2 + 2 * row[0]] = k, ++row[0];
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
/// are 2 or 3 wide know so when they are compiled; Width 0 is any other. [begin, end) are g.inner_begin(1) and g.inner_end(1).
template <class Isa, class Row>
HEED_INLINE void for_each_window(const Pool2dGeometry& g, Index begin, Index end, const Row& row) {
  const Index width = g.kernel[1];
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

/// The taps in the image of a window, or of many whose elements lie side by side: that of row ky and column kx of element c is x[ky row + kx pixel + c].
template <class T>
struct WindowTaps {
  const T* x;        ///< tap (0, 0), which may lie outside of the image
  Index row, pixel;  ///< elements from tap to tap
  Index first[2], end[2];
};

/// The taps of a row of windows that lie in the image, and tap (0, 0) of its first window. (Found window by window, with divisions, they took longer
/// than the pooling of up to 20 channels.)
template <class T>
struct PoolRow {
  const T* x;
  Index tap_row, tap_pixel, window, first, end;

  PoolRow(const Pool2dGeometry& g, Index oy, const T* image)
      : x(image + (g.position(0, oy, 0) * g.size[1] + g.position(1, 0, 0)) * g.channels),
        tap_row(g.dilation[0] * g.size[1] * g.channels),
        tap_pixel(g.dilation[1] * g.channels),
        window(g.stride[1] * g.channels),
        first(g.first_tap(0, oy)),
        end(g.end_tap(0, oy)) {}
  /// Those of window ox and its columns [first_column, end_column).
  HEED_INLINE WindowTaps<T> taps(Index ox, Index first_column, Index end_column) const {
    return {x + ox * window, tap_row, tap_pixel, {first, first_column}, {end, end_column}};
  }
};

/// A walk over the rows of all images' y: number `row`, which is row `oy` of the image whose x begins `image` elements behind the first.
struct RowWalk {
  const Pool2dGeometry& g;
  Index row, oy, image;

  RowWalk(const Pool2dGeometry& geometry, Index first)
      : g(geometry), row(first), oy(first % g.out_size[0]), image(first / g.out_size[0] * image_size()) {}
  void next() {
    ++row;
    if (++oy == g.out_size[0]) oy = 0, image += image_size();
  }
  /// Where the row of y begins.
  Index out() const { return row * g.out_size[1] * g.channels; }

 private:
  Index image_size() const { return g.size[0] * g.size[1] * g.channels; }
};

/// Clears the rows of dx from a row of disjoint windows down to the next one; those above the first and behind the last belong to these.
template <class T>
void clear_band(const Pool2dGeometry& g, Index oy, T* dx) {
  const Index row = g.size[1] * g.channels, top = oy == 0 ? 0 : std::clamp<Index>(g.position(0, oy, 0), 0, g.size[0]);
  const Index bottom = oy + 1 == g.out_size[0] ? g.size[0] : std::clamp<Index>(g.position(0, oy + 1, 0), 0, g.size[0]);
  std::fill_n(dx + top * row, (bottom - top) * row, T(0));
}

/// PoolDivisor::factor of all windows along an axis.
inline Tensor<double, 1> divisor_factors(const Pool2dGeometry& g, const PoolDivisor& divisor, int axis) {
  auto factors = Tensor<double, 1>::uninitialized({g.out_size[axis]});
  for (Index o = 0; o < g.out_size[axis]; ++o) factors[o] = divisor.factor(g, axis, o);
  return factors;
}

/// How far ahead of its reads a row of windows asks, see `fetch_distance`. Where windows overlap, their lines would be asked for many times.
template <class T>
Index pool_ahead(const Pool2dGeometry& g) {
  return g.disjoint() ? fetch_distance<T>(g.images * g.channels * (g.size[0] * g.size[1] + g.out_size[0] * g.out_size[1])) : 0;
}

/// Rows that are worth a thread.
inline Index pool_grain(const Pool2dGeometry& g, Index row_pixels) { return 1 + 16384 / std::max<Index>(1, row_pixels * g.channels); }

}  // namespace detail

}  // namespace heed::inline HEED_ABI::kernels
