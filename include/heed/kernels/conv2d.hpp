// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>

#include <heed/core/prepared_weights.hpp>
#include <heed/kernels/column_sums.hpp>
#include <heed/kernels/conv2d_narrow_gradient.hpp>
#include <heed/kernels/conv2d_patches.hpp>
#include <heed/kernels/fetch_ahead.hpp>
#include <heed/kernels/linear.hpp>
#include <heed/kernels/winograd.hpp>

namespace heed::inline HEED_ABI::kernels {

namespace detail {

/// Columns of the panels of `channels` targets: one vector where that is enough, which is then all that a tile reads.
template <class T>
Index packed_width(Index channels) {
  const Index width = panel_width<T>();
  return 2 * channels <= width ? width / 2 : width;
}

/// What `pack_kernel` makes.
template <class T>
struct PackedKernel {
  Tensor<T, 1> data;
};

/// The weights that a correlation needs, as panels [group][panel][tap, source channel][target channel] of `width` columns, with zeros between
/// joined groups. Weight (target n, source s, tap k) of a group lies at weight[group * group_step + n * target_step + s * source_step + k].
template <class T>
void pack_kernel(const Correlation& c, Index kernel_width, const T* weight, Index group_step, Index target_step, Index source_step,
    Index width, T* packed) {
  const Index panels = (c.target_channels + width - 1) / width, depth = c.depth();
  const Index group_targets = c.target_channels / c.joined, group_sources = c.source_channels / c.joined;
  // Taps lie one behind the other, and in a forward pass a target's sources do, too: then a target's weights are one row, whose columns change places.
  const Index taps = std::min(source_step, target_step), blocks = source_step == taps ? 1 : group_sources;
  const bool in_columns = c.joined == 1 && taps * (group_sources / blocks) >= 4;
  Tensor<Index, 1> order({in_columns ? taps * (group_sources / blocks) : 0});
  order.fill(-1);
  const auto for_taps = [&](const auto& body) {  // (its number among the correlation's, among the kernel's)
    for (Index ty = 0; ty < c.axis[0].taps; ++ty)
      for (Index tx = 0; tx < c.axis[1].taps; ++tx)
        body(ty * c.axis[1].taps + tx,
            (c.axis[0].tap_first + ty * c.axis[0].tap_spacing) * kernel_width + c.axis[1].tap_first + tx * c.axis[1].tap_spacing);
  };
  if (in_columns)
    for_taps([&](Index number, Index tap) {
      for (Index s = 0; s < group_sources / blocks; ++s) order[s * taps + tap] = number * group_sources + s;
    });
  const auto pack_panel = [&](Index panel) {
    T* to = packed + panel * depth * width;
    const Index n = panel % panels * width, valid = std::min(width, c.target_channels - n);
    const T* from = weight + c.first_group(panel / panels) * group_step + n * target_step;
    if (in_columns) {
      const RowsSource<T> rows{from, target_step, valid, order.size(), nullptr};
      return dispatch<PackOrdered<T>, T>(&rows, blocks, source_step, order.data(), to, width);
    }
    if (valid < width || c.joined > 1) std::fill_n(to, depth * width, T(0));
    for (Index group = 0; group < c.joined; ++group, from += group_step, to += group_sources * width + group_targets)
      for (Index s0 = 0; s0 < group_sources; s0 += 8)  // 8 channels x 9 taps x 32 columns stay in L1
        for_taps([&](Index number, Index tap) {
          const Index end = std::min(s0 + 8, group_sources);
          for (Index j = 0; j < std::min(valid, group_targets); ++j) {
            const T* source = from + j * target_step + tap;
            T* target = to + number * c.source_channels * width + j;
            for (Index s = s0; s < end; ++s) target[s * width] = source[s * source_step];
          }
        });
  };
  const Index count = c.groups * panels;
  parallel_for(count, depth * width < 16384 ? count : 1, [&](Index begin, Index end) {  // small ones are not worth a parallel region
    for (Index panel = begin; panel < end; ++panel) pack_panel(panel);
  });
}

/// The contiguous pieces of a patch, in the order of the packed weights. Kernel rows of neighbouring pixels are one piece.
inline Tensor<Segment, 1> patch_segments(const Correlation& c, const PatchLayout& layout) {
  const CorrelationAxis &y = c.axis[0], &x = c.axis[1];
  const bool whole_rows = x.tap_step == 1 && layout.pixel == c.source_channels;
  const Index pieces = whole_rows ? 1 : x.taps;
  auto segments = Tensor<Segment, 1>::uninitialized({y.taps * pieces});
  for (Index ty = 0; ty < y.taps; ++ty)
    for (Index tx = 0; tx < pieces; ++tx)
      segments[ty * pieces + tx] = {ty * y.tap_step * layout.row + tx * x.tap_step * layout.pixel, c.source_channels * (x.taps / pieces)};
  return segments;
}

/// How far ahead of its writes a direct convolution asks, see `fetch_distance`; 0 where it does not. Each panel writes a piece of every pixel, which hardware does not
/// follow, and where few channels become many that is nearly all its traffic. Two threads of Zen 4, forward, time without over time with: 3 channels -> 64, 16 to 63 MB of
/// y, 1.1 to 1.6; 3 -> 48 0.95 to 1.1. Not where y may lie in L3 (8 MB 0.98, 12 MB 0.88), nor where x is read as well (1x1 from 16 to 64 channels 0.92 to 0.98), nor where
/// one panel writes whole lines one behind the other (3 -> 24 0.94).
template <class T>
Index direct_ahead(const Correlation& c) {
  const Index written = c.images * c.pixels() * c.target_pixel();
  const Index read = c.images * c.axis[0].source_size * c.axis[1].source_size * c.source_pixel();
  return written * static_cast<Index>(sizeof(T)) >= Index(1) << 24 && written >= 8 * read ? fetch_distance<T>(written) : 0;
}

/// target[pixel] = bias + sum over taps and source channels. `packed` from `pack_kernel`; `bias` is padded to whole panels for each group.
/// Parallel over blocks of targets (and panels where there are few blocks); the cut may follow the number of threads because each target's
/// sum runs over taps and channels in order wherever it is computed.
template <class T>
void correlate(const Correlation& c, const T* source, const T* packed, const T* bias, Index width, T* target) {
  const Index threads = thread_count(), tile = tile_rows<T>(), panels = (c.target_channels + width - 1) / width;
  const Index most = kPatchBytes / static_cast<Index>(sizeof(T));
  // Several panels pass over a block: from a copy in L2 a 1x1 convolution 256 -> 256 runs at 98, from where x lies at 92 GFLOP/s (Zen 4).
  const auto wanted_for = [&](Index pixels) { return PatchLayout(c, sizeof(T), pixels, most, panels > 1); };
  PatchLayout layout = wanted_for(32 * tile);
  for (Index wanted = 16 * tile; threads > 1 && wanted >= 4 * tile && layout.blocks(c) < 4 * threads; wanted /= 2)
    layout = wanted_for(wanted);
  const Index blocks = layout.blocks(c);
  const Index parts = threads > 1 && blocks < 4 * threads ? std::min(panels, (4 * threads + blocks - 1) / blocks) : 1;
  const Index panels_per_part = (panels + parts - 1) / parts;
  const auto segments = patch_segments(c, layout);
  const CorrelationAxis &y = c.axis[0], &x = c.axis[1];
  const Index target_pixel = c.target_pixel(), depth = c.depth();
  const Index columns = x.targets, source_step = x.step * layout.pixel, target_step = x.spacing * target_pixel;
  const Index ahead = panels > 1 ? direct_ahead<T>(c) : 0;
  const auto run_block = [&](Index index, Index part, T* scratch, Index* from, Index* to) {
    const PatchBlock block(c, layout, index);
    Index count = 0;
    for (Index n = 0; n < block.images; ++n)
      for (Index r = 0; r < block.rows; ++r) {
        const Index source_row = n * block.stored_image + r * y.step * layout.row;
        const Index target_y = y.first + (block.row + r) * y.spacing;
        const Index target_row = (((block.image + n) * c.target_size[0] + target_y) * c.target_size[1] + x.first) * target_pixel;
        for (Index i = 0; i < columns; ++i) from[count + i] = source_row + i * source_step, to[count + i] = target_row + i * target_step;
        count += columns;
      }
    for (Index group = 0; group < c.groups; ++group) {
      const T* a = block.source(c, layout, source, group, scratch);
      for (Index panel = part * panels_per_part; panel < std::min(panels, (part + 1) * panels_per_part); ++panel) {
        const Index n = panel * width, column = group * panels + panel;
        multiply_offsets<T>({count, std::min(width, c.target_channels - n), a, from, 1, segments.data(), segments.size(),
            packed + column * depth * width, width, bias + column * width, 0, target + c.target_channel(group) + n, to, ahead});
      }
    }
  };
  const double work = 2.0 * static_cast<double>(c.images * c.pixels() * depth) * static_cast<double>(target_pixel);
  struct Scratch {
    Tensor<T, 1> patches;
    Tensor<Index, 1> offsets;
  };
  const auto make_scratch = [&] {
    return Scratch{Tensor<T, 1>::uninitialized({layout.scratch(c)}),
        Tensor<Index, 1>::uninitialized({2 * layout.images_per_block * layout.rows_per_block * x.targets})};
  };
  const Index grain = work < 2e5 ? blocks * parts : 1;  // below, waking threads costs more than it saves
  parallel_for(blocks * parts, grain, make_scratch, [&](Index begin, Index end, Scratch& scratch) {
    Index* const offsets = scratch.offsets.data();
    for (Index unit = begin; unit < end; ++unit)
      run_block(unit / parts, unit % parts, scratch.patches.data(), offsets, offsets + scratch.offsets.size() / 2);
  });
}

inline Correlation forward_correlation(const Conv2dGeometry& g) {
  return {g.images, g.groups, {forward_axis(g, 0), forward_axis(g, 1)}, g.group_in(), g.group_out(), {g.out_size[0], g.out_size[1]}};
}

/// The bias, or zeros, padded to whole panels for each group.
template <class T>
Tensor<T, 1> pad_bias(const Correlation& c, const T* bias, Index width) {
  const Index panels = (c.target_channels + width - 1) / width;
  Tensor<T, 1> padded({c.groups * panels * width});
  for (Index group = 0; bias && group < c.groups; ++group)
    std::copy_n(bias + c.target_channel(group), c.target_channels, padded.data() + group * panels * width);
  return padded;
}

/// A correlation for `correlate`: groups of few channels joined, taps that meet no pixel left out.
template <class T>
Correlation trimmed(Correlation c) {
  c.axis[0] = c.axis[0].clipped(), c.axis[1] = c.axis[1].clipped();
  return join_groups(c, panel_width<T>() / 2);  // one vector of the tile
}

/// Calls `call` with the tile size of a Winograd algorithm, 2 or 4 as a std::integral_constant, or returns false for the direct one.
template <class T, class Call>
bool with_winograd(const Correlation& c, Conv2dAlgorithm algorithm, const Call& call) {
  if (algorithm == Conv2dAlgorithm::automatic) algorithm = fastest_algorithm<T>(c);
  if (!fits_winograd(c)) return false;
  if (algorithm == Conv2dAlgorithm::winograd_2x2) call(std::integral_constant<int, 2>());
  if (algorithm == Conv2dAlgorithm::winograd_4x4) call(std::integral_constant<int, 4>());
  return algorithm != Conv2dAlgorithm::direct;
}

}  // namespace detail

/// y = x * weight + bias (cross-correlation, as torch.nn.Conv2d). x (images, height, width, in), y (images, out height, out width, out),
/// weight (out, in / groups, kernel height, kernel width), bias (out) or null.
///
/// The tile kernel reads image patches in place through offsets; nothing like im2col is written. Sums in T, over taps and then channels.
/// Lab notes, Zen 4, one core of 117 GFLOP/s: 114 to 117 from 24 to 256 channels on maps of 32x32 to 8x8 once the block is in L2.
template <class T>
void conv2d_forward(const Conv2dGeometry& g, const T* x, const T* weight, const T* bias, T* y) {
  if (g.is_linear()) return linear_forward<T>({g.pixels(), g.in_channels, g.out_channels}, x, weight, bias, y);
  const Correlation whole = detail::forward_correlation(g);
  if (whole.images * whole.pixels() == 0) return;
  const auto winograd = [&](auto size) {
    const auto padded = detail::pad_bias(whole, bias, panel_width<T>());
    winograd_correlate<size>(whole, x, weight, 9 * g.in_channels, Index(9), padded.data(), y);
  };
  if (detail::with_winograd<T>(whole, g.algorithm, winograd)) return;
  const Correlation c = detail::trimmed<T>(whole);
  const Index width = detail::packed_width<T>(c.target_channels), panels = (c.target_channels + width - 1) / width;
  const Index filter = g.group_in() * g.taps();
  detail::PackedKernel<T> own;
  const auto pack = [&](detail::PackedKernel<T>& packed) {
    packed.data.resize({c.groups * panels * width * c.depth()});
    detail::pack_kernel(c, g.kernel[1], weight, g.group_out() * filter, filter, g.taps(), width, packed.data.data());
  };
  const auto taps = [&](int axis) {
    return (std::int64_t{g.kernel[axis]} << 40) + (std::int64_t{c.axis[axis].tap_first} << 20) + c.axis[axis].taps;
  };
  const auto& packed = prepared(WeightRows<T>{weight, g.out_channels, filter, filter}, {g.groups, taps(0), taps(1)}, own, pack);
  detail::correlate(c, x, packed.data.data(), detail::pad_bias(c, bias, width).data(), width, y);
}
HEED_COMPILE_ONCE(conv2d_forward);

/// The part of a convolution that windows of 2 x 2 side by side read: without a last row and column, where F(4x4) spares points without them. Outputs keep their
/// bits, and so do the gradients of finite numbers where those of the last row and column are zero: the algorithm is that of the whole, and the tiles are as many
/// (without the last of 4 n + 1 rows they would not be). dy has the smaller shape, too.
template <class T>
Conv2dGeometry conv2d_reached(Conv2dGeometry g) {
  const Correlation c = detail::forward_correlation(g);
  detail::with_winograd<T>(c, g.algorithm, [&](auto size) {
    if constexpr (size == 4) {
      g.algorithm = Conv2dAlgorithm::winograd_4x4;
      for (Index& outputs : g.out_size) outputs -= outputs % size == 3 ? 1 : 0;
    }
  });
  return g;
}

/// Whether a convolution has whole windows of 2 x 2 targets at hand: Winograd's in one part.
template <class T>
bool conv2d_pools(const Conv2dGeometry& g) {
  const Correlation c = detail::forward_correlation(g);
  bool result = false;
  if (!g.is_linear() && c.images * c.pixels() > 0)
    detail::with_winograd<T>(c, g.algorithm, [&](auto size) { result = !winograd_takes_parts(size, c); });
  return result;
}

/// Convolution and max-pooling over windows of 2 x 2 side by side in one pass, for convolutions that `conv2d_pools`: y (images, out_size / 2, out_channels) and
/// `winner`, the number of the tap, or null, have the bits of `conv2d_forward` and `max_pool2d_forward`. What lies between is never written (Granite Rapids:
/// 1.1 to 1.7 times as fast as the two).
template <class T, class Winner>
void conv2d_max_pool_forward(const Conv2dGeometry& g, const T* x, const T* weight, const T* bias, T* y, Winner* winner) {
  HEED_ASSERT(conv2d_pools<T>(g));
  const Correlation c = detail::forward_correlation(g);
  detail::with_winograd<T>(c, g.algorithm, [&](auto size) {
    const auto padded = detail::pad_bias(c, bias, panel_width<T>());
    winograd_max_pool<size>(c, x, weight, 9 * g.in_channels, Index(9), padded.data(), y, winner);
  });
}
HEED_COMPILE_ONCE(conv2d_max_pool_forward, std::uint8_t);

/// dx[i] = sum over outputs o and taps k that read pixel i of dy[o] weight[k]: a correlation of dy with the rotated kernel. With a stride the
/// pixels are taken by phase (position mod stride), each with the taps that reach it, so zeros are never multiplied.
template <class T>
void conv2d_input_gradient(const Conv2dGeometry& g, const T* dy, const T* weight, T* dx) {
  if (g.is_linear()) return linear_input_gradient<T>({g.pixels(), g.in_channels, g.out_channels}, weight, dy, dx);
  if (g.images * g.size[0] * g.size[1] == 0) return;
  if (g.algorithm != Conv2dAlgorithm::winograd_2x2 && g.algorithm != Conv2dAlgorithm::winograd_4x4 && narrow_gradient_pays<T>(g))
    return conv2d_narrow_input_gradient(g, dy, weight, dx);
  const Tensor<T, 1> no_bias({g.in_channels + g.groups * panel_width<T>()});
  Tensor<T, 1> packed;
  for (Index phase_y = 0; phase_y < std::min(g.stride[0], g.size[0]); ++phase_y)
    for (Index phase_x = 0; phase_x < std::min(g.stride[1], g.size[1]); ++phase_x) {
      const Correlation whole{g.images, g.groups, {input_gradient_axis(g, 0, phase_y), input_gradient_axis(g, 1, phase_x)}, g.group_out(),
          g.group_in(), {g.size[0], g.size[1]}};
      const auto winograd = [&](auto size) {
        winograd_correlate<size>(whole, dy, weight, Index(9), 9 * g.in_channels, no_bias.data(), dx);
      };
      if (detail::with_winograd<T>(whole, g.algorithm, winograd)) continue;
      const Correlation c = detail::trimmed<T>(whole);
      if (c.depth() == 0 || g.out_size[0] * g.out_size[1] == 0) {  // pixels that no output reads
        for (Index row = 0; row < g.images * c.axis[0].targets; ++row)
          for (Index i = 0; i < c.axis[1].targets; ++i) {
            const Index image = row / c.axis[0].targets, pixel_y = phase_y + row % c.axis[0].targets * g.stride[0];
            std::fill_n(dx + ((image * g.size[0] + pixel_y) * g.size[1] + phase_x + i * g.stride[1]) * g.in_channels, g.in_channels, T(0));
          }
        continue;
      }
      const Index width = detail::packed_width<T>(c.target_channels), panels = (c.target_channels + width - 1) / width;
      packed.resize({c.groups * panels * width * c.depth()});
      detail::pack_kernel(
          c, g.kernel[1], weight, g.group_out() * g.group_in() * g.taps(), g.taps(), g.group_in() * g.taps(), width, packed.data());
      detail::correlate(c, dy, packed.data(), no_bias.data(), width, dx);
    }
}
HEED_COMPILE_ONCE(conv2d_input_gradient);

/// d_weight[o, i, k] += sum over pixels p of dy[p, o] x[p stride + k dilation - padding, i].
///
/// The same tile with the roles changed: rows are (tap, input channel), the sum walks the pixels of image rows, about 128 at a time so that
/// the packed part of dy stays in L1 while all rows pass over it. Blocks of pixels are dealt to fixed shards (fewer where the weights
/// are large), each with its own accumulator; the shards are folded in order.
template <class T>
void conv2d_weight_gradient(const Conv2dGeometry& g, const T* x, const T* dy, T* d_weight) {
  if (g.is_linear()) return linear_weight_gradient<T>({g.pixels(), g.in_channels, g.out_channels}, x, dy, d_weight);
  const Correlation whole = detail::forward_correlation(g);
  if (whole.images * whole.pixels() == 0) return;
  const auto winograd = [&](auto size) { winograd_weight_gradient<size>(whole, x, dy, d_weight); };
  if (detail::with_winograd<T>(whole, g.algorithm, winograd)) return;
  const Correlation c = detail::trimmed<T>(whole);
  const Index width = detail::packed_width<T>(c.target_channels), panels = (c.target_channels + width - 1) / width;
  const Index columns = c.groups * panels, depth = c.depth();
  const PatchLayout layout(c, sizeof(T), 128, detail::kPatchBytes / static_cast<Index>(sizeof(T)), false);
  const CorrelationAxis &axis_y = c.axis[0], &axis_x = c.axis[1];
  const Index blocks = layout.blocks(c), block_rows = layout.images_per_block * layout.rows_per_block;
  // At least four, if sums may be cut into so many: benchmarks/cost_of_order makes kMaxShards the number of threads.
  const Index wanted = std::min({blocks, kMaxShards, std::max<Index>(kMaxShards / columns, 4)});
  const Index blocks_per_shard = (blocks + wanted - 1) / wanted, shards = (blocks + blocks_per_shard - 1) / blocks_per_shard;
  const Index panel_size = depth * width, total = columns * panel_size;

  auto offsets = Tensor<Index, 1>::uninitialized({2 * depth});  // of each (tap, channel) in the patch, and of its row in the accumulator
  for (Index k = 0; k < depth; ++k) {
    const Index tap = k / c.source_channels;
    offsets[k] = tap / axis_x.taps * g.dilation[0] * layout.row + tap % axis_x.taps * g.dilation[1] * layout.pixel + k % c.source_channels;
    offsets[depth + k] = k * width;
  }
  auto partial = Tensor<T, 1>::uninitialized({shards * total});
  const Tensor<T, 1> zeros({width});
  const auto run_block = [&](Index index, Index column, T* scratch, T* packed, Segment* rows, T* sums, bool first) {
    const PatchBlock block(c, layout, index);
    const Index group = column / panels, n = column % panels * width, valid = std::min(width, c.target_channels - n);
    const T* a = block.source(c, layout, x, group, scratch);
    for (Index i = 0; i < block.images; ++i)
      for (Index r = 0; r < block.rows; ++r)
        rows[i * block.rows + r] = {i * block.stored_image + r * axis_y.step * layout.row, axis_x.targets};
    const T* from = dy + (block.image * c.pixels() + block.row * axis_x.targets) * g.out_channels + c.target_channel(group) + n;
    dispatch<detail::CopyPixels<T>, T>(block.pixels(c), valid, width, from, g.out_channels, packed, width);
    multiply_offsets<T>({depth, valid, a, offsets.data(), axis_x.step * layout.pixel, rows, block.images * block.rows, packed, width,
        first ? zeros.data() : sums, first ? 0 : width, sums, offsets.data() + depth});
  };
  struct Scratch {
    Tensor<T, 1> patches, packed;
    Tensor<Segment, 1> rows;
  };
  const auto make_scratch = [&] {
    return Scratch{Tensor<T, 1>::uninitialized({layout.scratch(c)}), Tensor<T, 1>::uninitialized({block_rows * axis_x.targets * width}),
        Tensor<Segment, 1>::uninitialized({block_rows})};
  };
  parallel_for(shards * columns, 1, make_scratch, [&](Index begin, Index end, Scratch& scratch) {
    for (Index unit = begin; unit < end; ++unit) {
      const Index column = unit % columns, first = unit / columns * blocks_per_shard;
      T* sums = partial.data() + unit / columns * total + column * panel_size;
      if (c.target_channels % width != 0) std::fill_n(sums, panel_size, T(0));  // columns that are not stored are read all the same
      for (Index index = first; index < std::min(blocks, first + blocks_per_shard); ++index)
        run_block(index, column, scratch.patches.data(), scratch.packed.data(), scratch.rows.data(), sums, index == first);
    }
  });
  parallel_for(total, 16384, [&](Index begin, Index end) {
    dispatch<detail::AddRows<T>, T>(
        shards - 1, end - begin, static_cast<const T*>(partial.data() + total + begin), total, partial.data() + begin);
  });
  parallel_for(columns, total < 16384 ? columns : 1, [&](Index begin, Index end) {
    for (Index column = begin; column < end; ++column) {
      const Index n = column % panels * width, valid = std::min(width, c.target_channels - n), block = column / panels;
      const Index sources = g.group_in(), taps = g.taps();
      const T* from = partial.data() + column * panel_size;
      for (Index s0 = 0; s0 < sources; s0 += 8)
        for (Index j = 0; j < valid; ++j) {
          const Index inner = (n + j) / g.group_out();                    // group of the block
          if (c.first_group(block) + inner < block * c.joined) continue;  // the block before has it
          T* to = d_weight + (c.target_channel(block) + n + j) * sources * taps;
          const Index s1 = std::min(s0 + 8, sources);
          for (Index ty = 0; ty < axis_y.taps; ++ty)
            for (Index tx = 0; tx < axis_x.taps; ++tx) {
              T* target = to + (axis_y.tap_first + ty) * g.kernel[1] + axis_x.tap_first + tx;
              const T* sums = from + ((ty * axis_x.taps + tx) * c.source_channels + inner * sources) * width + j;
              for (Index s = s0; s < s1; ++s) target[s * taps] += sums[s * width];
            }
        }
    }
  });
}
HEED_COMPILE_ONCE(conv2d_weight_gradient);

}  // namespace heed::inline HEED_ABI::kernels
