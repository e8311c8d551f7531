// SPDX-License-Identifier: MIT
#pragma once

#include <heed/layers/global_avg_pool_layer.hpp>

namespace heed::inline HEED_ABI {

/// y[n, c] = mean over the pixels of x[n, ·, ·, c]: (N, H, W, C) -> (N, C) (torch.nn.AdaptiveAvgPool2d(1), without the axes of size 1). The cache
/// keeps the shape of x and no memory.
template <class T>
class GlobalAvgPool2d : public GlobalAvgPoolLayer<GlobalAvgPool2d<T>, T, 4> {
 public:
  static constexpr const char* kKind = "GlobalAvgPool2d";

  /// The same layer over another scalar.
  template <class U>
  GlobalAvgPool2d<U> rebind() const {
    return {};
  }
};

static_assert(Layer<GlobalAvgPool2d<float>>);
HEED_COMPILE_LAYER_ONCE(GlobalAvgPool2d, GlobalAvgPoolLayer, 4);

}  // namespace heed::inline HEED_ABI
