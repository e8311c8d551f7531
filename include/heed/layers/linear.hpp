// SPDX-License-Identifier: MIT
#pragma once

#include <heed/layers/linear_layer.hpp>

namespace heed::inline HEED_ABI {

struct LinearOptions {
  Index in_features = 0;   ///< features of x; must be given
  Index out_features = 0;  ///< features of y; must be given
  bool bias = true;
};

/// y = x Wᵀ + b, row by row (torch.nn.Linear).
///
/// Shapes: x (..., in_features), y (..., out_features), weight (out_features, in_features), bias (out_features).
/// Both start uniform in ±1/√in_features (LeCun et al. 1998, as torch.nn.Linear does). The cache keeps a view of x and no memory.
template <class T>
class Linear : public LinearLayer<Linear<T>, T> {
 public:
  static constexpr const char* kKind = "Linear";

  explicit Linear(const LinearOptions& options) : options_(options) {
    require(options.in_features > 0 && options.out_features > 0, "Linear: in_features (", options.in_features, ") and out_features (",
        options.out_features, ") must be positive");
    this->set_features(options.in_features, options.out_features, options.bias);
    initialize(this->weight(), Initializer::fan_in_uniform);
    if (options.bias) initialize(this->bias(), Initializer::fan_in_uniform, {.fan_in = options.in_features});
  }

  const LinearOptions& options() const { return options_; }

  /// The same layer over another scalar.
  template <class U>
  Linear<U> rebind() const {
    return this->template rebound<Linear<U>>(options_);
  }

  template <class Self, class V>
  static void describe_members(Self& self, V& visitor) {
    visitor.kind(kKind);
    visitor.option("in_features", self.options_.in_features);
    visitor.option("out_features", self.options_.out_features);
    visitor.option("bias", self.options_.bias);
    Linear::describe_parameters(self, visitor);
  }

 private:
  LinearOptions options_;
};

static_assert(Layer<Linear<float>>);
HEED_COMPILE_LAYER_ONCE(Linear, LinearLayer);

}  // namespace heed::inline HEED_ABI
