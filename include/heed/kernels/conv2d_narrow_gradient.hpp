// SPDX-License-Identifier: MIT
#pragma once

#include <span>

#include <heed/kernels/conv2d_patches.hpp>
#include <heed/kernels/pack.hpp>

// The gradient of few input channels, such as those of an image: as targets of a correlation they would fill a fraction of the vectors. So every
// output pixel is multiplied with the kernel, whose columns are (tap, channel), and an input pixel adds up the products of the outputs that read
// it. These lie in L2, a block of output rows at a time. 64 -> 3 channels of 64x32x32, 3x3, one thread of Granite Rapids: 10.8 -> 2.4 ms.

namespace heed::inline HEED_ABI::kernels {

/// Whether the products fill at most half of the vectors that the taps of a correlation would take.
template <class T>
bool narrow_gradient_pays(const Conv2dGeometry& g) {
  const Index lanes = panel_width<T>() / 2;
  return g.groups == 1 && g.in_channels < lanes && 2 * ((g.taps() * g.in_channels + lanes - 1) / lanes) <= g.taps();
}

namespace detail {

/// For each input position along an axis the products that reach it: output position o and tap k at o * `output` + k * `tap` elements.
struct TapReaders {
  Index most;  ///< entries reserved for a position
  Tensor<Index, 1> places, counts;

  TapReaders(const CorrelationAxis& a, Index output, Index tap) : most(a.taps) {
    places.resize({a.source_size * most}), counts.resize({a.source_size});
    for (Index i = 0; i < a.source_size; ++i) counts[i] = 0;
    for (Index o = 0; o < a.targets; ++o)
      for (Index k = 0; k < a.taps; ++k) {
        const Index i = o * a.step + k * a.tap_step + a.origin;
        if (i >= 0 && i < a.source_size) places[i * most + counts[i]++] = o * output + k * tap;
      }
  }
  std::span<const Index> of(Index i) const { return {places.data() + i * most, static_cast<std::size_t>(counts[i])}; }
};

/// dx[i] = sum of the products that reach pixel i of an image row, where the row's are at `rows` and the column's at `columns`,
/// counted from element `first`.
template <class T>
struct GatherProducts {
  template <class Isa>
  HEED_INLINE static void run(
      const T* products, Index first, std::span<const Index> rows, const TapReaders* columns, Index pixels, Index channels, T* dx) {
    using P = Packet<Isa, T>;
    for (Index i = 0; i < pixels; ++i, dx += channels)
      for (Index c = 0; c < channels; c += P::lanes) {
        P sum = P::zero();
        for (const Index row : rows)
          for (const Index column : columns->of(i)) sum = sum + P::load(products + (row - first + column + c));
        sum.store_partial(dx + c, channels - c);
      }
  }
};

}  // namespace detail

/// dx as `conv2d_input_gradient`, for one group. Parallel over blocks of image rows; a product is the same in whichever block it is computed.
template <class T>
void conv2d_narrow_input_gradient(const Conv2dGeometry& g, const T* dy, const T* weight, T* dx) {
  const Index in = g.in_channels, out = g.out_channels, taps = g.taps(), width = panel_width<T>();
  const Index pixel = (taps * in + width - 1) / width * width, row = g.out_size[1] * pixel;
  auto packed = Tensor<T, 1>::uninitialized({out * pixel});
  auto columns = Tensor<T, 1>::uninitialized({taps * in * out});
  for (Index o = 0; o < out; ++o)
    for (Index c = 0; c < in; ++c)
      for (Index k = 0; k < taps; ++k) columns[o * taps * in + k * in + c] = weight[(o * in + c) * taps + k];
  pack_panels(out, taps * in, columns.data(), taps * in, Index(1), width, packed.data());

  const CorrelationAxis axis_y = forward_axis(g, 0), axis_x = forward_axis(g, 1);
  const detail::TapReaders readers_y(axis_y, row, g.kernel[1] * in), readers_x(axis_x, pixel, in);
  const Index reach = (axis_y.taps - 1) * axis_y.tap_step,
              fitting = std::max<Index>(1, detail::kPatchBytes / static_cast<Index>(sizeof(T)) / std::max<Index>(1, row));
  const Index block = std::min(g.size[0], std::max<Index>((fitting - 1) * axis_y.step - reach, 8)),
              blocks = (g.size[0] + block - 1) / block;
  const auto outputs = [&](Index first, Index last) {  // of the outputs in [0, targets) those that may read input rows [first, last)
    const Index low = first - axis_y.origin - reach, high = last - axis_y.origin;
    return std::pair(std::clamp<Index>((std::max<Index>(low, 0) + axis_y.step - 1) / axis_y.step, 0, axis_y.targets),
        std::clamp<Index>((std::max<Index>(high, 0) + axis_y.step - 1) / axis_y.step, 0, axis_y.targets));
  };
  Index most = 0;
  for (Index b = 0; b < blocks; ++b) {
    const auto [first, last] = outputs(b * block, std::min(g.size[0], (b + 1) * block));
    most = std::max(most, last - first);
  }
  const auto make_scratch = [&] { return Tensor<T, 1>::uninitialized({most * row + width}); };
  const Index work = block * g.size[1] * in * taps * out;
  parallel_for(g.images * blocks, 1 + 65536 / std::max<Index>(1, work), make_scratch, [&](Index begin, Index end, Tensor<T, 1>& products) {
    for (Index unit = begin; unit < end; ++unit) {
      const Index image = unit / blocks, y = unit % blocks * block, last_y = std::min(g.size[0], y + block);
      const auto [first, last] = outputs(y, last_y);
      if (last > first)
        multiply_tiles<T>({.rows = (last - first) * g.out_size[1],
            .cols = taps * in,
            .depth = out,
            .a = dy + (image * g.out_size[0] + first) * g.out_size[1] * out,
            .a_row = out,
            .a_step = 1,
            .b = packed.data(),
            .b_row = width,
            .b_panel = out * width,
            .c = products.data(),
            .c_row = pixel,
            .whole_tiles = true});
      for (Index i = y; i < last_y; ++i)
        dispatch<detail::GatherProducts<T>, T>(static_cast<const T*>(products.data()), first * row, readers_y.of(i), &readers_x, g.size[1],
            in, dx + (image * g.size[0] + i) * g.size[1] * in);
    }
  });
}
HEED_COMPILE_ONCE(conv2d_narrow_input_gradient);

}  // namespace heed::inline HEED_ABI::kernels
