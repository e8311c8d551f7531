// SPDX-License-Identifier: MIT
#pragma once

#include <heed/layers/global_max_pool_layer.hpp>

namespace heed::inline HEED_ABI {

/// y[n, c] = max over the tokens of x[n, ·, c]: (N, T, C) -> (N, C), torch.nn.AdaptiveMaxPool1d(1) without its last axis. Of equal values the first wins; NaN makes y NaN. The cache keeps the winning
/// token of each y.
template <class T>
class GlobalMaxPool1d : public GlobalMaxPoolLayer<GlobalMaxPool1d<T>, T, 3> {
 public:
  static constexpr const char* kKind = "GlobalMaxPool1d";

  /// The same layer over another scalar.
  template <class U>
  GlobalMaxPool1d<U> rebind() const {
    return {};
  }
};

static_assert(Layer<GlobalMaxPool1d<float>>);
HEED_COMPILE_LAYER_ONCE(GlobalMaxPool1d, GlobalMaxPoolLayer, 3);

}  // namespace heed::inline HEED_ABI
