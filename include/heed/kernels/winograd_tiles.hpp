// SPDX-License-Identifier: MIT
#pragma once

#include <heed/kernels/conv2d_patches.hpp>
#include <heed/kernels/pool2d.hpp>
#include <heed/kernels/tile.hpp>
#include <heed/kernels/winograd_transforms.hpp>

// Between the pixels of images and the points of Winograd's tiles (see winograd.hpp).

namespace heed::inline HEED_ABI::kernels {

/// Whether tiles can serve a correlation: a 3x3 kernel, neighbouring pixels, one group.
inline bool fits_winograd(const Correlation& c) {
  const auto plain = [](const CorrelationAxis& axis) {
    return axis.taps == 3 && axis.step == 1 && axis.spacing == 1 && axis.tap_step == 1;
  };
  return c.groups == 1 && plain(c.axis[0]) && plain(c.axis[1]);
}

namespace detail {

/// How the targets of an axis are cut into tiles. The first of a tile's points (0) serves its first target alone, the last one (infinity) its last: so what the
/// last tile lacks costs nothing. Where it has a target less than others it begins a target earlier, with one that its neighbour makes, and does without the
/// first point; where it has two or three less it does without the last point, too. So 15 targets take 23 points, not 24, 14 take 22, 7 take 11, 3 take 5, and
/// the 14 have the bits of the first 14 of the 15.
template <int Size>
struct WinogradAxis {
  static constexpr int side = Size + 2;
  Index tiles;
  bool overlaps, ends;  ///< the last tile: its first target is its neighbour's, so that it has no first point; it has no last one either

  explicit WinogradAxis(Index targets) : tiles((targets + Size - 1) / Size) {
    const Index missing = tiles * Size - targets;
    overlaps = missing > 0, ends = missing > 1;
  }
  HEED_INLINE bool overlaps_at(Index tile) const { return overlaps && tile + 1 == tiles; }
  HEED_INLINE Index first_target(Index tile) const { return tile * Size - (overlaps_at(tile) ? 1 : 0); }
  /// Whether a point is one of those that the last tile does without.
  bool is_spared(int point) const { return point == 0 ? overlaps : point == side - 1 && ends; }
  Index points() const { return tiles * side - (overlaps ? 1 : 0) - (ends ? 1 : 0); }
};

/// A tile: its number, its image, and where in it.
struct WinogradPlace {
  Index tile, image, row, col;
};

/// How targets are cut into tiles, numbered image by image and row by row.
template <int Size>
struct WinogradTiles {
  static constexpr int side = Size + 2, points = side * side;
  Correlation c;
  WinogradAxis<Size> axis[2];
  Index rows, cols, count;

  explicit WinogradTiles(const Correlation& correlation)
      : c(correlation),
        axis{WinogradAxis<Size>(c.axis[0].targets), WinogradAxis<Size>(c.axis[1].targets)},
        rows(axis[0].tiles),
        cols(axis[1].tiles),
        count(c.images * rows * cols) {}

  WinogradPlace place(Index tile) const { return {tile, tile / (rows * cols), tile / cols % rows, tile % cols}; }
  /// The next place. (Divisions at each tile took a tenth of a convolution of 3 channels.)
  HEED_INLINE void next(WinogradPlace& at) const {
    ++at.tile;
    if (++at.col == cols) at.col = 0, ++at.row;
    if (at.row == rows) at.row = 0, ++at.image;
  }
  /// Whether a tile's first target along an axis is its neighbour's.
  HEED_INLINE bool overlaps(const WinogradPlace& at, int i) const { return axis[i].overlaps_at(i == 0 ? at.row : at.col); }

  /// Pointers to the side x side source pixels of a tile; those outside of the image point to `zeros`.
  template <class T>
  HEED_INLINE void source(const WinogradPlace& tile, const T* x, const T* zeros, const T* (&at)[points]) const {
    const Index sizes[2] = {c.axis[0].source_size, c.axis[1].source_size};
    pixels<side>(
        tile, first_target(tile, 0) + c.axis[0].origin, first_target(tile, 1) + c.axis[1].origin, sizes, c.source_channels, x, zeros, at);
  }
  Index source_pixels() const { return c.images * c.axis[0].source_size * c.axis[1].source_size; }
  /// Has `ahead` ask for `channels` of the source pixels, or of the targets, that `number` tiles from `tile` on meet first.
  /// @{
  template <class T>
  void fetch_source(Index tile, Index number, Index channels, const T* x, FetchAhead& ahead) const {
    fetch_pixels(tile, number, {c.axis[0].source_size, c.axis[1].source_size}, c.source_channels, channels, x, ahead);
  }
  template <class T>
  void fetch_targets(Index tile, Index number, Index channels, const T* y, FetchAhead& ahead) const {
    fetch_pixels(tile, number, {c.axis[0].targets, c.axis[1].targets}, c.target_channels, channels, y, ahead);
  }
  /// @}
  /// Pointers to the Size x Size targets of a tile; those outside of the image and those of a neighbour point to `elsewhere`.
  template <class T>
  HEED_INLINE void targets(const WinogradPlace& tile, T* y, T* elsewhere, T* (&at)[Size * Size]) const {
    const Index sizes[2] = {c.axis[0].targets, c.axis[1].targets};
    pixels<Size>(tile, first_target(tile, 0), first_target(tile, 1), sizes, c.target_channels, y, elsewhere, at);
    for (int i = 0; i < Size; ++i) {
      if (overlaps(tile, 0)) at[i] = elsewhere;
      if (overlaps(tile, 1)) at[i * Size] = elsewhere;
    }
  }
  /// Pointers to the numbers of the windows of 2 x 2 targets of a tile, from its own first target on, in an image of these; those that reach beyond the image
  /// point to `elsewhere`.
  template <class T>
  HEED_INLINE void windows(const WinogradPlace& tile, T* y, T* elsewhere, T* (&at)[Size * Size / 4]) const {
    const Index sizes[2] = {c.axis[0].targets / 2, c.axis[1].targets / 2};
    pixels<Size / 2>(tile, tile.row * (Size / 2), tile.col * (Size / 2), sizes, c.target_channels, y, elsewhere, at);
  }

 private:
  HEED_INLINE Index first_target(const WinogradPlace& at, int i) const { return axis[i].first_target(i == 0 ? at.row : at.col); }
  /// Whole rows of pixels, which lie one behind the other; of tiles that are a part of a wide row their own pixels.
  template <class T>
  void fetch_pixels(Index tile, Index number, const Index (&size)[2], Index pixel, Index channels, const T* data, FetchAhead& ahead) const {
    if (tile >= count) return;
    const auto row = [&](Index t) {
      const WinogradPlace at = place(t);
      return at.image * size[0] + std::min(size[0], at.row * Size);
    };
    const Index first = row(tile), last = row(std::min(tile + number + cols - 1, count)), x = place(tile).col * Size;
    if (number >= cols) {
      ahead.add(data + first * size[1] * pixel, pixel, (last - first) * size[1], channels);
    } else {
      for (Index y = first; channels == pixel && y < first + Size && y / size[0] == first / size[0]; ++y)
        ahead.add(data + (y * size[1] + x) * pixel, pixel, std::min(number * Size, size[1] - x), channels);
    }
  }
  template <int Span, class T>
  HEED_INLINE void pixels(const WinogradPlace& tile, Index first_y, Index first_x, const Index (&size)[2], Index channels, T* data,
      T* outside, T* (&at)[Span * Span]) const {
    for (int i = 0; i < Span; ++i) {
      const Index y = first_y + i;
      T* const row = data + ((tile.image * size[0] + y) * size[1] + first_x) * channels;
      for (int j = 0; j < Span; ++j) {
        const Index x = first_x + j;
        at[i * Span + j] = y >= 0 && y < size[0] && x >= 0 && x < size[1] ? row + j * channels : outside;
      }
    }
  }
};

/// Tiles [first, last) in an order in which those that have a point lie one behind the other: those that overlap along both axes, along the first, along none,
/// along the second, each group in the order of numbers. `slot` is a tile's place.
template <int Size>
class WinogradBlock {
 public:
  static constexpr int side = WinogradTiles<Size>::side;
  const WinogradTiles<Size>& tiles;
  Index first, last;

  WinogradBlock(const WinogradTiles<Size>& all, Index first_tile, Index last_tile) : tiles(all), first(first_tile), last(last_tile) {
    Index in_group[4] = {};
    for (WinogradPlace at = tiles.place(first); at.tile < last; tiles.next(at)) ++in_group[group(at)];
    for (int g = 0; g < 4; ++g) begin_[g + 1] = begin_[g] + in_group[g];
  }
  /// The place of the next tile, for tiles that come in order; `taken`: four zeros at the beginning.
  HEED_INLINE Index slot(const WinogradPlace& at, Index (&taken)[4]) const {
    const int g = group(at);
    return begin_[g] + taken[g]++;
  }
  /// Places [begin, end) of the tiles that have a point.
  struct Range {
    Index begin, end;
  };
  Range with_point(int point) const {
    const bool no_rows = tiles.axis[0].is_spared(point / side), no_cols = tiles.axis[1].is_spared(point % side);
    return {begin_[no_rows ? 2 : no_cols ? 1 : 0], begin_[no_cols ? 3 : 4]};
  }

 private:
  HEED_INLINE int group(const WinogradPlace& at) const {
    const bool y = tiles.overlaps(at, 0), x = tiles.overlaps(at, 1);
    return y ? (x ? 0 : 1) : x ? 3 : 2;
  }
  Index begin_[5] = {};
};

/// The same channel of several places, each a pointer.
template <class T, class P>
struct Gather {
  const T* const* from;
  Index channel;
  HEED_INLINE P operator()(int i) const { return P::load(from[i] + channel); }
};
/// The same for `count` channels of a packet.
template <class T, class P>
struct GatherSome {
  const T* const* from;
  Index channel, count;
  HEED_INLINE P operator()(int i) const { return P::load_partial(from[i] + channel, count); }
};

/// A tile's pixels to `Rows` of its points, channel by channel; the body for `sweep_channels`.
template <class Line, class T, class Rows = Whole>
struct ToPoints {
  const T* const* from;
  T* to;
  Index point;

  template <class P>
  HEED_INLINE void at(Index channel) const {
    transform_square<Line, P, Rows>(Gather<T, P>{from, channel}, Strided<T, P>{to + channel, point});
  }
  template <class P>
  HEED_INLINE void some(Index channel, Index count) const {
    transform_square<Line, P, Rows>(GatherSome<T, P>{from, channel, count}, Strided<T, P>{to + channel, point});
  }
};

/// The instruction set of the four lanes within wider ones.
template <class Isa, class T, bool wide = (Packet<Isa, T>::lanes > 4)>
struct FourLanesOf {
  using type = Isa;
};
template <class Isa, class T>
struct FourLanesOf<Isa, T, true> : FourLanesOf<typename Narrower<Isa>::type, T> {};
template <class Isa, class T>
using FourLanes = typename FourLanesOf<Isa, T>::type;

/// Transformed tiles: number i of a tile's points lies at data[i * point + slot * row + channel], or, in panels of
/// `width` channels that are `panel` elements apart, at data[i * point + channel / width * panel + slot * row + channel % width].
template <class T>
struct PointRows {
  T* data;
  Index point, row;
  Index width, panel;

  /// What `Line` makes of the first `channels` of a tile's places `from`. Of the last up to three channels a packet of four is made where there is one: behind
  /// them there is room.
  template <class Isa, class Line, class Rows>
  HEED_INLINE void put(const T* const* from, Index channels, Index slot) const {
    using Few = Packet<FourLanes<Isa, T>, T>;
    T* to = data + slot * row;
    for (Index n = 0; n < channels; n += width, to += panel - width) {
      const ToPoints<Line, T, Rows> body{from, to, point};
      const Index end = std::min(channels, n + width), whole = Few::lanes == 4 ? end - (end - n) % 4 : end;
      sweep_channels<Isa, T>(n, whole, body);
      if (whole < end) body.template some<Few>(whole, end - whole);
    }
  }
};

/// Number i of a side x side square, or of its transpose.
template <int side, bool transposed>
HEED_INLINE int place(int i) {
  return transposed ? i % side * side + i / side : i;
}
/// Points of a tile, of which `data` holds those from number `first` on, and its targets, to which the bias is added on the way out or, in later parts,
/// what is there already.
template <int side, bool transposed, int first, class T, class P>
struct LoadPoints {
  const T* data;
  Index point;
  HEED_INLINE P operator()(int i) const { return P::load(data + (place<side, transposed>(i) - first) * point); }
};
template <int side, bool transposed, bool later, class T, class P>
struct AddTargets {
  T* const* to;
  Index channel;
  P bias;
  HEED_INLINE void operator()(int i, const P& value) const {
    T* const target = to[place<side, transposed>(i)] + channel;
    (value + (later ? P::load(target) : bias)).store(target);
  }
};

/// The same, kept.
template <class P>
struct KeepTargets {
  P* to;
  P bias;
  HEED_INLINE void operator()(int i, const P& value) const { to[i] = value + bias; }
};

/// The targets of a correlation, pixel by pixel.
template <class T>
struct AllTargets {
  T* y;

  template <int Size>
  struct Tile {
    T* to[Size * Size];

    HEED_INLINE Tile(const WinogradTiles<Size>& tiles, const AllTargets& all, const WinogradPlace& tile, Index n, T* elsewhere) {
      tiles.targets(tile, all.y + n, elsewhere, to);
    }
    template <Index width>
    HEED_INLINE void ask() const {
      for (int i = 0; i < Size * Size; ++i) ask_for<width>(to[i]);
    }
    template <class Line, class Rows, class P>
    HEED_INLINE void take(const P* middle, Index channel, const P& bias) const {
      constexpr bool part = !std::is_same_v<Rows, Whole>, later = Rows::first(Line::in) > 0;
      transform_rows<Line>(middle, AddTargets<Line::out, part, later, T, P>{to, channel, bias});
    }
  };
};

/// The largest of each window of 2 x 2 targets, and, unless Winner is void, the first tap that has it: what `max_pool2d_forward` makes of the targets, with
/// windows side by side and without those that reach beyond the image.
template <class T, class Winner>
struct LargestTargets {
  T* y;
  Winner* winner;

  template <int Size>
  struct Tile {
    static constexpr int count = Size * Size / 4;
    static constexpr bool kKeeps = !std::is_void_v<Winner>;
    using Place = std::conditional_t<kKeeps, Winner, std::uint8_t>;
    static constexpr Index kSpare = 64;  // a panel at least
    T* to[count];
    Place *winner[count], spare[kSpare];
    bool overlaps[2];

    HEED_INLINE Tile(const WinogradTiles<Size>& tiles, const LargestTargets& all, const WinogradPlace& tile, Index n, T* elsewhere)
        : overlaps{tiles.overlaps(tile, 0), tiles.overlaps(tile, 1)} {
      tiles.windows(tile, all.y + n, elsewhere, to);
      if constexpr (kKeeps) tiles.windows(tile, all.winner + n, spare, winner);
    }
    template <Index width>
    HEED_INLINE void ask() const {}  // a quarter of the lines: not worth it
    template <class Line, class Rows, class P>
    HEED_INLINE void take(const P* middle, Index channel, const P& bias) const {
      static_assert(std::is_same_v<Rows, Whole>, "targets must be complete before the largest is known");
      P target[Size * Size];
      transform_rows<Line>(middle, KeepTargets<P>{target, bias});
      if constexpr (Size > 2) {  // a tile's own targets may begin with the second
        if (overlaps[0])
#pragma GCC unroll 16
          for (int i = 0; i + Size < Size * Size; ++i) target[i] = target[i + Size];
        if (overlaps[1])
#pragma GCC unroll 16
          for (int i = 0; i + 1 < Size * Size; ++i) target[i] = target[i + 1];
      }
#pragma GCC unroll 4
      for (int w = 0; w < count; ++w) {
        const P* const first = target + w / (Size / 2) * 2 * Size + w % (Size / 2) * 2;
        P best = P::broadcast(T(-HUGE_VAL)), nan = P::zero(), place = P::zero();
#pragma GCC unroll 4
        for (int tap = 0; tap < 4; ++tap) take_larger(first[tap / 2 * Size + tap % 2], P::broadcast(T(tap)), best, place, nan);
        P::nan_or(nan, best).store(to[w] + channel);
        if constexpr (kKeeps) place.store_numbers(winner[w] + channel);
      }
    }
  };
};

/// What `Rows` of a tile's points give to its targets. A part is transposed, since transform_square takes some columns; the whole is not, which would cost a
/// convolution of 64 channels 5 %.
template <class Line, class T, class Rows, class Tile>
struct FromPoints {
  const T* from;
  Index point;
  const T* bias;
  const Tile& to;

  template <class P>
  HEED_INLINE void at(Index channel) const {
    constexpr bool part = !std::is_same_v<Rows, Whole>;
    P middle[Line::out * Line::in];
    transform_columns<Line, P, Rows>(LoadPoints<Line::in, part, Rows::first(Line::in) * Line::in, T, P>{from + channel, point}, middle);
    to.template take<Line, Rows>(middle, channel, P::load(bias + channel));
  }
};

/// Tiles' products with a panel of kernels, made before.
template <class T>
struct MadeProducts {
  PointRows<T> rows;

  /// The first `channels` targets of a tile.
  template <class Isa, class Line, class Rows, class Tile>
  HEED_INLINE void put(Index slot, Index channels, const T* bias, const Tile& to) const {
    sweep_channels<Isa, T>(0, channels, FromPoints<Line, T, Rows, Tile>{rows.data + slot * rows.row, rows.point, bias, to});
  }
};

/// `Rows` of Bᵀ d B for the first `channels` of a block of tiles.
template <int Size, class T, class Rows = Whole>
struct TransformSource {
  template <class Isa>
  HEED_INLINE static void run(const WinogradBlock<Size>* block, Index channels, const T* x, const T* zeros, const PointRows<T>* to) {
    const T* from[WinogradTiles<Size>::points];
    Index taken[4] = {};
    for (WinogradPlace at = block->tiles.place(block->first); at.tile < block->last; block->tiles.next(at)) {
      block->tiles.source(at, x, zeros, from);
      to->template put<Isa, WinogradSource<Size, T>, Rows>(from, channels, block->slot(at, taken));
    }
  }
};

/// `Rows` of A dy Aᵀ for the same tiles.
template <int Size, class T, class Rows>
struct TransformTargetGradient {
  template <class Isa>
  HEED_INLINE static void run(const WinogradBlock<Size>* block, Index channels, const T* dy, const T* zeros, const PointRows<T>* to) {
    const T* from[Size * Size];
    Index taken[4] = {};
    for (WinogradPlace at = block->tiles.place(block->first); at.tile < block->last; block->tiles.next(at)) {
      block->tiles.targets(at, dy, zeros, from);
      to->template put<Isa, WinogradTargetGradient<Size, T>, Rows>(from, channels, block->slot(at, taken));
    }
  }
};

/// y = Aᵀ m A + bias for channels [n, n + width) of the tiles, as far as `Rows` of m bring it, in `Targets`. The lines that the next tile will write are asked
/// for, since a store waits for the line that it goes to (Granite Rapids, whole convolutions: 7 to 14 %; the next tile's source pixels, when the source is
/// transformed: 0 to 10 % slower).
template <int Size, class T, class Rows, class Products, class Targets>
struct TransformTargets {
  template <class Isa>
  HEED_INLINE static void run(
      const WinogradBlock<Size>* block, Index n, const Products* products, const T* bias, T* elsewhere, const Targets* targets) {
    using Tile = typename Targets::template Tile<Size>;
    const WinogradTiles<Size>& tiles = block->tiles;
    constexpr Index width = TileShape<Isa>::vectors * Packet<Isa, T>::lanes;
    Index taken[4] = {};
    for (WinogradPlace at = tiles.place(block->first), ahead = at; at.tile < block->last; at = ahead) {
      Tile to(tiles, *targets, at, n, elsewhere);  // not const: it may write to a spare place of its own
      tiles.next(ahead);
      if (ahead.tile < block->last) Tile(tiles, *targets, ahead, n, elsewhere).template ask<width>();
      products->template put<Isa, WinogradTarget<Size, T>, Rows>(
          block->slot(at, taken), std::min(width, tiles.c.target_channels - n), bias + n, to);
    }
  }
};

}  // namespace detail

}  // namespace heed::inline HEED_ABI::kernels
