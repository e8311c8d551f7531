// SPDX-License-Identifier: MIT
#pragma once

#include <heed/kernels/conv2d_patches.hpp>
#include <heed/kernels/pack.hpp>
#include <heed/kernels/winograd_transforms.hpp>

namespace heed::inline HEED_ABI::kernels::detail {

// Kernels between their place in memory, (target, source, tap), and Winograd's points, [point][source][column of a panel of targets] or, for
// FewSources, [source][point][column]. Sixteen sources at a time go through transposed registers: tap by tap it took 1.6 to 2 times as long (Granite Rapids).

/// Packets one behind the other, and numbers at equal distances.
template <class P>
struct Numbered {
  const P* at;
  HEED_INLINE P operator()(int i) const { return at[i]; }
};

/// A 3x3 kernel in memory, (target, source, tap), as a correlation sees it: tap (i, j) of its axes at `tap[3 i + j]`.
struct KernelTaps {
  Index target_step, source_step;
  Index tap[9];

  KernelTaps(const Correlation& c, Index target, Index source) : target_step(target), source_step(source) {
    for (Index i = 0; i < 3; ++i)
      for (Index j = 0; j < 3; ++j)
        tap[3 * i + j] = (c.axis[0].tap_first + i * c.axis[0].tap_spacing) * 3 + c.axis[1].tap_first + j * c.axis[1].tap_spacing;
  }
};

/// Transformed kernels, [panel][point][source channel][column]; for FewSources [panel][source channel][point][column].
template <int Size, class T>
struct WinogradKernels {
  Tensor<T, 1> data;
};

/// The taps of a kernel as a correlation sees them, `width` numbers each.
template <class T, class P>
struct OrderedTaps {
  T* taps;
  const KernelTaps& kernel;
  Index width;
  HEED_INLINE P operator()(int i) const { return P::load(taps + kernel.tap[i] * width); }
  HEED_INLINE void operator()(int i, const P& value) const { value.store(taps + kernel.tap[i] * width); }
};
inline constexpr Index kSourcesTogether = 16;  ///< their taps are nine whole packets of the widest kind

/// G g Gᵀ for `valid` targets of one panel and all sources, whose points lie `point`, and who themselves lie `source` apart.
template <int Size, class T>
struct TransformKernels {
  /// The taps of some sources, [source][tap][target], zeros behind the valid targets.
  template <class Isa, Index width>
  HEED_INLINE static void gather(const KernelTaps* kernel, const T* weight, Index valid, Index sources, T* taps) {
    if (kernel->source_step == 9) {  // one behind the other
      const RowsSource<T> rows{weight, kernel->target_step, valid, 9 * sources, nullptr};
      return PackTransposed<T>::template run<Isa>(&rows, taps);
    }
    for (Index s = 0; s < sources; ++s, weight += kernel->source_step, taps += 9 * width)
      for (Index j = 0; j < width; ++j)
        for (Index k = 0; k < 9; ++k) taps[k * width + j] = j < valid ? weight[j * kernel->target_step + k] : T(0);
  }

  template <class Isa>
  HEED_INLINE static void run(const KernelTaps* kernel, const T* weight, Index valid, Index sources, T* to, Index point, Index source) {
    using P = Packet<Isa, T>;
    constexpr Index width = TileShape<Isa>::vectors * P::lanes;
    T taps[kSourcesTogether * 9 * width];
    for (Index first = 0; first < sources; first += kSourcesTogether) {
      const Index count = std::min(kSourcesTogether, sources - first);
      gather<Isa, width>(kernel, weight + first * kernel->source_step, valid, count, taps);
      for (Index s = 0; s < count; ++s, to += source)
        for (Index v = 0; v < width; v += P::lanes)
          transform_square<WinogradKernel<Size, T>, P>(
              OrderedTaps<T, P>{taps + 9 * s * width + v, *kernel, width}, Strided<T, P>{to + v, point});
    }
  }
};

/// weight += Gᵀ u G, the way back of TransformKernels, where u is the sum of `shards` parts, added in their order. Taps of neighbouring sources lie one
/// behind the other.
template <int Size, class T>
struct AddKernelGradients {
  /// Adds rows [source and tap][target] of `taps` to the weights.
  template <class Isa, Index width>
  HEED_INLINE static void add_transposed(const T* taps, Index rows, Index valid, Index target_step, T* d_weight) {
    using P = Packet<Isa, T>;
    for (Index n = 0; n < valid; n += P::lanes)
      for (Index k = 0; k < rows; k += P::lanes) {
        P block[P::lanes];
#pragma GCC unroll 16
        for (Index r = 0; r < P::lanes; ++r) block[r] = P::load(taps + std::min(k + r, rows - 1) * width + n);
        P::transpose(block);
#pragma GCC unroll 16
        for (Index r = 0; r < P::lanes; ++r) {
          if (n + r >= valid) continue;
          T* const target = d_weight + (n + r) * target_step + k;
          (P::load_partial(target, rows - k) + block[r]).store_partial(target, rows - k);
        }
      }
  }

  template <class Isa>
  HEED_INLINE static void run(
      const KernelTaps* kernel, const T* from, Index point, Index shards, Index shard, Index valid, Index sources, T* d_weight) {
    using P = Packet<Isa, T>;
    constexpr int side = Size + 2;
    constexpr Index width = TileShape<Isa>::vectors * P::lanes;
    T taps[kSourcesTogether * 9 * width];
    for (Index first = 0; first < sources; first += kSourcesTogether) {
      const Index count = std::min(kSourcesTogether, sources - first);
      for (Index s = 0; s < count; ++s, from += width)
        for (Index v = 0; v < width; v += P::lanes) {
          P points[side * side];
#pragma GCC unroll 36
          for (int i = 0; i < side * side; ++i) points[i] = P::load(from + i * point + v);
          for (Index part = 1; part < shards; ++part)
#pragma GCC unroll 36
            for (int i = 0; i < side * side; ++i) points[i] = points[i] + P::load(from + part * shard + i * point + v);
          transform_square<WinogradKernelGradient<Size, T>, P>(
              Numbered<P>{points}, OrderedTaps<T, P>{taps + 9 * s * width + v, *kernel, width});
        }
      add_transposed<Isa, width>(taps, 9 * count, valid, kernel->target_step, d_weight + 9 * first);
    }
  }
};

}  // namespace heed::inline HEED_ABI::kernels::detail
