// SPDX-License-Identifier: MIT
#pragma once

#include <heed/layers/global_max_pool_layer.hpp>

namespace heed::inline HEED_ABI {

/// y[n, c] = max over the pixels of x[n, ·, ·, c]: (N, H, W, C) -> (N, C), torch.nn.AdaptiveMaxPool2d(1) without its last axes. Of equal values the first in scan order wins; NaN makes y NaN.
/// The cache keeps the winning pixel of each y.
template <class T>
class GlobalMaxPool2d : public GlobalMaxPoolLayer<GlobalMaxPool2d<T>, T, 4> {
 public:
  static constexpr const char* kKind = "GlobalMaxPool2d";

  /// The same layer over another scalar.
  template <class U>
  GlobalMaxPool2d<U> rebind() const {
    return {};
  }
};

static_assert(Layer<GlobalMaxPool2d<float>>);
HEED_COMPILE_LAYER_ONCE(GlobalMaxPool2d, GlobalMaxPoolLayer, 4);

}  // namespace heed::inline HEED_ABI
