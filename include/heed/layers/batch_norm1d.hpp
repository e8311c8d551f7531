// SPDX-License-Identifier: MIT
#pragma once

#include <heed/layers/batch_norm_layer.hpp>

namespace heed::inline HEED_ABI {

/// See BatchNormOptions.
using BatchNorm1dOptions = BatchNormOptions;

/// y = (x − mean) / √(variance + eps) · weight + bias for each feature, over the rows, or all tokens, of the batch (torch.nn.BatchNorm1d; Ioffe and
/// Szegedy 2015). Options, parameters, running statistics and cache: see BatchNormLayer.
///
/// Shapes: x and y (N, num_features) or (N, T, num_features); torch has (N, C, T).
template <class T>
class BatchNorm1d : public BatchNormLayer<BatchNorm1d<T>, T> {
 public:
  static constexpr const char* kKind = "BatchNorm1d";
  static constexpr int kHighestRank = 3;

  explicit BatchNorm1d(const BatchNorm1dOptions& options) : BatchNormLayer<BatchNorm1d, T>(options) {}

  /// The same layer over another scalar.
  template <class U>
  BatchNorm1d<U> rebind() const {
    return this->template rebound<BatchNorm1d<U>>(this->options());
  }
};

static_assert(Layer<BatchNorm1d<float>>);
HEED_COMPILE_LAYER_ONCE(BatchNorm1d, BatchNormLayer);

}  // namespace heed::inline HEED_ABI
