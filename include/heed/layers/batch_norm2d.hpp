// SPDX-License-Identifier: MIT
#pragma once

#include <heed/layers/batch_norm_layer.hpp>

namespace heed::inline HEED_ABI {

/// See BatchNormOptions.
using BatchNorm2dOptions = BatchNormOptions;

/// y = (x − mean) / √(variance + eps) · weight + bias for each feature, over all pixels of the batch (torch.nn.BatchNorm2d; Ioffe and Szegedy
/// 2015). Options, parameters, running statistics and cache: see BatchNormLayer.
///
/// Shapes: x and y (N, H, W, num_features), or any other rank whose first axis counts images and whose last the features.
template <class T>
class BatchNorm2d : public BatchNormLayer<BatchNorm2d<T>, T> {
 public:
  static constexpr const char* kKind = "BatchNorm2d";
  static constexpr int kHighestRank = Shape::kMaxRank;

  explicit BatchNorm2d(const BatchNorm2dOptions& options) : BatchNormLayer<BatchNorm2d, T>(options) {}

  /// The same layer over another scalar.
  template <class U>
  BatchNorm2d<U> rebind() const {
    return this->template rebound<BatchNorm2d<U>>(this->options());
  }
};

static_assert(Layer<BatchNorm2d<float>>);
HEED_COMPILE_LAYER_ONCE(BatchNorm2d, BatchNormLayer);

}  // namespace heed::inline HEED_ABI
