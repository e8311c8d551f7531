// SPDX-License-Identifier: MIT
#pragma once

#include <heed/kernels/winograd_tiles.hpp>

namespace heed::inline HEED_ABI::kernels::detail {

/// Products of up to four source channels, such as an image's colours, made where they are used, tile by tile and in registers: of 3 channels a number takes 3
/// multiply-adds, and its way to memory and back would take longer. Source: [slot][point][4]; kernels of a panel: [channel][point][column].
/// Zen 4, 64x32x32x3->64, two threads, ms: direct 1.34 (1.0 of it multiply-adds), through memory 1.3, this 0.81, with one packet of targets at a time, so that
/// each broadcasts its sources anew, 0.85. From 5 channels on the way through memory is faster: 8 channels 1.6 and 1.8 times as fast as direct, 15 channels, whose
/// kernels do not fit L1, 1.6 and 2.3.
template <int Size, class T>
struct FewSources {
  static constexpr int side = Size + 2, points = side * side;
  static constexpr Index most = 4;
  const T* source;
  const T* kernels;
  Index channels;

  static constexpr PointRows<T> rows(T* data) { return {data, most, most * points, most, 0}; }

  /// The first `targets` targets of a tile.
  template <class Isa, class Line, class Rows, class Tile>
  HEED_INLINE void put(Index slot, Index targets, const T* bias, const Tile& to) const {
    constexpr Index width = TileShape<Isa>::vectors * Packet<Isa, T>::lanes;
    const Body<Line, width, Tile> body{source + slot * most * points, kernels, bias, channels, to};
    if (targets == width)
      body.template some<TileShape<Isa>::vectors, Packet<Isa, T>>(0);
    else
      sweep_channels<Isa, T>(0, targets, body);
  }

 private:
  template <class Line, Index width, class Tile>
  struct Body {
    const T *source, *kernels, *bias;
    Index channels;
    const Tile& to;

    template <class P>
    HEED_INLINE void at(Index channel) const {
      some<1, P>(channel);
    }
    /// `count` packets from `channel` on, which share the sources.
    template <int count, class P>
    HEED_INLINE void some(Index channel) const {
      P middle[count][Line::out * side];
#pragma GCC unroll 6
      for (int j = 0; j < side; ++j) {
        P sums[count][side];
        multiply(source + j * most, kernels + j * width + channel, sums);
#pragma GCC unroll 2
        for (int v = 0; v < count; ++v) Line::apply(sums[v], middle[v] + j, side);
      }
#pragma GCC unroll 2
      for (int v = 0; v < count; ++v) {
        const Index first = channel + v * P::lanes;
        to.template take<Line, Whole, P>(middle[v], first, P::load(bias + first));
      }
    }
    /// A column of the products.
    template <int count, class P>
    HEED_INLINE void multiply(const T* from, const T* kernel, P (&sums)[count][side]) const {
#pragma GCC unroll 2
      for (int v = 0; v < count; ++v)
#pragma GCC unroll 6
        for (int i = 0; i < side; ++i) sums[v][i] = P::zero();
      for (Index s = 0; s < channels; ++s, ++from, kernel += points * width) {
#pragma GCC unroll 6
        for (int i = 0; i < side; ++i) {
          const P x = P::broadcast(from[i * side * most]);
#pragma GCC unroll 2
          for (int v = 0; v < count; ++v) sums[v][i] = P::fma(x, P::load(kernel + i * side * width + v * P::lanes), sums[v][i]);
        }
      }
    }
  };
};

}  // namespace heed::inline HEED_ABI::kernels::detail
