// SPDX-License-Identifier: MIT
#pragma once

#include <heed/layers/max_pool_layer.hpp>

namespace heed::inline HEED_ABI {

struct MaxPool2dOptions {
  Size2d kernel_size = 2;  ///< pixels of a window
  Size2d stride = 0;       ///< 0: kernel_size
  Padding2d padding = 0;   ///< −∞ around x; smaller than the window (torch.nn asks for half of it at most)
  Size2d dilation = 1;     ///< distance of a window's pixels
  bool ceil_mode = false;  ///< a last window may hang over the edge
};

/// y[o, c] = max over the taps k of x[o · stride + k · dilation − padding, c] (torch.nn.MaxPool2d, on channels-last images).
///
/// Shapes: x (N, H, W, C), y (N, H', W', C) with H' = ⌊(H + top + bottom − dilation (kernel − 1) − 1) / stride⌋ + 1 (⌈…⌉ in ceil mode, as long
/// as the window starts in the image or the padding before it). Of equal values the first in scan order wins; NaN in a window makes its y NaN.
/// The cache keeps the number of the winning tap of each y: a byte, or four for more than 256 taps; `indices(cache)` tells where it lies.
template <class T>
class MaxPool2d : public MaxPoolLayer<MaxPool2d<T>, T, 4, MaxPool2dOptions> {
 public:
  static constexpr const char* kKind = "MaxPool2d";
  using MaxPool2d::MaxPoolLayer::MaxPoolLayer;

  /// The same layer over another scalar.
  template <class U>
  MaxPool2d<U> rebind() const {
    return MaxPool2d<U>(this->options());
  }
};

static_assert(Layer<MaxPool2d<float>>);
HEED_COMPILE_LAYER_ONCE(MaxPool2d, MaxPoolLayer, 4, MaxPool2dOptions);

}  // namespace heed::inline HEED_ABI
