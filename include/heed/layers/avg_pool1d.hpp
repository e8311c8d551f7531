// SPDX-License-Identifier: MIT
#pragma once

#include <heed/layers/avg_pool_layer.hpp>

namespace heed::inline HEED_ABI {

struct AvgPool1dOptions {
  Index kernel_size = 2;          ///< tokens of a window
  Index stride = 0;               ///< 0: kernel_size
  Padding1d padding = 0;          ///< zeros before and behind x; smaller than the window (torch.nn asks for half of it at most)
  Index dilation = 1;             ///< distance of the taps, as in ONNX (torch.nn has none)
  bool ceil_mode = false;         ///< a last window may hang over the edge
  bool count_include_pad = true;  ///< divide by the taps in the sequence and its padding, not by those in the sequence alone
};

/// y[t, c] = Σ over the taps k of x[t · stride + k · dilation − padding, c] / count(t) (torch.nn.AvgPool1d, on channels-last sequences).
///
/// Shapes: x (N, T, C), y (N, T', C) with T' = ⌊(T + begin + end − dilation (kernel − 1) − 1) / stride⌋ + 1 (⌈…⌉ in ceil mode, as long as the
/// window starts in the sequence or the padding before it). What ceil mode lets hang over the padded edge is never counted; where nothing is
/// counted, y = 0. The cache keeps the shape of x and no memory. It runs as AvgPool2d on images of height 1.
template <class T>
class AvgPool1d : public AvgPoolLayer<AvgPool1d<T>, T, 3, AvgPool1dOptions> {
 public:
  static constexpr const char* kKind = "AvgPool1d";
  static constexpr bool mixes_tokens = true;  // decode refuses it
  using AvgPool1d::AvgPoolLayer::AvgPoolLayer;

  /// The same layer over another scalar.
  template <class U>
  AvgPool1d<U> rebind() const {
    return AvgPool1d<U>(this->options());
  }
};

static_assert(Layer<AvgPool1d<float>>);
HEED_COMPILE_LAYER_ONCE(AvgPool1d, AvgPoolLayer, 3, AvgPool1dOptions);

}  // namespace heed::inline HEED_ABI
