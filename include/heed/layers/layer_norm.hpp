// SPDX-License-Identifier: MIT
#pragma once

#include <heed/core/initialize.hpp>
#include <heed/core/layer.hpp>
#include <heed/kernels/layer_norm.hpp>

namespace heed {

struct LayerNormOptions {
  Shape normalized_shape;  ///< the last axes of the input, over which each mean and variance is taken: {channels}, or several
  double eps = 1e-5;       ///< added to the variance
  bool elementwise_affine = true;
  bool bias = true;  ///< with elementwise_affine
};

/// y = (x - mean) / √(variance + eps) ⊙ weight + bias, with mean and (biased) variance over the last axes (torch.nn.LayerNorm; Ba, Kiros and
/// Hinton 2016).
///
/// Shapes: x and y (..., normalized_shape), weight and bias (normalized_shape), starting as ones and zeros. The cache keeps a view of x, and
/// the mean and 1/√(variance + eps) of each row.
template <class T>
class LayerNorm : public LayerBase<LayerNorm<T>> {
 public:
  using scalar = T;
  static constexpr int input_rank = kAnyRank;

  struct Cache {
    TensorView<const T, 2> x;    ///< (rows, width), the caller's
    Tensor<T, 1> mean, inv_std;  ///< (rows)
  };

  explicit LayerNorm(const LayerNormOptions& options) : options_(options), width_(options.normalized_shape.size()) {
    require(options.normalized_shape.rank() > 0 && width_ > 0, "LayerNorm: normalized_shape (", options.normalized_shape,
        ") names the last axes of the input, whose sizes must be positive");
    require(options.eps >= 0, "LayerNorm: eps is ", options.eps, ", it must not be negative");
    if (!options_.elementwise_affine) return;
    weight_ = Parameter<T>(options_.normalized_shape);
    initialize(weight_, Initializer::ones);
    if (options_.bias) bias_ = Parameter<T>(options_.normalized_shape);
  }

  Shape output_shape(const Shape& in) const {
    const Shape& last = options_.normalized_shape;
    bool fits = in.rank() >= last.rank();
    for (int axis = 1; fits && axis <= last.rank(); ++axis) fits = in[-axis] == last[-axis];
    require<ShapeError>(fits, "LayerNorm: input ", in, " does not end with the normalized shape ", last);
    return in;
  }

  template <int Rank>
  Tensor<T, Rank> forward(const TensorView<const T, Rank>& x) const {
    return run(x, static_cast<T*>(nullptr), static_cast<T*>(nullptr));
  }

  template <int Rank>
  Tensor<T, Rank> forward(const TensorView<const T, Rank>& x, Cache& cache) const {
    output_shape(x.shape());
    const Index rows = x.size() / width_;
    cache.x = {x.data(), Shape{rows, width_}};
    cache.mean.resize({rows});
    cache.inv_std.resize({rows});
    return run(x, cache.mean.data(), cache.inv_std.data());
  }
  template <int Rank>
  Tensor<T, Rank> forward(Tensor<T, Rank>&& x, Cache& cache) const = delete;  // x must outlive the cache

  /// With n = (x - mean) inv_std and g = dy ⊙ weight: dx = inv_std (g - mean(g) - n mean(g ⊙ n)), d_weight += Σ dy ⊙ n, d_bias += Σ dy.
  template <int Rank>
  Tensor<T, Rank> backward(const TensorView<const T, Rank>& dy, Cache& cache) {
    auto dx = Tensor<T, Rank>::uninitialized(dy.shape());
    backward_to(dy, cache, dx.view(), false);
    return dx;
  }
  /// The same, with the input gradient added to dx: for blocks whose x goes two ways.
  template <int Rank>
  void backward_add(const TensorView<const T, Rank>& dy, Cache& cache, const TensorView<T, Rank>& dx) {
    backward_to(dy, cache, dx, true);
  }

  const LayerNormOptions& options() const { return options_; }
  /// Empty without elementwise_affine.
  Parameter<T>& weight() { return weight_; }
  const Parameter<T>& weight() const { return weight_; }
  /// Empty without elementwise_affine or bias.
  Parameter<T>& bias() { return bias_; }
  const Parameter<T>& bias() const { return bias_; }

  /// The same layer over another scalar.
  template <class U>
  LayerNorm<U> rebind() const {
    return this->template rebound<LayerNorm<U>>(options_);
  }

  template <class Self, class V>
  static void describe_members(Self& self, V& visitor) {
    visitor.kind("LayerNorm");
    visitor.option("normalized_shape", self.options_.normalized_shape);
    visitor.option("eps", self.options_.eps);
    visitor.option("elementwise_affine", self.options_.elementwise_affine);
    visitor.option("bias", self.options_.bias);
    if (!self.weight_.empty()) visitor.parameter("weight", self.weight_);
    if (!self.bias_.empty()) visitor.parameter("bias", self.bias_);
  }

 private:
  kernels::LayerNormShape<T> kernel_shape(Index rows) const {
    return {rows, width_, std::as_const(weight_).value(), std::as_const(bias_).value(), options_.eps};  // null when empty
  }

  template <int Rank>
  Tensor<T, Rank> run(const TensorView<const T, Rank>& x, T* mean, T* inv_std) const {
    auto y = Tensor<T, Rank>::uninitialized(output_shape(x.shape()));
    kernels::layer_norm_forward(kernel_shape(x.size() / width_), x.data(), y.data(), mean, inv_std);
    return y;
  }

  template <int Rank>
  void backward_to(const TensorView<const T, Rank>& dy, Cache& cache, const TensorView<T, Rank>& dx, bool add) {
    require_filled("LayerNorm", cache.mean);
    const Index rows = cache.x.size(0);
    require<ShapeError>(dy.size() == cache.x.size() && dx.shape() == output_shape(dy.shape()), "LayerNorm: dy is ", dy.shape(),
        ", the forward pass of this cache gave ", rows, " times ", options_.normalized_shape);
    kernels::layer_norm_backward(kernel_shape(rows), cache.x.data(), dy.data(), cache.mean.data(), cache.inv_std.data(), dx.data(), add,
        weight_.gradient_unless_frozen(), bias_.gradient_unless_frozen());
    release(cache.mean, cache.inv_std);
  }

  LayerNormOptions options_;
  Index width_;
  Parameter<T> weight_, bias_;
};

static_assert(Layer<LayerNorm<float>>);

}  // namespace heed
