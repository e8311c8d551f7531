// SPDX-License-Identifier: MIT
#pragma once

#include <heed/layers/conv_layer.hpp>

namespace heed::inline HEED_ABI {

using kernels::Conv2dAlgorithm;

struct Conv2dOptions {
  Index in_channels = 0;   ///< features of x; must be given, a multiple of groups
  Index out_channels = 0;  ///< features of y; must be given, a multiple of groups
  Size2d kernel_size = 1;  ///< taps
  Size2d stride = 1;       ///< pixels from window to window
  Padding2d padding = 0;   ///< zeros around x
  Size2d dilation = 1;     ///< distance of the taps
  Index groups = 1;        ///< output channels of group g see the input channels of group g only
  bool bias = true;
  /// False for a network's first layer: `backward` leaves ∂f/∂x out and returns an empty tensor.
  bool input_gradient = true;
  /// How to compute: no part of the layer's description, since it changes the rounding and not the function.
  Conv2dAlgorithm algorithm = Conv2dAlgorithm::automatic;
};

/// y[p, o] = bias[o] + Σ_{k, i} x[p · stride + k · dilation − padding, i] weight[o, i, k] (torch.nn.Conv2d, on channels-last images).
///
/// Shapes: x (N, H, W, in_channels), y (N, H', W', out_channels) with H' = ⌊(H + top + bottom − dilation (kernel − 1) − 1) / stride⌋ + 1,
/// weight (out_channels, in_channels / groups, kernel height, kernel width), bias (out_channels). Both start uniform in
/// ±1/√(in_channels / groups · kernel height · kernel width), as torch.nn.Conv2d does. The cache keeps a view of x and no memory.
template <class T>
class Conv2d : public ConvLayer<Conv2d<T>, T, 4, Conv2dOptions> {
 public:
  static constexpr const char* kKind = "Conv2d";
  using Conv2d::ConvLayer::ConvLayer;

  /// The same layer over another scalar.
  template <class U>
  Conv2d<U> rebind() const {
    return this->template rebound<Conv2d<U>>(this->options());
  }
};

static_assert(Layer<Conv2d<float>>);
HEED_COMPILE_LAYER_ONCE(Conv2d, ConvLayer, 4, Conv2dOptions);

}  // namespace heed::inline HEED_ABI
