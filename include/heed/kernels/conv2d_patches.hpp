// SPDX-License-Identifier: MIT
#pragma once

#include <numeric>

#include <heed/core/parallel.hpp>
#include <heed/kernels/offset_tile.hpp>

namespace heed::inline HEED_ABI::kernels {

/// How a convolution is computed. The Winograd algorithms take fewer multiplications for 3x3 kernels with stride 1, dilation 1 and one group, and
/// round more: see kernels/winograd.hpp.
enum class Conv2dAlgorithm {
  automatic,     ///< by the shape of an image and the channels, never by the batch; always direct in other types than float
  direct,        ///< every product of the sum
  winograd_2x2,  ///< F(2x2, 3x3): 0.44 of the multiplications
  winograd_4x4,  ///< F(4x4, 3x3): 0.25 of them
};

/// The numbers of a 2-d convolution of images that lie (images, height, width, channels). Pairs are {vertical, horizontal}.
struct Conv2dGeometry {
  Index images;                             ///< in the batch
  Index size[2], in_channels;               ///< of x
  Index out_size[2], out_channels;          ///< of y
  Index kernel[2], stride[2], dilation[2];  ///< taps, pixels from window to window, and distance of the taps
  Index padding[2];                         ///< before the first row and column; what lies behind the last follows from the sizes
  Index groups;                             ///< of channels, see Conv2dOptions
  Conv2dAlgorithm algorithm = Conv2dAlgorithm::automatic;  ///< how to compute

  /// Taps of a window.
  Index taps() const { return kernel[0] * kernel[1]; }
  /// Each output pixel reads the one input pixel at its place: a linear layer on rows of pixels.
  bool is_linear() const {
    return taps() == 1 && groups == 1 && stride[0] == 1 && stride[1] == 1 && size[0] == out_size[0] && size[1] == out_size[1] &&
           padding[0] == 0 && padding[1] == 0;
  }
  /// Pixels of all outputs.
  Index pixels() const { return images * out_size[0] * out_size[1]; }
  /// Channels of one group.
  /// @{
  Index group_in() const { return in_channels / groups; }
  Index group_out() const { return out_channels / groups; }
  /// @}
};

/// One axis of a correlation, forward or for the input gradient: target j (which lies at `first` + j `spacing`) reads the source positions
/// j `step` + m `tap_step` + `origin` for m in [0, taps); positions outside of [0, source_size) are zeros. Its weight is
/// kernel position `tap_first` + m `tap_spacing`.
struct CorrelationAxis {
  Index targets, first, spacing;                    ///< in the equation above
  Index source_size, step, taps, tap_step, origin;  ///< in the equation above
  Index tap_first, tap_spacing;                     ///< in the equation above

  /// Source positions that `count` neighbouring targets span.
  Index extent(Index count) const { return (count - 1) * step + (taps - 1) * tap_step + 1; }
  /// Whether every target reads pixels of the image alone.
  bool stays_inside() const { return origin >= 0 && origin + extent(targets) <= source_size; }
  /// Without the taps at the ends that meet no source position: of a 3x3 kernel on a 1x1 image one tap remains. One is kept in any case.
  CorrelationAxis clipped() const {
    CorrelationAxis a = *this;
    const auto misses = [&](Index tap) {
      const Index start = tap * tap_step + origin;  // of target 0
      return start + (targets - 1) * step < 0 || start >= source_size;
    };
    Index cut = 0;
    while (cut + 1 < taps && misses(cut)) ++cut;
    while (a.taps > cut + 1 && misses(a.taps - 1)) --a.taps;
    a.taps -= cut, a.origin += cut * tap_step, a.tap_first += cut * tap_spacing;
    return a;
  }
};

/// y[j] = sum over k of x[j stride + k dilation - padding] w[k].
inline CorrelationAxis forward_axis(const Conv2dGeometry& g, int axis) {
  return {g.out_size[axis], 0, 1, g.size[axis], g.stride[axis], g.kernel[axis], g.dilation[axis], -g.padding[axis], 0, 1};
}

/// The input pixels i = phase + j stride. Pixel i is read by y[o] through tap k where o stride + k dilation - padding = i, so of the taps only
/// those with phase + padding - k dilation divisible by the stride count: every (stride / gcd(stride, dilation))-th. Walked from the
/// last one to the first, their outputs o grow. No product is taken that the forward pass did not take.
inline CorrelationAxis input_gradient_axis(const Conv2dGeometry& g, int axis, Index phase) {
  const Index stride = g.stride[axis], dilation = g.dilation[axis], kernel = g.kernel[axis], shift = phase + g.padding[axis];
  const Index period = stride / std::gcd(stride, dilation), tap_step = dilation / std::gcd(stride, dilation);
  Index tap = 0;
  while (tap < std::min(period, kernel) && (shift - tap * dilation) % stride != 0) ++tap;
  const Index taps = tap < std::min(period, kernel) ? (kernel - tap + period - 1) / period : 0;
  const Index targets = g.size[axis] > phase ? (g.size[axis] - phase + stride - 1) / stride : 0;
  const Index origin = taps == 0 ? 0 : (shift - tap * dilation) / stride - (taps - 1) * tap_step;
  return {targets, phase, stride, g.out_size[axis], 1, taps, tap_step, origin, tap + (taps - 1) * period, -period};
}

/// A correlation of `images` images: targets along two axes, `groups` blocks of `source_channels` and `target_channels` channels.
struct Correlation {
  Index images, groups;                    ///< of the batch; blocks of channels
  CorrelationAxis axis[2];                 ///< vertical and horizontal
  Index source_channels, target_channels;  ///< of one group
  Index target_size[2];                    ///< height and width of what the targets are written to
  Index joined = 1, all_groups = groups;   ///< see join_groups

  /// First of the groups that block `block` takes.
  Index first_group(Index block) const { return std::min(block * joined, all_groups - joined); }
  Index source_pixel() const { return source_channels / joined * all_groups; }  ///< elements from one to the next
  /// Elements from one target pixel to the next.
  Index target_pixel() const { return target_channels / joined * all_groups; }
  /// First channel of block `block`.
  /// @{
  Index source_channel(Index block) const { return first_group(block) * (source_channels / joined); }
  Index target_channel(Index block) const { return first_group(block) * (target_channels / joined); }
  /// @}
  /// Terms of a sum.
  Index depth() const { return axis[0].taps * axis[1].taps * source_channels; }
  /// Targets of an image.
  Index pixels() const { return axis[0].targets * axis[1].targets; }
};

/// Takes as many groups as one for which the targets fill `lanes`: a vector of targets costs the same whichever of its lanes count, so the products
/// with zeros between groups are free (64x32x32x64, 3x3, forward and backward: groups of 2 93 -> 43 ms, of 4 65 -> 40, of 8 47 -> 41).
/// Where the number of groups is not a multiple, the last block computes some groups once more. A NaN or an infinity reaches all targets of its
/// block.
inline Correlation join_groups(Correlation c, Index lanes) {
  if (c.all_groups == 1 || 2 * c.target_channels > lanes) return c;
  c.joined = std::clamp<Index>(lanes / c.target_channels, 1, c.all_groups);
  c.groups = (c.all_groups + c.joined - 1) / c.joined;
  c.source_channels *= c.joined, c.target_channels *= c.joined;
  return c;
}

namespace detail {

/// Scratch of a block's source. With a packed panel (256 input channels, 3x3: 295 KB) it stays in 512 KB to 1 MB of L2.
inline constexpr Index kPatchBytes = 192 * 1024;

/// Copies `channels` numbers of each pixel, with zeros behind them up to `padded`.
template <class T>
struct CopyPixels {
  template <class Isa>
  HEED_INLINE static void run(Index pixels, Index channels, Index padded, const T* from, Index from_pixel, T* to, Index to_pixel) {
    using P = Packet<Isa, T>;
    for (Index i = 0; i < pixels; ++i, from += from_pixel, to += to_pixel)
      for (Index c = 0; c < padded; c += P::lanes) P::load_partial(from + c, channels - c).store_partial(to + c, padded - c);
  }
};
}  // namespace detail

/// How the source of a correlation is walked: cut into blocks (several images, or some rows of targets of one image) whose source pixels are
/// either read where they lie or, with their zero border, copied to scratch that stays in L2. Patches are never written out: a block's
/// elements are addressed through offsets (`multiply_offsets`), so padding costs about one copy of the image and not one for each tap.
struct PatchLayout {
  bool in_place;                           ///< the source is read where it lies
  Index pixel, row, image;                 ///< elements from one to the next
  Index images_per_block, rows_per_block;  ///< how much of the batch a block takes

  /// `wanted` pixels a block, fewer if their source takes more than `most` elements of scratch. `copy`: also where no border is needed.
  PatchLayout(const Correlation& c, std::size_t element_bytes, Index wanted, Index most, bool copy) {
    const CorrelationAxis &y = c.axis[0], &x = c.axis[1];
    // Neighbouring pixels that lie a multiple of 2 KiB apart share cache sets.
    const auto conflicts = [&](Index pitch) { return pitch * x.step * static_cast<Index>(element_bytes) % 2048 == 0 && x.targets > 4; };
    const Index channels = c.source_pixel();
    in_place = !copy && y.stays_inside() && x.stays_inside() && !conflicts(channels);
    pixel = in_place ? channels : c.source_channels + (conflicts(c.source_channels) ? 16 : 0);
    row = pixel * (in_place ? x.source_size : x.extent(x.targets));
    image = row * (in_place ? y.source_size : y.extent(y.targets));
    const Index fitting = in_place ? wanted : std::max<Index>(1, most / std::max<Index>(1, image)) * c.pixels();
    images_per_block = std::clamp<Index>(std::min(wanted, fitting) / c.pixels(), 1, c.images);
    rows_per_block = y.targets;
    if (2 * wanted < c.pixels() || (!in_place && image > most)) {
      rows_per_block = std::clamp<Index>(wanted / x.targets, 1, y.targets);
      while (!in_place && rows_per_block > 1 && y.extent(rows_per_block) * row > most) --rows_per_block;
    }
  }

  /// Blocks of one image.
  Index blocks_per_image(const Correlation& c) const { return (c.axis[0].targets + rows_per_block - 1) / rows_per_block; }
  /// Blocks of the whole batch.
  Index blocks(const Correlation& c) const { return (c.images + images_per_block - 1) / images_per_block * blocks_per_image(c); }
  /// Scratch elements of a block.
  Index scratch(const Correlation& c) const { return in_place ? 0 : images_per_block * c.axis[0].extent(rows_per_block) * row; }
};

/// Block number `block` of a correlation: which targets, and where target (image, y, x) finds its first source element.
struct PatchBlock {
  Index image, images, row, rows;  ///< first image and how many, first row and how many
  Index stored_image;              ///< elements from image to image

  /// Block number `block`, 0 ... blocks(c) - 1.
  PatchBlock(const Correlation& c, const PatchLayout& layout, Index block) {
    const Index parts = layout.blocks_per_image(c);
    image = block / parts * layout.images_per_block, images = std::min(layout.images_per_block, c.images - image);
    row = block % parts * layout.rows_per_block, rows = std::min(layout.rows_per_block, c.axis[0].targets - row);
    stored_image = layout.in_place ? layout.image : c.axis[0].extent(rows) * layout.row;
  }
  /// Targets of the block.
  Index pixels(const Correlation& c) const { return images * rows * c.axis[1].targets; }

  /// The source of the block: where it lies, or a copy in `scratch` with zeros around it. Group (or block of joined ones) `group` only.
  template <class T>
  const T* source(const Correlation& c, const PatchLayout& layout, const T* data, Index group, T* scratch) const {
    const CorrelationAxis &y = c.axis[0], &x = c.axis[1];
    const Index channels = c.source_pixel(), source_row = x.source_size * channels;
    data += image * y.source_size * source_row + c.source_channel(group);
    if (layout.in_place) return data + (row * y.step + y.origin) * source_row + x.origin * channels;
    const Index columns = x.extent(x.targets);
    const Index left = std::clamp<Index>(-x.origin, 0, columns);  // columns before the image
    const Index inside = std::clamp<Index>(x.source_size - std::max<Index>(x.origin, 0), 0, columns - left);
    T* target = scratch;
    for (Index n = 0; n < images; ++n)
      for (Index r = 0; r < y.extent(rows); ++r, target += layout.row) {
        const Index source_y = row * y.step + y.origin + r;
        if (source_y < 0 || source_y >= y.source_size) {
          std::fill_n(target, layout.row, T(0));
          continue;
        }
        std::fill_n(target, left * layout.pixel, T(0));
        const T* from = data + (n * y.source_size + source_y) * source_row + std::max<Index>(x.origin, 0) * channels;
        T* to = target + left * layout.pixel;
        if (c.groups == 1 && layout.pixel == channels)
          std::copy_n(from, inside * channels, to);
        else
          dispatch<detail::CopyPixels<T>, T>(inside, c.source_channels, c.source_channels, from, channels, to, layout.pixel);
        std::fill_n(to + inside * layout.pixel, (columns - left - inside) * layout.pixel, T(0));
      }
    return scratch;
  }
};

}  // namespace heed::inline HEED_ABI::kernels
