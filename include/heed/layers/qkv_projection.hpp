// SPDX-License-Identifier: MIT
#pragma once

#include <heed/layers/linear_layer.hpp>

namespace heed::inline HEED_ABI {

struct QkvProjectionOptions {
  Index in_features = 0;  ///< features of x; must be given
  Index model_width = 0;  ///< of each of Q, K and V; 0: in_features
  bool bias = true;
};

/// [Q, K, V] = x Wᵀ + b: queries, keys and values of every token in one product (Vaswani et al. 2017, section 3.2.2).
///
/// Shapes: x (..., in_features), y (..., 3 model_width) with Q, K and V side by side in each row, so that a head is a strided view;
/// weight (3 model_width, in_features) with W_q over W_k over W_v (torch.nn.MultiheadAttention's in_proj_weight), bias (3 model_width).
/// The weight starts Xavier-uniform as one matrix, the bias at zero, as there. The cache is a view of x.
template <class T>
class QkvProjection : public LinearLayer<QkvProjection<T>, T> {
 public:
  static constexpr const char* kKind = "QkvProjection";

  explicit QkvProjection(const QkvProjectionOptions& options) : options_(options) {
    if (options_.model_width == 0) options_.model_width = options_.in_features;
    require(options_.in_features > 0 && options_.model_width > 0, "QkvProjection: in_features (", options_.in_features,
        ") and model_width (", options_.model_width, ") must be positive");
    this->set_features(options_.in_features, 3 * options_.model_width, options_.bias);
    initialize(this->weight(), Initializer::xavier_uniform);
  }

  const QkvProjectionOptions& options() const { return options_; }

  /// The same layer over another scalar.
  template <class U>
  QkvProjection<U> rebind() const {
    return this->template rebound<QkvProjection<U>>(options_);
  }

  template <class Self, class V>
  static void describe_members(Self& self, V& visitor) {
    visitor.kind(kKind);
    visitor.option("in_features", self.options_.in_features);
    visitor.option("model_width", self.options_.model_width);
    visitor.option("bias", self.options_.bias);
    QkvProjection::describe_parameters(self, visitor);
  }

 private:
  QkvProjectionOptions options_;
};

static_assert(Layer<QkvProjection<float>>);
HEED_COMPILE_LAYER_ONCE(QkvProjection, LinearLayer);

}  // namespace heed::inline HEED_ABI
