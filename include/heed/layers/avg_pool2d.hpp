// SPDX-License-Identifier: MIT
#pragma once

#include <heed/layers/avg_pool_layer.hpp>

namespace heed::inline HEED_ABI {

struct AvgPool2dOptions {
  Size2d kernel_size = 2;         ///< pixels of a window
  Size2d stride = 0;              ///< 0: kernel_size
  Padding2d padding = 0;          ///< zeros around x; smaller than the window (torch.nn asks for half of it at most)
  Size2d dilation = 1;            ///< distance of the taps, as in ONNX (torch.nn has none)
  bool ceil_mode = false;         ///< a last window may hang over the edge
  bool count_include_pad = true;  ///< divide by the taps in the image and its padding, not by those in the image alone
  Index divisor_override = 0;     ///< divide by this instead; 0: no
};

/// y[o, c] = Σ over the taps k of x[o · stride + k · dilation − padding, c] / divisor(o) (torch.nn.AvgPool2d, on channels-last images).
///
/// Shapes: x (N, H, W, C), y (N, H', W', C) with H' = ⌊(H + top + bottom − dilation (kernel − 1) − 1) / stride⌋ + 1 (⌈…⌉ in ceil mode, as long
/// as the window starts in the image or the padding before it). What ceil mode lets hang over the padded edge is never counted; where nothing
/// is counted, y = 0. The cache keeps the shape of x and no memory.
template <class T>
class AvgPool2d : public AvgPoolLayer<AvgPool2d<T>, T, 4, AvgPool2dOptions> {
 public:
  static constexpr const char* kKind = "AvgPool2d";
  using AvgPool2d::AvgPoolLayer::AvgPoolLayer;

  /// The same layer over another scalar.
  template <class U>
  AvgPool2d<U> rebind() const {
    return AvgPool2d<U>(this->options());
  }
};

static_assert(Layer<AvgPool2d<float>>);
HEED_COMPILE_LAYER_ONCE(AvgPool2d, AvgPoolLayer, 4, AvgPool2dOptions);

}  // namespace heed::inline HEED_ABI
