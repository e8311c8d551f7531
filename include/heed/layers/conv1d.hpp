// SPDX-License-Identifier: MIT
#pragma once

#include <heed/layers/conv_layer.hpp>

namespace heed::inline HEED_ABI {

struct Conv1dOptions {
  Index in_channels = 0;   ///< features of x; must be given, a multiple of groups
  Index out_channels = 0;  ///< features of y; must be given, a multiple of groups
  Index kernel_size = 1;   ///< taps
  Index stride = 1;        ///< tokens from window to window
  Padding1d padding = 0;   ///< zeros before and behind x; {kernel_size - 1, 0} for a causal convolution (of dilation 1)
  Index dilation = 1;      ///< distance of the taps
  Index groups = 1;        ///< output channels of group g see the input channels of group g only
  bool bias = true;
  /// False for a network's first layer: `backward` leaves ∂f/∂x out and returns an empty tensor.
  bool input_gradient = true;
};

/// y[t, o] = bias[o] + Σ_{k, i} x[t · stride + k · dilation − padding, i] weight[o, i, k] (torch.nn.Conv1d, on channels-last sequences).
///
/// Shapes: x (N, T, in_channels), y (N, T', out_channels) with T' = ⌊(T + begin + end − dilation (kernel − 1) − 1) / stride⌋ + 1,
/// weight (out_channels, in_channels / groups, kernel), bias (out_channels). Both start uniform in ±1/√(in_channels / groups · kernel), as
/// torch.nn.Conv1d does. The cache keeps a view of x and no memory. It runs as Conv2d on images of height 1.
template <class T>
class Conv1d : public ConvLayer<Conv1d<T>, T, 3, Conv1dOptions> {
 public:
  static constexpr const char* kKind = "Conv1d";
  static constexpr bool mixes_tokens = true;  // decode refuses it
  using Conv1d::ConvLayer::ConvLayer;

  /// The same layer over another scalar.
  template <class U>
  Conv1d<U> rebind() const {
    return this->template rebound<Conv1d<U>>(this->options());
  }
};

static_assert(Layer<Conv1d<float>>);
HEED_COMPILE_LAYER_ONCE(Conv1d, ConvLayer, 3, Conv1dOptions);

}  // namespace heed::inline HEED_ABI
