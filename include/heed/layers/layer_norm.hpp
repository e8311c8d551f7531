// SPDX-License-Identifier: MIT
#pragma once

#include <heed/layers/row_norm_layer.hpp>

namespace heed::inline HEED_ABI {

struct LayerNormOptions {
  Shape normalized_shape;          ///< the last axes of the input, over which each mean and variance is taken: {channels}, or several
  double eps = 1e-5;               ///< added to the variance
  bool elementwise_affine = true;  ///< whether there is a weight
  bool bias = true;                ///< with elementwise_affine
};

/// y = (x - mean) / √(variance + eps) ⊙ weight + bias, with mean and (biased) variance over the last axes (torch.nn.LayerNorm; Ba, Kiros and
/// Hinton 2016).
///
/// Shapes: x and y (..., normalized_shape), weight and bias (normalized_shape), starting as ones and zeros. The cache keeps a view of x, and
/// the mean and 1/√(variance + eps) of each row.
template <class T>
class LayerNorm : public RowNormLayer<LayerNorm<T>, T> {
 public:
  static constexpr const char* kKind = "LayerNorm";
  static constexpr bool kCentered = true;

  explicit LayerNorm(const LayerNormOptions& options)
      : RowNormLayer<LayerNorm, T>(
            options.normalized_shape, options.eps, options.elementwise_affine, options.elementwise_affine && options.bias),
        options_(options) {}

  const LayerNormOptions& options() const { return options_; }
  /// Empty without elementwise_affine or bias.
  Parameter<T>& bias() { return this->bias_; }
  const Parameter<T>& bias() const { return this->bias_; }

  /// The same layer over another scalar.
  template <class U>
  LayerNorm<U> rebind() const {
    return this->template rebound<LayerNorm<U>>(options_);
  }

  template <class Self, class V>
  static void describe_members(Self& self, V& visitor) {
    visitor.kind(kKind);
    visitor.option("normalized_shape", self.options_.normalized_shape);
    visitor.option("eps", self.options_.eps);
    visitor.option("elementwise_affine", self.options_.elementwise_affine);
    visitor.option("bias", self.options_.bias);
    if (!self.weight_.empty()) visitor.parameter("weight", self.weight_);
    if (!self.bias_.empty()) visitor.parameter("bias", self.bias_);
  }

 private:
  LayerNormOptions options_;
};

static_assert(Layer<LayerNorm<float>>);
HEED_COMPILE_LAYER_ONCE(LayerNorm, RowNormLayer);

}  // namespace heed::inline HEED_ABI
