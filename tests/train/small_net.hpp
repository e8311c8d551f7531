// SPDX-License-Identifier: MIT
#pragma once

#include <heed/compose/any_layer.hpp>
#include <heed/compose/sequential.hpp>
#include <heed/layers/attention_fusion.hpp>
#include <heed/layers/batch_norm2d.hpp>
#include <heed/layers/conv2d.hpp>
#include <heed/layers/dropout.hpp>
#include <heed/layers/gelu.hpp>
#include <heed/layers/global_max_pool2d.hpp>
#include <heed/layers/linear.hpp>
#include <heed/layers/max_pool2d.hpp>

/// One of everything: convolution, pooling, batch norm, GELU, attention with dropout, global pooling, a classifier of four classes.
/// Takes (N, 8, 8, 3).
inline auto small_net() {
  using namespace heed;
  return Sequential(Conv2d<float>({.in_channels = 3, .out_channels = 17, .kernel_size = 3, .padding = 1}),
      MaxPool2d<float>({.kernel_size = 2}), BatchNorm2d<float>({.num_features = 17}), Gelu<float>(),
      Conv2d<float>({.in_channels = 17, .out_channels = 16, .kernel_size = 3, .padding = 1}),
      AttentionFusion<float>({.features = 16, .num_heads = 2, .height = 4, .width = 4, .dropout = 0.1, .out_weight = Initializer::normal}),
      Dropout<float>({.p = 0.1}), GlobalMaxPool2d<float>(), Linear<float>({.in_features = 16, .out_features = 4}));
}
