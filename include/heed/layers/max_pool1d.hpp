// SPDX-License-Identifier: MIT
#pragma once

#include <heed/layers/max_pool_layer.hpp>

namespace heed::inline HEED_ABI {

struct MaxPool1dOptions {
  Index kernel_size = 2;   ///< tokens of a window
  Index stride = 0;        ///< 0: kernel_size
  Padding1d padding = 0;   ///< −∞ before and behind x; smaller than the window (torch.nn asks for half of it at most)
  Index dilation = 1;      ///< distance of a window's tokens
  bool ceil_mode = false;  ///< a last window may hang over the edge
};

/// y[t, c] = max over the taps k of x[t · stride + k · dilation − padding, c] (torch.nn.MaxPool1d, on channels-last sequences).
///
/// Shapes: x (N, T, C), y (N, T', C) with T' = ⌊(T + begin + end − dilation (kernel − 1) − 1) / stride⌋ + 1 (⌈…⌉ in ceil mode, as long as the
/// window starts in the sequence or the padding before it). Of equal values the first wins; NaN in a window makes its y NaN. The cache keeps
/// the number of the winning tap of each y, `indices(cache)` tells where it lies. It runs as MaxPool2d on images of height 1.
template <class T>
class MaxPool1d : public MaxPoolLayer<MaxPool1d<T>, T, 3, MaxPool1dOptions> {
 public:
  static constexpr const char* kKind = "MaxPool1d";
  static constexpr bool mixes_tokens = true;  // decode refuses it
  using MaxPool1d::MaxPoolLayer::MaxPoolLayer;

  /// The same layer over another scalar.
  template <class U>
  MaxPool1d<U> rebind() const {
    return MaxPool1d<U>(this->options());
  }
};

static_assert(Layer<MaxPool1d<float>>);
HEED_COMPILE_LAYER_ONCE(MaxPool1d, MaxPoolLayer, 3, MaxPool1dOptions);

}  // namespace heed::inline HEED_ABI
