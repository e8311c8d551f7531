// SPDX-License-Identifier: MIT
#pragma once

#include <heed/core/prepared_weights.hpp>
#include <heed/kernels/conv2d_patches.hpp>
#include <heed/kernels/winograd_kernels.hpp>

namespace heed::kernels {

// 3x3 convolutions of stride 1 with fewer multiplications (see winograd_transforms.hpp): a tile of Size x Size targets takes (Size + 2)²
// products a pair of channels instead of 9 Size², 16 for 36 with Size 2 and 36 for 144 with Size 4.
//
// Layout: "points" are the (Size + 2)² numbers of a transformed tile. Kernels: [panel][point][source channel][column]; a block of tiles: source
// [point][tile][channel], product [point][tile][column of a panel]. So each point is a plain product of register tiles. A block is two to five register
// tiles high: its source and the product of a panel stay in L2, and kernels (9 MB for 256 -> 256 channels) may come from L3 meanwhile. Parallel over
// blocks, and over panels where blocks are few. A target's sum runs over the channels in order: the same bits alone, in a batch, anywhere in it.
//
// Error: F(2x2) rounds about as the direct sum does; F(4x4) errs twice as much in the mean of squares, and at most 5e-6 of the largest result up to 512
// channels (tests/kernels/winograd_test.cpp has the bounds). A NaN or an infinity reaches every target of its tiles, as NaN.

/// Whether tiles can serve a correlation: a 3x3 kernel, neighbouring pixels, one group.
inline bool fits_winograd(const Correlation& c) {
  const auto plain = [](const CorrelationAxis& axis) {
    return axis.taps == 3 && axis.step == 1 && axis.spacing == 1 && axis.tap_step == 1;
  };
  return c.groups == 1 && plain(c.axis[0]) && plain(c.axis[1]);
}

/// What `Conv2dAlgorithm::automatic` stands for. Only float is worth it: double is for checking.
template <class T>
Conv2dAlgorithm fastest_algorithm(const Correlation& c) {
  constexpr Index kFewest = 16;  // channels: with fewer the transforms cost what the products save
  if (!std::is_same_v<T, float> || !fits_winograd(c) || std::min(c.source_channels, c.target_channels) < kFewest)
    return Conv2dAlgorithm::direct;
  // In products of two channels; transforms as measured (Granite Rapids, 64 -> 64 channels).
  const auto cost = [&](Index size, double transform) {
    const Index tiles = ((c.axis[0].targets + size - 1) / size) * ((c.axis[1].targets + size - 1) / size);
    const double channels = static_cast<double>(c.source_channels), others = static_cast<double>(c.target_channels);
    return static_cast<double>(tiles) *
           (static_cast<double>((size + 2) * (size + 2)) * channels * others + transform * (channels + others));
  };
  const double direct = 9.0 * static_cast<double>(c.pixels() * c.source_channels * c.target_channels), two = cost(2, 146),
               four = cost(4, 466);
  if (std::min(two, four) > 0.9 * direct) return Conv2dAlgorithm::direct;
  return two < four ? Conv2dAlgorithm::winograd_2x2 : Conv2dAlgorithm::winograd_4x4;
}

namespace detail {

/// How targets are cut into tiles, numbered image by image and row by row.
template <int Size>
struct WinogradTiles {
  static constexpr int side = Size + 2, points = side * side;
  Correlation c;
  Index rows, cols, count;

  explicit WinogradTiles(const Correlation& correlation)
      : c(correlation),
        rows((c.axis[0].targets + Size - 1) / Size),
        cols((c.axis[1].targets + Size - 1) / Size),
        count(c.images * rows * cols) {}

  /// Pointers to the side x side source pixels of a tile; those outside of the image point to `zeros`.
  template <class T>
  HEED_INLINE void source(Index tile, const T* x, const T* zeros, const T* (&at)[points]) const {
    const Index sizes[2] = {c.axis[0].source_size, c.axis[1].source_size};
    pixels<side>(tile, c.axis[0].origin, c.axis[1].origin, sizes, c.source_channels, x, zeros, at);
  }
  /// Pointers to the Size x Size targets of a tile; those outside of the image point to `elsewhere`.
  template <class T>
  HEED_INLINE void targets(Index tile, T* y, T* elsewhere, T* (&at)[Size * Size]) const {
    const Index sizes[2] = {c.axis[0].targets, c.axis[1].targets};
    pixels<Size>(tile, 0, 0, sizes, c.target_channels, y, elsewhere, at);
  }

 private:
  template <int Span, class T>
  HEED_INLINE void pixels(Index tile, Index origin_y, Index origin_x, const Index (&size)[2], Index channels, T* data, T* outside,
      T* (&at)[Span * Span]) const {
    const Index image = tile / (rows * cols), first_y = tile / cols % rows * Size + origin_y, first_x = tile % cols * Size + origin_x;
    for (int i = 0; i < Span; ++i) {
      const Index y = first_y + i;
      T* const row = data + ((image * size[0] + y) * size[1] + first_x) * channels;
      for (int j = 0; j < Span; ++j) {
        const Index x = first_x + j;
        at[i * Span + j] = y >= 0 && y < size[0] && x >= 0 && x < size[1] ? row + j * channels : outside;
      }
    }
  }
};

/// Transformed tiles: number i of a tile's points lies at data[i * point + tile * row + channel], or, in panels of
/// `width` channels that are `panel` elements apart, at data[i * point + channel / width * panel + tile * row + channel % width].
template <class T>
struct PointRows {
  T* data;
  Index point, row;
  Index width, panel;
};

/// The same channel of several places, each a pointer.
template <class T, class P>
struct Gather {
  const T* const* from;
  Index channel;
  HEED_INLINE P operator()(int i) const { return P::load(from[i] + channel); }
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

/// A tile's pixels to `Rows` of its points, channel by channel; the body for `sweep_channels`.
template <class Line, class T, class Rows = Whole>
struct ToPoints {
  const T* const* from;
  T* to;
  Index point;

  template <class P>
  HEED_INLINE void at(Index channel) const {
    transform_square<Line, P, Whole, Rows>(Gather<T, P>{from, channel}, Strided<T, P>{to + channel, point});
  }
};

/// What `Rows` of a tile's points give to its targets. A part is transposed, since transform_square takes some columns; the whole is not, which would cost a
/// convolution of 64 channels 5 %.
template <class Line, class T, class Rows>
struct FromPoints {
  const T* from;
  Index point;
  const T* bias;
  T* const* to;

  template <class P>
  HEED_INLINE void at(Index channel) const {
    constexpr bool part = !std::is_same_v<Rows, Whole>, later = Rows::first(Line::in) > 0;
    transform_square<Line, P, Rows>(LoadPoints<Line::in, part, Rows::first(Line::in) * Line::in, T, P>{from + channel, point},
        AddTargets<Line::out, part, later, T, P>{to, channel, P::load(bias + channel)});
  }
};

/// `Rows` of Bᵀ d B for the first `channels` of tiles [first, last), which become rows 0, 1, ... of `to`.
template <int Size, class T, class Rows = Whole>
struct TransformSource {
  template <class Isa>
  HEED_INLINE static void run(
      const WinogradTiles<Size>* tiles, Index first, Index last, Index channels, const T* x, const T* zeros, const PointRows<T>* to) {
    const T* at[WinogradTiles<Size>::points];
    for (Index tile = first; tile < last; ++tile) {
      tiles->source(tile, x, zeros, at);
      sweep_channels<Isa, T>(0, channels, ToPoints<WinogradSource<Size, T>, T, Rows>{at, to->data + (tile - first) * to->row, to->point});
    }
  }
};

/// `Rows` of A dy Aᵀ for the same tiles, in panels.
template <int Size, class T, class Rows>
struct TransformTargetGradient {
  template <class Isa>
  HEED_INLINE static void run(
      const WinogradTiles<Size>* tiles, Index first, Index last, Index channels, const T* dy, const T* zeros, const PointRows<T>* to) {
    const T* at[Size * Size];
    for (Index tile = first; tile < last; ++tile) {
      tiles->targets(tile, dy, zeros, at);
      for (Index n = 0; n < channels; n += to->width) {
        T* target = to->data + n / to->width * to->panel + (tile - first) * to->row - n;
        sweep_channels<Isa, T>(
            n, std::min(channels, n + to->width), ToPoints<WinogradTargetGradient<Size, T>, T, Rows>{at, target, to->point});
      }
    }
  }
};

/// y = Aᵀ m A + bias for channels [n, n + width) of the tiles, as far as `Rows` of m bring it.
template <int Size, class T, class Rows>
struct TransformTargets {
  template <class Isa>
  HEED_INLINE static void run(
      const WinogradTiles<Size>* tiles, Index first, Index last, Index n, const PointRows<T>* from, const T* bias, T* elsewhere, T* y) {
    T* at[Size * Size];
    for (Index tile = first; tile < last; ++tile) {
      tiles->targets(tile, y + n, elsewhere, at);
      sweep_channels<Isa, T>(0, std::min(from->width, tiles->c.target_channels - n),
          FromPoints<WinogradTarget<Size, T>, T, Rows>{from->data + (tile - first) * from->row, from->point, bias + n, at});
    }
  }
};

/// Work, in operations, below which waking threads costs more than it saves.
template <int Size>
bool too_small_for_threads(const WinogradTiles<Size>& tiles) {
  const double products = static_cast<double>(tiles.count * WinogradTiles<Size>::points);
  return 2 * products * static_cast<double>(tiles.c.source_channels * tiles.c.target_channels) < 1e6;
}

/// Elements from row to row of the transformed source: whole lines, never a multiple of 2 KiB apart, and more than kTileSlack of them spare.
template <class T>
Index source_row(Index channels) {
  const Index row = (channels + 15) / 16 * 16 + 16;
  return row * static_cast<Index>(sizeof(T)) % 2048 == 0 ? row + 16 : row;
}

/// `winograd_correlate` in `parts`: the points' rows in that many steps, each a pass over the targets.
template <int Size, int parts, class T>
void winograd_correlate_in_parts(
    const Correlation& c, const T* source, const T* weight, Index target_step, Index source_step, const T* bias, T* target) {
  const WinogradTiles<Size> tiles(c);
  constexpr int side = WinogradTiles<Size>::side, points = side * side;
  const KernelTaps kernel(c, target_step, source_step);
  const Index width = panel_width<T>(), panels = (c.target_channels + width - 1) / width, kernel_point = c.source_channels * width + 16,
              panel = points * kernel_point;
  const bool small = too_small_for_threads(tiles);
  const auto transform = [&](WinogradKernels<Size, T>& kernels) {
    // Thirty-two sources at a time balance two threads where there is one panel.
    constexpr Index kSources = 32;
    const Index source_parts = (c.source_channels + kSources - 1) / kSources;
    kernels.data.resize({panels * panel});
    parallel_for(panels * source_parts, small ? panels * source_parts : 1, [&](Index begin, Index end) {
      for (Index unit = begin; unit < end; ++unit) {
        const Index n = unit / source_parts * width, s = unit % source_parts * kSources;
        dispatch<TransformKernels<Size, T>, T>(&kernel, weight + n * target_step + s * source_step, std::min(width, c.target_channels - n),
            std::min(kSources, c.source_channels - s), kernels.data.data() + n / width * panel + s * width, kernel_point);
      }
    });
  };
  WinogradKernels<Size, T> own;
  // Both channels, the order of the axes and the direction of the taps: the whole layout.
  const auto& kernels = prepared(WeightRows<T>{weight, c.target_channels, 9 * c.source_channels, 9 * c.source_channels},
      {target_step, source_step, kernel.tap[0]}, own, transform);

  const Index tile = tile_rows<T>(), block = 30 / tile * tile, blocks = (tiles.count + block - 1) / block, threads = thread_count();
  const Index shares = threads > 1 && blocks < 4 * threads ? std::min(panels, (4 * threads + blocks - 1) / blocks) : 1;
  const Index panels_per_share = (panels + shares - 1) / shares, rows = block + kTileSlack, row = source_row<T>(c.source_channels);
  constexpr int held = points / parts;
  struct Scratch {
    Tensor<T, 1> source, product, zeros;
  };
  const auto make_scratch = [&] {
    return Scratch{Tensor<T, 1>::uninitialized({held * (rows * row + 16)}), Tensor<T, 1>::uninitialized({held * (rows * width + 16)}),
        Tensor<T, 1>({std::max(c.source_channels, width) + width})};
  };
  parallel_for(blocks * shares, small ? blocks * shares : 1, make_scratch, [&](Index begin, Index end, Scratch& scratch) {
    for (Index unit = begin; unit < end; ++unit) {
      const Index first = unit / shares * block, last = std::min(tiles.count, first + block), share = unit % shares;
      const T* const zeros = scratch.zeros.data() + width;
      const PointRows<T> from{scratch.source.data(), rows * row + 16, row, row, 0};
      const PointRows<T> product{scratch.product.data(), rows * width + 16, width, width, 0};
      const auto run = [&]<class Rows>(Rows) {
        dispatch<TransformSource<Size, T, Rows>, T>(&tiles, first, last, c.source_channels, source, zeros, &from);
        for (Index p = share * panels_per_share; p < std::min(panels, (share + 1) * panels_per_share); ++p) {
          const T* const right = kernels.data.data() + p * panel + Rows::first(side) * side * kernel_point;
          for (Index point = 0; point < held; ++point)
            multiply_tiles<T>({.rows = last - first,
                .cols = std::min(width, c.target_channels - p * width),
                .depth = c.source_channels,
                .a = from.data + point * from.point,
                .a_row = row,
                .a_step = 1,
                .b = right + point * kernel_point,
                .b_row = width,
                .b_panel = kernel_point,
                .c = product.data + point * product.point,
                .c_row = width,
                .slack = true,
                .whole_tiles = true});
          dispatch<TransformTargets<Size, T, Rows>, T>(&tiles, first, last, p * width, &product, bias, scratch.zeros.data(), target);
        }
      };
      static_assert(parts <= 2);
      run(Part<parts, 0>{});
      if constexpr (parts == 2) run(Part<2, 1>{});
    }
  });
}

}  // namespace detail

/// As `correlate`: target = bias + sum over taps and source channels; `bias` is padded to whole panels. The weight of target n, source s and tap k of the
/// 3x3 kernel lies at weight[n * target_step + s * source_step + k].
///
/// F(4x4) of more than 128 channels goes in two parts: a block's 36 points and the kernels of a panel are 2.3 MB at 256 channels, so each pushed the other
/// out of L2 (Granite Rapids: products at 55 % of the peak, in two parts at 63 %; three parts or larger blocks the same; up to 128 channels no gain).
template <int Size, class T>
void winograd_correlate(
    const Correlation& c, const T* source, const T* weight, Index target_step, Index source_step, const T* bias, T* target) {
  HEED_ASSERT(fits_winograd(c));
  constexpr Index kMostChannels = 128;
  if constexpr (Size == 4)
    if (c.source_channels > kMostChannels)
      return detail::winograd_correlate_in_parts<Size, 2>(c, source, weight, target_step, source_step, bias, target);
  detail::winograd_correlate_in_parts<Size, 1>(c, source, weight, target_step, source_step, bias, target);
}

/// d_weight[target n, source s, tap k] += sum over targets p of dy[p, n] x[p + k, s]; the weights of a target lie one behind the other.
///
/// A unit of work is a shard of the tiles by a block of at most 128 source and 128 target channels by, with F(4x4), half of the points: sums, 1.2 MB, and 64
/// transformed tiles, 1.3 MB, which come from L2 mostly. (Granite Rapids, blocks of 64 channels and 32 tiles, where all points are within 1.2 MB: 6 to 40 %
/// slower, most at 128 channels, which were transformed twice and whose sums were read twice as often; three parts, 48 or 96 tiles within 5 %. With
/// chunks of tiles in L3 two threads got 1.1 times as far as one.) Shards and blocks follow from the shapes, so the number of threads changes no bit.
template <int Size, class T>
void winograd_weight_gradient(const Correlation& c, const T* x, const T* dy, T* d_weight) {
  HEED_ASSERT(fits_winograd(c));
  constexpr Index kBlock = 128, kTiles = 64, kMostShards = 8;
  constexpr int side = detail::WinogradTiles<Size>::side, points = side * side, parts = Size == 4 ? 2 : 1, held = points / parts;
  const detail::WinogradTiles<Size> tiles(c);
  const Index width = panel_width<T>();
  // Channels in equal blocks, those of targets in whole panels.
  const Index source_blocks = (c.source_channels + kBlock - 1) / kBlock,
              source_block = (c.source_channels + source_blocks - 1) / source_blocks;
  const Index panels = (c.target_channels + width - 1) / width, panel_blocks = (panels * width + kBlock - 1) / kBlock;
  const Index block_panels = (panels + panel_blocks - 1) / panel_blocks, target_block = block_panels * width;
  const Index target_blocks = (panels + block_panels - 1) / block_panels, blocks = source_blocks * target_blocks;
  const Index tile_blocks = (tiles.count + kTiles - 1) / kTiles;
  const Index wanted = std::clamp<Index>(2 * kMostShards / (blocks * parts), 2, kMostShards), most = std::max<Index>(1, tile_blocks / 4);
  const Index shard_tiles = (tile_blocks + std::min(wanted, most) - 1) / std::min(wanted, most) * kTiles;
  const Index shards = (tiles.count + shard_tiles - 1) / shard_tiles;

  const Index sums_panel = source_block * width, sums_point = block_panels * sums_panel, sums_block = points * sums_point;
  auto sums = Tensor<T, 1>::uninitialized({shards * blocks * sums_block});
  const Tensor<T, 1> zeros({std::max(source_block, target_block)});
  const Index row = detail::source_row<T>(source_block), panel = kTiles * width;
  struct Scratch {
    Tensor<T, 1> source, gradient;
  };
  const auto make_scratch = [&] {
    Scratch scratch{
        Tensor<T, 1>::uninitialized({held * (kTiles * row + 16)}), Tensor<T, 1>::uninitialized({held * (block_panels * panel + 16)})};
    if (c.target_channels % target_block != 0) scratch.gradient.fill(T(0));  // whole panels are read
    return scratch;
  };
  const bool small = detail::too_small_for_threads(tiles);
  parallel_for(shards * blocks * parts, small ? shards * blocks * parts : 1, make_scratch, [&](Index begin, Index end, Scratch& scratch) {
    const detail::PointRows<T> from{scratch.source.data(), kTiles * row + 16, row, row, 0};
    const detail::PointRows<T> to{scratch.gradient.data(), block_panels * panel + 16, width, width, panel};
    for (Index unit = begin; unit < end; ++unit) {
      const Index shard = unit / (blocks * parts), block = unit / parts % blocks;
      const Index s = block / target_blocks * source_block, n = block % target_blocks * target_block;
      const Index sources = std::min(source_block, c.source_channels - s), targets = std::min(target_block, c.target_channels - n);
      const auto run = [&]<class Rows>(Rows) {
        T* const unit_sums = sums.data() + (shard * blocks + block) * sums_block + Rows::first(side) * side * sums_point;
        for (Index first = shard * shard_tiles; first < std::min(tiles.count, (shard + 1) * shard_tiles); first += kTiles) {
          const Index last = std::min(tiles.count, first + kTiles);
          dispatch<detail::TransformSource<Size, T, Rows>, T>(&tiles, first, last, sources, x + s, zeros.data(), &from);
          dispatch<detail::TransformTargetGradient<Size, T, Rows>, T>(&tiles, first, last, targets, dy + n, zeros.data(), &to);
          for (Index point = 0; point < held; ++point)
            for (Index p = 0; p * width < targets; ++p)
              multiply_tiles<T>({.rows = sources,
                  .cols = width,
                  .depth = last - first,
                  .a = from.data + point * from.point,
                  .a_row = 1,
                  .a_step = row,
                  .b = to.data + point * to.point + p * panel,
                  .b_row = width,
                  .b_panel = panel,
                  .c = unit_sums + point * sums_point + p * sums_panel,
                  .c_row = width,
                  .slack = true,
                  .accumulate = first > shard * shard_tiles});
        }
      };
      static_assert(parts <= 2);
      if (unit % parts == 0)
        run(Part<parts, 0>{});
      else
        run(Part<parts, parts - 1>{});
    }
  });
  const Index target_step = 9 * c.source_channels;
  const detail::KernelTaps kernel(c, target_step, 9);
  parallel_for(blocks * block_panels, small ? blocks * block_panels : 1, [&](Index begin, Index end) {
    for (Index unit = begin; unit < end; ++unit) {
      const Index block = unit / block_panels, p = unit % block_panels;
      const Index s = block / target_blocks * source_block, n = block % target_blocks * target_block + p * width;
      if (n >= c.target_channels || s >= c.source_channels) continue;
      dispatch<detail::AddKernelGradients<Size, T>, T>(&kernel, static_cast<const T*>(sums.data() + block * sums_block + p * sums_panel),
          sums_point, shards, blocks * sums_block, std::min(width, c.target_channels - n), std::min(source_block, c.source_channels - s),
          d_weight + n * target_step + s * 9);
    }
  });
}

}  // namespace heed::kernels
