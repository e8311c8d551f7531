// SPDX-License-Identifier: MIT
#pragma once

#include <heed/core/initialize.hpp>
#include <heed/core/layer.hpp>
#include <heed/kernels/linear.hpp>

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
class QkvProjection : public LayerBase<QkvProjection<T>> {
 public:
  using scalar = T;
  static constexpr int input_rank = kAnyRank;

  struct Cache {
    TensorView<const T, 2> x;  ///< (rows, in_features), the caller's
  };

  explicit QkvProjection(const QkvProjectionOptions& options) : options_(options) {
    if (options_.model_width == 0) options_.model_width = options_.in_features;
    require(options_.in_features > 0 && options_.model_width > 0, "QkvProjection: in_features (", options_.in_features,
        ") and model_width (", options_.model_width, ") must be positive");
    weight_ = Parameter<T>({width(), options_.in_features});
    initialize(weight_, Initializer::xavier_uniform);
    if (options_.bias) bias_ = Parameter<T>({width()});
  }

  Shape output_shape(const Shape& in) const {
    require<ShapeError>(in.rank() >= 1 && in.features() == options_.in_features, "QkvProjection: input has ", in.features(),
        " features, weight expects ", options_.in_features, " (input ", in, ", weight ", weight_.shape(), ")");
    return replace_features(in, width());
  }

  using LayerBase<QkvProjection<T>>::forward;  // what it says to other tensors
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
    auto dx = Tensor<T, Rank>::uninitialized(replace_features(dy.shape(), options_.in_features));
    backward_to(dy, cache, dx.view(), false);
    return dx;
  }
  /// The same, with the input gradient added to dx: for blocks whose x goes two ways.
  template <int Rank>
  void backward_add(const TensorView<const T, Rank>& dy, Cache& cache, const TensorView<T, Rank>& dx) {
    backward_to(dy, cache, dx, true);
  }

  const QkvProjectionOptions& options() const { return options_; }
  Parameter<T>& weight() { return weight_; }
  const Parameter<T>& weight() const { return weight_; }
  /// Empty without a bias.
  Parameter<T>& bias() { return bias_; }
  const Parameter<T>& bias() const { return bias_; }

  /// The same layer over another scalar.
  template <class U>
  QkvProjection<U> rebind() const {
    return this->template rebound<QkvProjection<U>>(options_);
  }

  template <class Self, class V>
  static void describe_members(Self& self, V& visitor) {
    visitor.kind("QkvProjection");
    visitor.option("in_features", self.options_.in_features);
    visitor.option("model_width", self.options_.model_width);
    visitor.option("bias", self.options_.bias);
    visitor.parameter("weight", self.weight_);
    if (self.options_.bias) visitor.parameter("bias", self.bias_);
  }

 private:
  Index width() const { return 3 * options_.model_width; }
  kernels::LinearSizes sizes(Index rows) const { return {.rows = rows, .in = options_.in_features, .out = width()}; }

  template <int Rank>
  void backward_to(const TensorView<const T, Rank>& dy, Cache& cache, const TensorView<T, Rank>& dx, bool add) {
    const Index rows = cache.x.rows();
    require_gradient_shape("QkvProjection", dy.shape(), output_shape(dx.shape()), cache.x, options_.in_features);
    kernels::linear_backward(sizes(rows), cache.x.data(), weight_.value(), dy.data(), dx.data(), weight_.gradient_unless_frozen(),
        bias_.gradient_unless_frozen(), add);
  }

  QkvProjectionOptions options_;
  Parameter<T> weight_, bias_;
};

static_assert(Layer<QkvProjection<float>>);
HEED_COMPILE_CLASS_ONCE(QkvProjection);

}  // namespace heed::inline HEED_ABI
