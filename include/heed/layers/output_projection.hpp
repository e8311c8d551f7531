// SPDX-License-Identifier: MIT
#pragma once

#include <utility>

#include <heed/core/initialize.hpp>
#include <heed/core/layer.hpp>
#include <heed/kernels/linear.hpp>

namespace heed::inline HEED_ABI {

struct OutputProjectionOptions {
  Index context_features = 0;  ///< features of the context; must be given
  Index input_features = 0;    ///< features of x; must be given
  Index out_features = 0;      ///< features of y; must be given
  bool bias = true;
  Initializer weight = Initializer::fan_in_uniform;  ///< how W_o starts; zeros makes a residual block start as the identity
  double weight_value = 1;                           ///< the number that goes with it, see InitializerOptions
};

/// y = W_o [C; X] + b: context and input of each token are concatenated and projected (Luong, Pham and Manning 2015, equation 5, without its tanh).
///
/// Shapes: context (..., context_features), x (..., input_features), y (..., out_features),
/// weight (out_features, context_features + input_features), bias (out_features), which starts at zero.
/// The concatenation is never made: W_o [C; X] = W_c C + W_x X are two products on the columns of one weight. The cache holds views of both.
template <class T>
class OutputProjection : public LayerBase<OutputProjection<T>> {
 public:
  using scalar = T;
  static constexpr int input_rank = kAnyRank;

  struct Cache {
    TensorView<const T, 2> context;  ///< (rows, context_features), the caller's
    TensorView<const T, 2> x;        ///< (rows, input_features), the caller's
  };

  explicit OutputProjection(const OutputProjectionOptions& options) : options_(options) {
    require(options.context_features > 0 && options.input_features > 0 && options.out_features > 0, "OutputProjection: context_features (",
        options.context_features, "), input_features (", options.input_features, ") and out_features (", options.out_features,
        ") must be positive");
    weight_ = Parameter<T>({options_.out_features, depth()});
    initialize(weight_, options_.weight, {.value = options_.weight_value});
    if (options_.bias) bias_ = Parameter<T>({options_.out_features});
  }

  /// The shape of y. Throws ShapeError unless both have the features above and the same other axes.
  Shape output_shape(const Shape& context, const Shape& x) const {
    require<ShapeError>(context.features() == options_.context_features && x.features() == options_.input_features &&
                            replace_features(context, 0) == replace_features(x, 0),
        "OutputProjection: context ", context, " and input ", x, " must have the same rows, and ", options_.context_features, " and ",
        options_.input_features, " features (weight ", weight_.shape(), ")");
    return replace_features(x, options_.out_features);
  }

  using LayerBase<OutputProjection<T>>::forward;  // what it says to other tensors
  template <int Rank>
  Tensor<T, Rank> forward(const TensorView<const T, Rank>& context, const TensorView<const T, Rank>& x) const {
    auto y = Tensor<T, Rank>::uninitialized(output_shape(context.shape(), x.shape()));
    project(context, x, y.data(), false);
    return y;
  }
  /// Adds W_o [C; X] + b to y: for residual blocks.
  template <int Rank>
  void forward_add(const TensorView<const T, Rank>& context, const TensorView<const T, Rank>& x, const TensorView<T, Rank>& y) const {
    require<ShapeError>(y.shape() == output_shape(context.shape(), x.shape()), "OutputProjection: the result ", y.shape(),
        " does not fit context ", context.shape(), " and weight ", weight_.shape());
    project(context, x, y.data(), true);
  }

  template <int Rank>
  Tensor<T, Rank> forward(const TensorView<const T, Rank>& context, const TensorView<const T, Rank>& x, Cache& cache) const {
    remember(context, x, cache);
    return forward(context, x);
  }
  template <class C, class X>
    requires(TemporaryTensor<C> || TemporaryTensor<X>)
  HEED_REFUSED("the cache looks at the inputs until backward has run, and a temporary is gone by then: give them names")
  Tensor<T, std::remove_cvref_t<X>::rank> forward(C&& context, X&& x, Cache& cache) const;
  /// What the training pass keeps, for callers of `forward_add`.
  template <int Rank>
  void remember(const TensorView<const T, Rank>& context, const TensorView<const T, Rank>& x, Cache& cache) const {
    cache.context = context.as_rows();
    cache.x = x.as_rows();
  }

  /// y = W_c C + W_x X + b: the gradients of context and x are dy W_c and dy W_x; d_weight += dyᵀ [C, X], d_bias += column sums of dy.
  template <int Rank>
  std::pair<Tensor<T, Rank>, Tensor<T, Rank>> backward(const TensorView<const T, Rank>& dy, Cache& cache) {
    const Index rows = cache.x.rows(), split = options_.context_features;
    const Shape expected = replace_features(dy.shape(), options_.out_features);
    require_gradient_shape("OutputProjection", dy.shape(), expected, cache.x, options_.input_features);
    require_gradient_shape("OutputProjection", dy.shape(), expected, cache.context, split);
    auto d_context = Tensor<T, Rank>::uninitialized(replace_features(dy.shape(), options_.context_features));
    auto dx = Tensor<T, Rank>::uninitialized(replace_features(dy.shape(), options_.input_features));
    T *w = weight_.value(), *d_weight = weight_.gradient_unless_frozen();
    kernels::linear_backward<T>(context_sizes(rows), cache.context.data(), w, dy.data(), d_context.data(), d_weight, nullptr);
    kernels::linear_backward(input_sizes(rows), cache.x.data(), w + split, dy.data(), dx.data(), d_weight ? d_weight + split : nullptr,
        bias_.gradient_unless_frozen());
    return {std::move(d_context), std::move(dx)};
  }

  const OutputProjectionOptions& options() const { return options_; }
  Parameter<T>& weight() { return weight_; }
  const Parameter<T>& weight() const { return weight_; }
  /// Empty without a bias.
  Parameter<T>& bias() { return bias_; }
  const Parameter<T>& bias() const { return bias_; }

  /// The same layer over another scalar.
  template <class U>
  OutputProjection<U> rebind() const {
    return this->template rebound<OutputProjection<U>>(options_);
  }

  template <class Self, class V>
  static void describe_members(Self& self, V& visitor) {
    visitor.kind("OutputProjection");
    visitor.option("context_features", self.options_.context_features);
    visitor.option("input_features", self.options_.input_features);
    visitor.option("out_features", self.options_.out_features);
    visitor.option("bias", self.options_.bias);
    visitor.parameter("weight", self.weight_);
    if (self.options_.bias) visitor.parameter("bias", self.bias_);
  }

 private:
  Index depth() const { return options_.context_features + options_.input_features; }
  /// Of the product with W_c, the first columns of the weight, and with W_x, the others.
  kernels::LinearSizes context_sizes(Index rows) const { return {rows, options_.context_features, options_.out_features, depth()}; }
  kernels::LinearSizes input_sizes(Index rows) const { return {rows, options_.input_features, options_.out_features, depth()}; }

  template <int Rank>
  void project(const TensorView<const T, Rank>& context, const TensorView<const T, Rank>& x, T* y, bool add) const {
    const T* w = weight_.value();
    kernels::linear_forward<T>(context_sizes(x.rows()), context.data(), w, nullptr, y, add);
    kernels::linear_forward(input_sizes(x.rows()), x.data(), w + options_.context_features, bias_.value(), y, true);
  }

  OutputProjectionOptions options_;
  Parameter<T> weight_, bias_;
};

HEED_COMPILE_CLASS_ONCE(OutputProjection);

}  // namespace heed::inline HEED_ABI
