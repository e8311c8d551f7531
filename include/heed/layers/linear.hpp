// SPDX-License-Identifier: MIT
#pragma once

#include <heed/core/initialize.hpp>
#include <heed/core/layer.hpp>
#include <heed/kernels/linear.hpp>

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
class Linear : public LayerBase<Linear<T>> {
 public:
  using scalar = T;
  static constexpr int input_rank = kAnyRank;

  struct Cache {
    TensorView<const T, 2> x;  ///< (rows, in_features), the caller's
  };

  explicit Linear(const LinearOptions& options) : options_(options) {
    require(options.in_features > 0 && options.out_features > 0, "Linear: in_features (", options.in_features, ") and out_features (",
        options.out_features, ") must be positive");
    weight_ = Parameter<T>({options_.out_features, options_.in_features});
    if (options_.bias) bias_ = Parameter<T>({options_.out_features});
    initialize(weight_, Initializer::fan_in_uniform);
    if (options_.bias) initialize(bias_, Initializer::fan_in_uniform, {.fan_in = options_.in_features});
  }

  Shape output_shape(const Shape& in) const {
    require<ShapeError>(in.rank() >= 1 && in.features() == options_.in_features, "Linear: input has ", in.features(),
        " features, weight expects ", options_.in_features, " (input ", in, ", weight ", weight_.shape(), ")");
    Shape out = in;
    out[-1] = options_.out_features;
    return out;
  }

  using LayerBase<Linear<T>>::forward;  // what it says to other tensors
  template <int Rank>
  Tensor<T, Rank> forward(const TensorView<const T, Rank>& x) const {
    auto y = Tensor<T, Rank>::uninitialized(output_shape(x.shape()));
    kernels::linear_forward(sizes(x.rows()), x.data(), weight_.value(), bias_.value(), y.data());
    return y;
  }

  template <int Rank>
  Tensor<T, Rank> forward(const TensorView<const T, Rank>& x, Cache& cache) const {
    cache.x = x.as_rows();
    return forward(x);
  }
  template <int Rank>
  HEED_REFUSED("the cache looks at the input until backward has run, and a temporary is gone by then: give it a name")
  Tensor<T, Rank> forward(Tensor<T, Rank>&& x, Cache& cache) const;

  /// y = x Wᵀ + b: dx = dy W, d_weight += dyᵀ x, d_bias += column sums of dy.
  template <int Rank>
  Tensor<T, Rank> backward(const TensorView<const T, Rank>& dy, Cache& cache) {
    const Index rows = cache.x.rows();
    const Shape in = replace_features(dy.shape(), options_.in_features);
    require_gradient_shape("Linear", dy.shape(), replace_features(dy.shape(), options_.out_features), cache.x, options_.in_features);
    auto dx = Tensor<T, Rank>::uninitialized(in);
    kernels::linear_backward(sizes(rows), cache.x.data(), weight_.value(), dy.data(), dx.data(), weight_.gradient_unless_frozen(),
        bias_.gradient_unless_frozen());
    return dx;
  }

  const LinearOptions& options() const { return options_; }
  Parameter<T>& weight() { return weight_; }
  const Parameter<T>& weight() const { return weight_; }
  /// Empty without a bias.
  Parameter<T>& bias() { return bias_; }
  const Parameter<T>& bias() const { return bias_; }

  /// The same layer over another scalar.
  template <class U>
  Linear<U> rebind() const {
    return this->template rebound<Linear<U>>(options_);
  }

  template <class Self, class V>
  static void describe_members(Self& self, V& visitor) {
    visitor.kind("Linear");
    visitor.option("in_features", self.options_.in_features);
    visitor.option("out_features", self.options_.out_features);
    visitor.option("bias", self.options_.bias);
    visitor.parameter("weight", self.weight_);
    if (self.options_.bias) visitor.parameter("bias", self.bias_);
  }

 private:
  kernels::LinearSizes sizes(Index rows) const { return {.rows = rows, .in = options_.in_features, .out = options_.out_features}; }

  LinearOptions options_;
  Parameter<T> weight_, bias_;
};

static_assert(Layer<Linear<float>>);
HEED_COMPILE_CLASS_ONCE(Linear);

}  // namespace heed::inline HEED_ABI
