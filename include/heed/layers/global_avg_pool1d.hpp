// SPDX-License-Identifier: MIT
#pragma once

#include <heed/layers/global_avg_pool_layer.hpp>

namespace heed::inline HEED_ABI {

/// y[n, c] = mean over the tokens of x[n, ·, c]: (N, T, C) -> (N, C) (torch.nn.AdaptiveAvgPool1d(1), without the axis of size 1). The cache keeps
/// the shape of x and no memory.
template <class T>
class GlobalAvgPool1d : public GlobalAvgPoolLayer<GlobalAvgPool1d<T>, T, 3> {
 public:
  static constexpr const char* kKind = "GlobalAvgPool1d";

  /// The same layer over another scalar.
  template <class U>
  GlobalAvgPool1d<U> rebind() const {
    return {};
  }
};

static_assert(Layer<GlobalAvgPool1d<float>>);
HEED_COMPILE_LAYER_ONCE(GlobalAvgPool1d, GlobalAvgPoolLayer, 3);

}  // namespace heed::inline HEED_ABI
