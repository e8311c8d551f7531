// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <string>

#include <heed/core/error.hpp>

#include "options.hpp"

namespace cifar10 {

/// Features and heads of a net by name.
struct Widths {
  std::array<Index, 4> behind;  ///< features before the first block, and behind block 1, 2 and 3
  Index heads;                  ///< of its attention
};
inline constexpr Index kWhitened = 24;  ///< features before the first block

/// The widths of a net by name; "article" has no third block. Throws std::invalid_argument for an unknown name.
inline Widths widths_of(const std::string& net) {
  if (net == "article") return {{kWhitened, 32, 96, 0}, 4};
  if (net == "demo") return {{kWhitened, 24, 64, 96}, 4};
  if (net == "small") return {{kWhitened, 32, 128, 128}, 4};
  heed::require(net == "large", "'", net, "' is no net: demo, small, large, article");
  return {{kWhitened, 64, 256, 256}, 8};
}

/// How many blocks a net has, each of which halves the map.
inline Index blocks_of(const std::string& net) { return net == "article" ? 2 : 3; }

/// Numbers in the 3x3 convolutions of the net's blocks, most of all that it has: two a block, one in the blocks of "article".
inline Index block_weights(const std::string& net) {
  const Widths w = widths_of(net);
  Index sum = 0;
  for (std::size_t k = 1; k < w.behind.size(); ++k)
    sum += 9 * w.behind[k] * (net == "article" ? w.behind[k - 1] : w.behind[k - 1] + w.behind[k]);
  return sum;
}

/// Numbers in the matrices between the blocks, those of "convolution" left out.
inline Index attention_weights(const NetOptions& options) {
  if (options.attention == "none") return 0;
  const Index width = widths_of(options.net).behind[static_cast<std::size_t>(options.attention_after)],
              mixer = options.attention == "convolution" ? 0 : 5;
  return options.attention_blocks * (mixer + 2 * options.feed_forward) * width * width;
}

}  // namespace cifar10
