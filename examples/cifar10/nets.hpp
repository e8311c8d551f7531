// SPDX-License-Identifier: MIT
#pragma once

#include <string>

#include <heed/compose/any_layer.hpp>
#include <heed/layers/conv2d.hpp>

#include "options.hpp"

namespace cifar10 {

/// Takes images (N, 32, 32, 3), normalised, to logits (N, 10).
template <class T>
using Net = heed::AnyLayer<T, 4, 2>;

/// The side of the map behind a block: 31x31 behind the whitening convolution, halved by each block.
inline constexpr Index map_side(Index block) { return 32 / (Index(1) << block) - 1; }
/// The side of the map that the net's attention works on.
inline Index map_side(const NetOptions& options) { return map_side(options.attention_after); }

/// A net by name (docs/cifar10.md; the same as in the benchmarks), with fresh weights from the thread's seed (heed::SeedScope); its whitening
/// convolution starts at random and wants `set_whitening`. Throws std::invalid_argument for an unknown name.
///
/// All: frozen 2x2 whitening convolution 3 -> 24 and GELU, then blocks [conv 3x3, max-pool 2, batch norm, GELU; conv 3x3, batch norm, GELU],
/// the attention block on the 7x7 map behind the second (or as the options say), global max-pool, linear, logits times a constant.
///
///     demo     widths 24, 64, 96, 4 heads         large    64, 256, 256, 8 heads
///     small    32, 128, 128, 4 heads              article  32, 96, 4 heads: two blocks of one convolution
///
/// Max-pool stands before batch norm (a quarter of the traffic). Batch norm's scale is frozen at 1, running statistics keep 0.9 of the old
/// value. Convolutions have no bias and start by copying their input channels; `convolution` (kConvolutions) is how 3x3 ones are computed, which
/// changes the rounding and not the net. Throws std::invalid_argument for attention behind a block that the net does not have.
template <class T>
Net<T> make_net(const NetOptions& options, const std::string& convolution = "automatic");

extern template Net<float> make_net<float>(const NetOptions&, const std::string&);
extern template Net<double> make_net<double>(const NetOptions&, const std::string&);

}  // namespace cifar10
