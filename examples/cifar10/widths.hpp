// SPDX-License-Identifier: MIT
#pragma once

#include <string>

#include <heed/core/error.hpp>

#include "options.hpp"

namespace cifar10 {

/// Features behind a net's blocks, and heads of its attention.
struct Widths {
  Index first, second, third, heads;
};
inline constexpr Index kWhitened = 24;  ///< features before the first block

/// The widths of a net by name; "article" has no third block. Throws std::invalid_argument for an unknown name.
inline Widths widths_of(const std::string& net) {
  if (net == "article") return {32, 96, 0, 4};
  if (net == "demo") return {24, 64, 96, 4};
  if (net == "small") return {32, 128, 128, 4};
  heed::require(net == "large", "'", net, "' is no net: demo, small, large, article");
  return {64, 256, 256, 8};
}

/// How many blocks a net has, each of which halves the map.
inline Index blocks_of(const std::string& net) { return net == "article" ? 2 : 3; }

/// Features behind block 1, 2 or 3, or with 0 before the first.
inline Index width_behind(const std::string& net, Index block) {
  const Widths w = widths_of(net);
  const Index all[] = {kWhitened, w.first, w.second, w.third};
  return all[block];
}

/// Numbers in the 3x3 convolutions of the net's blocks, most of all that it has: two a block, one in the blocks of "article".
inline Index block_weights(const std::string& net) {
  const Widths w = widths_of(net);
  const auto block = [&](Index in, Index out) { return 9 * out * (net == "article" ? in : in + out); };
  return block(kWhitened, w.first) + block(w.first, w.second) + block(w.second, w.third);
}

/// Numbers in the matrices between the blocks, those of "convolution" left out.
inline Index attention_weights(const NetOptions& options) {
  if (options.attention == "none") return 0;
  const Index width = width_behind(options.net, options.attention_after), mixer = options.attention == "convolution" ? 0 : 5;
  return options.attention_blocks * (mixer + 2 * options.feed_forward) * width * width;
}

}  // namespace cifar10
