// SPDX-License-Identifier: MIT
#pragma once

#include <heed/core/initialize.hpp>
#include <heed/core/layer.hpp>
#include <heed/kernels/batch_norm.hpp>

namespace heed::inline HEED_ABI {

struct GroupNormOptions {
  Index num_groups = 0;  ///< sets of neighbouring channels, a divisor of num_channels; as many as there are channels make it instance norm
  Index num_channels = 0;  ///< the last axis of the input
  double eps = 1e-5;       ///< added to the variance
  bool affine = true;      ///< has weight and bias, one a channel
};

/// y = (x - mean) / √(variance + eps) · weight + bias, with mean and (biased) variance of each image and group over the group's channels and all
/// pixels (torch.nn.GroupNorm; Wu and He 2018).
///
/// Shapes: x and y (N, ..., num_channels) of two or more axes, weight and bias (num_channels), starting as ones and zeros. Training and inference
/// are the same. The cache keeps a view of x and 3 N × num_channels numbers. (A group of a single number is its own mean: y = bias.)
template <class T>
class GroupNorm : public LayerBase<GroupNorm<T>> {
 public:
  using scalar = T;
  static constexpr int input_rank = kAnyRank;
  static constexpr bool mixes_tokens = true;  // decode refuses it

  struct Cache {
    TensorView<const T, 2> x;      ///< (rows, num_channels), the caller's
    Index images = 0;              ///< N
    Tensor<T, 2> mean, mean_rest;  ///< (N, num_channels), equal numbers for the channels of a group; digits that T cannot hold
    Tensor<T, 2> inv_std;          ///< the same, 1 / √(variance + eps)
  };

  explicit GroupNorm(const GroupNormOptions& options) : options_(options) {
    const auto& o = options_;
    require(o.num_groups > 0 && o.num_channels > 0 && o.num_channels % o.num_groups == 0, "GroupNorm: num_channels (", o.num_channels,
        ") must be a positive multiple of num_groups (", o.num_groups, ")");
    require(o.eps >= 0, "GroupNorm: eps is ", o.eps, ", it must not be negative");
    if (!o.affine) return;
    weight_ = Parameter<T>({o.num_channels});
    bias_ = Parameter<T>({o.num_channels});
    initialize(weight_, Initializer::ones);
  }

  Shape output_shape(const Shape& in) const {
    require<ShapeError>(in.rank() >= 2 && in.features() == options_.num_channels, "GroupNorm: input has ", in.features(),
        " channels, the layer ", options_.num_channels, " (input ", in, ")");
    return in;
  }

  using LayerBase<GroupNorm<T>>::forward;  // what it says to other tensors
  template <int Rank>
  Tensor<T, Rank> forward(const TensorView<const T, Rank>& x) const {
    Cache cache;
    return normalize(x, cache);
  }
  template <int Rank>
  Tensor<T, Rank> forward(const TensorView<const T, Rank>& x, Cache& cache) const {
    return normalize(x, cache);
  }
  template <int Rank>
  HEED_REFUSED("the cache looks at the input until backward has run, and a temporary is gone by then: give it a name")
  Tensor<T, Rank> forward(Tensor<T, Rank>&& x, Cache& cache) const;

  /// With n = (x - mean) inv_std and g = dy · weight: d_bias += Σ dy, d_weight += Σ dy n, dx = inv_std (g - mean(g) - n mean(g n)), with the means
  /// over the group.
  template <int Rank>
  Tensor<T, Rank> backward(const TensorView<const T, Rank>& dy, Cache& cache) {
    require_gradient_shape("GroupNorm", dy.shape(), output_shape(dy.shape()), cache.x, options_.num_channels);
    auto dx = Tensor<T, Rank>::uninitialized(dy.shape());
    if (dx.empty()) return dx;
    require_filled("GroupNorm", cache.mean);
    kernels::batch_norm_backward(rows(cache), cache.x.data(), dy.data(), cache.mean.data(), cache.mean_rest.data(), cache.inv_std.data(),
        std::as_const(weight_).value(), false, dx.data(), weight_.gradient_unless_frozen(), bias_.gradient_unless_frozen());
    release(cache.mean, cache.mean_rest, cache.inv_std);
    return dx;
  }

  const GroupNormOptions& options() const { return options_; }
  /// Empty unless affine.
  Parameter<T>& weight() { return weight_; }
  const Parameter<T>& weight() const { return weight_; }
  Parameter<T>& bias() { return bias_; }
  const Parameter<T>& bias() const { return bias_; }

  /// The same layer over another scalar.
  template <class U>
  GroupNorm<U> rebind() const {
    return this->template rebound<GroupNorm<U>>(options_);
  }

  template <class Self, class V>
  static void describe_members(Self& self, V& visitor) {
    const auto& o = self.options_;
    visitor.kind("GroupNorm");
    visitor.option("num_groups", o.num_groups);
    visitor.option("num_channels", o.num_channels);
    visitor.option("eps", o.eps);
    visitor.option("affine", o.affine);
    if (o.affine) visitor.parameter("weight", self.weight_), visitor.parameter("bias", self.bias_);
  }

 private:
  /// An image a group of rows, whose channels share statistics set by set.
  kernels::BatchNormRows rows(const Cache& cache) const {
    return {
        cache.x.rows(), options_.num_channels, cache.images, cache.x.rows() / cache.images, options_.num_channels / options_.num_groups};
  }

  template <int Rank>
  Tensor<T, Rank> normalize(const TensorView<const T, Rank>& x, Cache& cache) const {
    auto y = Tensor<T, Rank>::uninitialized(output_shape(x.shape()));
    cache.x = x.as_rows();
    cache.images = x.size(0);
    if (y.empty()) return y;
    const kernels::BatchNormRows r = rows(cache);
    const Shape shape{cache.images, options_.num_channels};
    auto variance = Tensor<T, 2>::uninitialized(shape);
    cache.mean.resize(shape), cache.mean_rest.resize(shape), cache.inv_std.resize(shape);
    kernels::batch_norm_statistics(r, x.data(), cache.mean.data(), cache.mean_rest.data(), variance.data());
    kernels::batch_norm_inv_std(shape.size(), variance.data(), options_.eps, cache.inv_std.data());
    kernels::batch_norm_forward(r, x.data(), cache.mean.data(), cache.mean_rest.data(), cache.inv_std.data(), weight_.value(),
        bias_.value(),
        y.data());  // null when empty
    return y;
  }

  GroupNormOptions options_;
  Parameter<T> weight_, bias_;
};

static_assert(Layer<GroupNorm<float>>);
HEED_COMPILE_CLASS_ONCE(GroupNorm);

}  // namespace heed::inline HEED_ABI
