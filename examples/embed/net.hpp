// SPDX-License-Identifier: MIT
#pragma once

#include <heed/compose/sequential.hpp>
#include <heed/layers/attention_fusion.hpp>
#include <heed/layers/conv2d.hpp>
#include <heed/layers/global_max_pool2d.hpp>
#include <heed/layers/linear.hpp>
#include <heed/layers/max_pool2d.hpp>
#include <heed/layers/relu.hpp>

namespace embed {

inline constexpr heed::Index kSide = 32, kChannels = 3, kPixels = kSide * kSide * kChannels, kClasses = 10;
inline constexpr heed::Index kHeads = 4, kMapSide = kSide / 4, kTokens = kMapSide * kMapSide;  ///< of the attention

/// A byte of a pixel as the net sees it. Training and inference must agree.
inline constexpr double kMean = 0.5, kDeviation = 0.25;

/// Two convolutions, attention over the 8 x 8 map that they leave, a classifier: 13,402 weights.
inline auto make_net() {
  using namespace heed;
  return Sequential(Conv2d<float>({.in_channels = kChannels, .out_channels = 16, .kernel_size = 3, .padding = 1}),
      MaxPool2d<float>({.kernel_size = 2}), Relu<float>(),
      Conv2d<float>({.in_channels = 16, .out_channels = 32, .kernel_size = 3, .padding = 1}), MaxPool2d<float>({.kernel_size = 2}),
      Relu<float>(), AttentionFusion<float>({.features = 32, .num_heads = kHeads, .height = kMapSide, .width = kMapSide}),
      GlobalMaxPool2d<float>(), Linear<float>({.in_features = 32, .out_features = kClasses}));
}

}  // namespace embed
