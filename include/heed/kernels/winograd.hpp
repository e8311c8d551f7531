// SPDX-License-Identifier: MIT
#pragma once

#include <heed/core/prepared_weights.hpp>
#include <heed/kernels/winograd_few_sources.hpp>
#include <heed/kernels/winograd_kernels.hpp>
#include <heed/kernels/winograd_tiles.hpp>

namespace heed::inline HEED_ABI::kernels {

// 3x3 convolutions of stride 1 with fewer multiplications (see winograd_transforms.hpp): a tile of Size x Size targets takes (Size + 2)²
// products a pair of channels instead of 9 Size², 16 for 36 with Size 2 and 36 for 144 with Size 4. The last tiles of an image take fewer where they are not
// whole (see WinogradAxis; Zen 4, F(4x4), one thread: maps of 15x15 1.05 times as fast, 14x14 1.13, 7x7 1.15, 3x3 1.38). F(4x4) of at most four source channels
// has a layout and products of its own, FewSources, which makes all points of every tile; what follows is the general way.
//
// Layout: "points" are the (Size + 2)² numbers of a transformed tile. Kernels: [panel][point][source channel][column]; a block of tiles: source
// [point][slot][channel], product [point][slot][column of a panel], where slots order the tiles such that those that have a point lie one behind the other (see
// WinogradBlock). So each point is a plain product of register tiles. A block is two to five register tiles high: its source and the product of a panel stay
// in L2, and kernels (9 MB for 256 -> 256 channels) may come from L3 meanwhile. Parallel over blocks, and over panels where blocks are few. A target's sum runs
// over the channels in order: the same bits alone, in a batch, anywhere in it.
//
// Error: F(2x2) rounds about as the direct sum does; F(4x4) errs in the mean of squares twice as much from 32 channels on, 3 times with 8 and 4.4
// with 3, where the direct sum hardly errs, and at most 5e-6 of the largest result up to 512 channels (tests/kernels/winograd_test.cpp has the bounds; 6e-7 with
// 3 channels). A NaN or an infinity can reach every target of its tiles, as NaN.

/// Whether a correlation's sources are so few that F(4x4) multiplies them tile by tile.
inline bool takes_few_sources(const Correlation& c) { return c.source_channels <= detail::FewSources<4, float>::most; }

/// What `Conv2dAlgorithm::automatic` stands for. Only float is worth it: double is for checking.
template <class T>
Conv2dAlgorithm fastest_algorithm(const Correlation& c) {
  if (!std::is_same_v<T, float> || !fits_winograd(c)) return Conv2dAlgorithm::direct;
  // In products of two channels. What a tile's transforms cost was fitted to forward passes, for which input gradients are taken, and weights' gradients of 616
  // shapes, 1 to 64 channels on maps of 2x2 to 32x32 (Zen 4, one thread; with these numbers the choice is 0.6 % slower than the best in the mean, and 1.3 times at
  // worst).
  const double channels = static_cast<double>(c.source_channels), others = static_cast<double>(c.target_channels);
  const double products = channels * std::max(others, 8.0);  // at a point: a vector of targets is not narrower
  const auto cost = [&](auto size, double transform) {
    const detail::WinogradAxis<size> rows(c.axis[0].targets), cols(c.axis[1].targets);
    return static_cast<double>(rows.points() * cols.points()) * products + static_cast<double>(rows.tiles * cols.tiles) * transform;
  };
  const double direct = 9.0 * static_cast<double>(c.pixels()) * products;
  const double two = cost(std::integral_constant<int, 2>(), 300 + 70 * (channels + others));
  const double four = cost(std::integral_constant<int, 4>(), takes_few_sources(c) ? 2900 + 134 * others : 2800 + 190 * (channels + others));
  if (std::min(two, four) >= 0.9 * direct) return Conv2dAlgorithm::direct;
  return two < four ? Conv2dAlgorithm::winograd_2x2 : Conv2dAlgorithm::winograd_4x4;
}

namespace detail {

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
template <int Size, int parts, class T, class Targets>
void winograd_correlate_in_parts(
    const Correlation& c, const T* source, const T* weight, Index target_step, Index source_step, const T* bias, const Targets& targets) {
  const WinogradTiles<Size> tiles(c);
  constexpr int side = WinogradTiles<Size>::side, points = side * side;
  const KernelTaps kernel(c, target_step, source_step);
  const bool small = too_small_for_threads(tiles), few = Size == 4 && takes_few_sources(c);
  const Index width = panel_width<T>(), panels = (c.target_channels + width - 1) / width;
  const Index kernel_point = few ? width : c.source_channels * width + 16, kernel_source = few ? points * width : width,
              panel = few ? c.source_channels * kernel_source : points * kernel_point;
  const auto transform = [&](WinogradKernels<Size, T>& kernels) {
    // Thirty-two sources at a time balance two threads where there is one panel.
    constexpr Index kSources = 32;
    const Index source_parts = (c.source_channels + kSources - 1) / kSources;
    kernels.data.resize({panels * panel});
    parallel_for(panels * source_parts, small ? panels * source_parts : 1, [&](Index begin, Index end) {
      for (Index unit = begin; unit < end; ++unit) {
        const Index n = unit / source_parts * width, s = unit % source_parts * kSources;
        dispatch<TransformKernels<Size, T>, T>(&kernel, weight + n * target_step + s * source_step, std::min(width, c.target_channels - n),
            std::min(kSources, c.source_channels - s), kernels.data.data() + n / width * panel + s * kernel_source, kernel_point,
            kernel_source);
      }
    });
  };
  WinogradKernels<Size, T> own;
  // Both channels, the order of the axes and the direction of the taps: the whole layout.
  const auto& kernels = prepared(WeightRows<T>{weight, c.target_channels, 9 * c.source_channels, 9 * c.source_channels},
      {target_step, source_step, kernel.tap[0]}, own, transform);

  const Index tile = tile_rows<T>(), block_tiles = 30 / tile * tile, blocks = (tiles.count + block_tiles - 1) / block_tiles,
              threads = thread_count();
  // Each share transforms its block's source anew: four units a thread to balance them, but one where there are fewer blocks than threads (one image through the
  // net `large`, two threads of Zen 4: 1.05).
  const Index units = blocks < threads ? threads : 4 * threads;
  const Index shares = threads > 1 && blocks < units ? std::min(panels, (units + blocks - 1) / blocks) : 1;
  const Index panels_per_share = (panels + shares - 1) / shares, rows = block_tiles + kTileSlack, row = source_row<T>(c.source_channels);
  constexpr int held = points / parts;
  struct Scratch {
    Tensor<T, 1> source, product, zeros;
  };
  const auto make_scratch = [&] {
    return Scratch{Tensor<T, 1>::uninitialized({held * (rows * row + 16)}),
        Tensor<T, 1>::uninitialized({few ? 0 : held * (rows * width + 16)}), Tensor<T, 1>({std::max(c.source_channels, width) + width})};
  };
  // The pixels of the next block, which this thread will probably take (Zen 4, one thread: 24 to 64 channels 0 to 14 %).
  const bool fetches = !few && shares == 1 && fetching_pays<T>(tiles.source_pixels() * c.source_channels);
  parallel_for(blocks * shares, small ? blocks * shares : 1, make_scratch, [&](Index begin, Index end, Scratch& scratch) {
    for (Index unit = begin; unit < end; ++unit) {
      const Index first = unit / shares * block_tiles, share = unit % shares;
      const WinogradBlock<Size> block(tiles, first, std::min(tiles.count, first + block_tiles));
      FetchAhead ahead;
      if (fetches) tiles.fetch_source(block.last, block_tiles, c.source_channels, source, ahead);
      const T* const zeros = scratch.zeros.data() + width;
      const auto from =
          few ? FewSources<Size, T>::rows(scratch.source.data()) : PointRows<T>{scratch.source.data(), rows * row + 16, row, row, 0};
      const PointRows<T> product{scratch.product.data(), rows * width + 16, width, width, 0};
      const auto run = [&](auto part) {
        using Rows = decltype(part);
        const auto transform_targets = [&](const auto& products, Index p) {
          using Products = std::decay_t<decltype(products)>;
          dispatch<TransformTargets<Size, T, Rows, Products, Targets>, T>(
              &block, p * width, &products, bias, scratch.zeros.data(), &targets);
        };
        dispatch<TransformSource<Size, T, Rows>, T>(&block, c.source_channels, source, zeros, &from);
        for (Index p = share * panels_per_share; p < std::min(panels, (share + 1) * panels_per_share); ++p) {
          const T* const right = kernels.data.data() + p * panel + Rows::first(side) * side * kernel_point;
          if constexpr (Size == 4 && parts == 1)
            if (few) {
              transform_targets(FewSources<Size, T>{from.data, right, c.source_channels}, p);
              continue;
            }
          for (int point = 0; point < held; ++point) {
            const auto [begin_slot, end_slot] = block.with_point(Rows::first(side) * side + point);
            multiply_tiles<T>({.rows = end_slot - begin_slot,
                                  .cols = std::min(width, c.target_channels - p * width),
                                  .depth = c.source_channels,
                                  .a = from.data + point * from.point + begin_slot * row,
                                  .a_row = row,
                                  .a_step = 1,
                                  .b = right + point * kernel_point,
                                  .b_row = width,
                                  .b_panel = kernel_point,
                                  .c = product.data + point * product.point + begin_slot * width,
                                  .c_row = width,
                                  .slack = true,
                                  .whole_tiles = true},
                &ahead);
          }
          transform_targets(MadeProducts<T>{product}, p);
        }
      };
      static_assert(parts <= 2);
      run(Part<parts, 0>{});
      if constexpr (parts == 2) run(Part<2, 1>{});
    }
  });
}

}  // namespace detail

/// Whether a correlation goes in two parts, each a pass over the targets: F(4x4) of more than 128 channels. A block's 36 points and the kernels of a panel
/// are 2.3 MB at 256 channels, so each pushed the other out of L2 (Granite Rapids: products at 55 % of the peak, in two parts at 63 %; three parts or
/// larger blocks the same; up to 128 channels no gain).
inline bool winograd_takes_parts(int size, const Correlation& c) {
  constexpr Index kMostChannels = 128;
  return size == 4 && c.source_channels > kMostChannels;
}

/// As `correlate`: target = bias + sum over taps and source channels; `bias` is padded to whole panels. The weight of target n, source s and tap k of the
/// 3x3 kernel lies at weight[n * target_step + s * source_step + k].
template <int Size, class T>
void winograd_correlate(
    const Correlation& c, const T* source, const T* weight, Index target_step, Index source_step, const T* bias, T* target) {
  HEED_ASSERT(fits_winograd(c));
  const detail::AllTargets<T> targets{target};
  if constexpr (Size == 4)
    if (winograd_takes_parts(Size, c))
      return detail::winograd_correlate_in_parts<Size, 2>(c, source, weight, target_step, source_step, bias, targets);
  detail::winograd_correlate_in_parts<Size, 1>(c, source, weight, target_step, source_step, bias, targets);
}

/// The same and a max-pooling over windows of 2 x 2 side by side, of which those that reach beyond the image are left out: y is as `max_pool2d_forward` makes it
/// of the targets, which are not stored, and so is `winner`; null: not wanted. Targets that no window reaches are not made. Not for correlations in two parts.
template <int Size, class T, class Winner>
void winograd_max_pool(
    const Correlation& c, const T* source, const T* weight, Index target_step, Index source_step, const T* bias, T* y, Winner* winner) {
  HEED_ASSERT(fits_winograd(c) && !winograd_takes_parts(Size, c));
  Correlation reached = c;
  for (CorrelationAxis& axis : reached.axis) axis.targets -= axis.targets % 2;
  if (reached.pixels() == 0) return;
  if (winner)
    detail::winograd_correlate_in_parts<Size, 1>(
        reached, source, weight, target_step, source_step, bias, detail::LargestTargets<T, Winner>{y, winner});
  else
    detail::winograd_correlate_in_parts<Size, 1>(
        reached, source, weight, target_step, source_step, bias, detail::LargestTargets<T, void>{y, nullptr});
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
  // The next tiles are on their way (Zen 4, one thread: 24 channels 1.5 times as fast, 64 1.3, 256 1.06 and more).
  const bool fetches = fetching_pays<T>(tiles.source_pixels() * (c.source_channels + c.target_channels));
  const bool small = detail::too_small_for_threads(tiles);
  parallel_for(shards * blocks * parts, small ? shards * blocks * parts : 1, make_scratch, [&](Index begin, Index end, Scratch& scratch) {
    const detail::PointRows<T> from{scratch.source.data(), kTiles * row + 16, row, row, 0};
    const detail::PointRows<T> to{scratch.gradient.data(), block_panels * panel + 16, width, width, panel};
    for (Index unit = begin; unit < end; ++unit) {
      const Index shard = unit / (blocks * parts), block = unit / parts % blocks;
      const Index s = block / target_blocks * source_block, n = block % target_blocks * target_block;
      const Index sources = std::min(source_block, c.source_channels - s), targets = std::min(target_block, c.target_channels - n);
      const auto run = [&](auto part) {
        using Rows = decltype(part);
        T* const unit_sums = sums.data() + (shard * blocks + block) * sums_block + Rows::first(side) * side * sums_point;
        for (Index first = shard * shard_tiles; first < std::min(tiles.count, (shard + 1) * shard_tiles); first += kTiles) {
          const detail::WinogradBlock<Size> tile_block(tiles, first, std::min(tiles.count, first + kTiles));
          FetchAhead ahead;
          if (const Index next = first + kTiles; fetches && next < std::min(tiles.count, (shard + 1) * shard_tiles)) {
            tiles.fetch_source(next, kTiles, sources, x + s, ahead);
            tiles.fetch_targets(next, kTiles, targets, dy + n, ahead);
          }
          dispatch<detail::TransformSource<Size, T, Rows>, T>(&tile_block, sources, x + s, zeros.data(), &from);
          dispatch<detail::TransformTargetGradient<Size, T, Rows>, T>(&tile_block, targets, dy + n, zeros.data(), &to);
          for (int point = 0; point < held; ++point) {
            const auto [begin_slot, end_slot] = tile_block.with_point(Rows::first(side) * side + point);
            for (Index p = 0; p * width < targets; ++p)
              multiply_tiles<T>({.rows = sources,
                                    .cols = width,
                                    .depth = end_slot - begin_slot,
                                    .a = from.data + point * from.point + begin_slot * row,
                                    .a_row = 1,
                                    .a_step = row,
                                    .b = to.data + point * to.point + p * panel + begin_slot * width,
                                    .b_row = width,
                                    .b_panel = panel,
                                    .c = unit_sums + point * sums_point + p * sums_panel,
                                    .c_row = width,
                                    .slack = true,
                                    .accumulate = first > shard * shard_tiles},
                  &ahead);
          }
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

}  // namespace heed::inline HEED_ABI::kernels
