// SPDX-License-Identifier: MIT
#pragma once

#include <heed/core/initialize.hpp>
#include <heed/core/layer.hpp>
#include <heed/fwd.hpp>
#include <heed/kernels/sequence_pool.hpp>

namespace heed::inline HEED_ABI {

struct SequencePoolOptions {
  Index features = 0;  ///< features of x; must be given
};

/// y = Σ over tokens of w[t] x[t] with w = softmax over tokens of (x[t] · weight): the net learns which tokens speak for the whole
/// (Hassani et al. 2021, "SeqPool").
///
/// Shapes: x (N, T, C), or (N, H, W, C) with InputRank 4; y (N, C); weight (1, C), uniform in ±1/√C. The bias of the paper's linear layer
/// moves all scores alike and drops out of the softmax, so there is none. The cache keeps a view of x and the N·T weights.
template <class T, int InputRank>
class SequencePool : public LayerBase<SequencePool<T, InputRank>> {
  static_assert(InputRank == 3 || InputRank == 4, "heed::SequencePool: the input is (N, T, C) or (N, H, W, C)");

 public:
  using scalar = T;
  static constexpr int input_rank = InputRank;

  struct Cache {
    TensorView<const T, InputRank> x;  ///< the caller's
    Tensor<T, 2> weights;              ///< (N, T)
  };

  explicit SequencePool(const SequencePoolOptions& options) : options_(options) {
    require(options.features > 0, "SequencePool: features (", options.features, ") must be positive");
    weight_ = Parameter<T>({1, options_.features});
    initialize(weight_, Initializer::fan_in_uniform);
  }

  Shape output_shape(const Shape& in) const {
    require<ShapeError>(in.rank() == InputRank && in.features() == options_.features && tokens_of(in) > 0, "SequencePool: input is ", in,
        ", the layer takes rank ", InputRank, " with ", options_.features, " features and at least one token");
    return {in[0], in.features()};
  }

  using LayerBase<SequencePool<T, InputRank>>::forward;  // what it says to other tensors
  Tensor<T, 2> forward(const TensorView<const T, InputRank>& x) const {
    Tensor<T, 2> weights;
    return run(x, weights);
  }

  Tensor<T, 2> forward(const TensorView<const T, InputRank>& x, Cache& cache) const {
    cache.x = x;
    return run(x, cache.weights);
  }
  HEED_REFUSED("the cache looks at the input until backward has run, and a temporary is gone by then: give it a name")
  Tensor<T, 2> forward(Tensor<T, InputRank>&& x, Cache& cache) const;

  /// With d_w[t] = dy · x[t] and d_s = w ⊙ (d_w - Σ w ⊙ d_w): dx[t] = w[t] dy + d_s[t] weight, d_weight += Σ d_s[t] x[t].
  Tensor<T, InputRank> backward(const TensorView<const T, 2>& dy, Cache& cache) {
    const auto& x = cache.x;
    require_filled("SequencePool", cache.weights);
    require_own_cache("SequencePool", x.features(), options_.features);
    require_gradient_shape("SequencePool", dy.shape(), {x.size(0), options_.features}, x.size(0));
    auto dx = Tensor<T, InputRank>::uninitialized(x.shape());
    kernels::sequence_pool_backward(
        kernel_shape(x.shape()), x.data(), cache.weights.data(), dy.data(), dx.data(), weight_.gradient_unless_frozen());
    release(cache.weights);
    return dx;
  }

  const SequencePoolOptions& options() const { return options_; }
  Parameter<T>& weight() { return weight_; }
  const Parameter<T>& weight() const { return weight_; }

  /// The same layer over another scalar.
  template <class U>
  SequencePool<U, InputRank> rebind() const {
    return this->template rebound<SequencePool<U, InputRank>>(options_);
  }

  template <class Self, class V>
  static void describe_members(Self& self, V& visitor) {
    visitor.kind("SequencePool");
    visitor.option("features", self.options_.features);
    visitor.parameter("weight", self.weight_);
  }

 private:
  static Index tokens_of(const Shape& in) {
    Index tokens = 1;
    for (int axis = 1; axis + 1 < in.rank(); ++axis) tokens *= in[axis];
    return tokens;
  }
  kernels::SequencePoolShape<T> kernel_shape(const Shape& in) const {
    return {in[0], tokens_of(in), options_.features, std::as_const(weight_).value()};
  }
  Tensor<T, 2> run(const TensorView<const T, InputRank>& x, Tensor<T, 2>& weights) const {
    auto y = Tensor<T, 2>::uninitialized(output_shape(x.shape()));
    weights.resize({x.size(0), tokens_of(x.shape())});
    kernels::sequence_pool_forward(kernel_shape(x.shape()), x.data(), weights.data(), y.data());
    return y;
  }

  SequencePoolOptions options_;
  Parameter<T> weight_;
};

static_assert(Layer<SequencePool<float>>);
HEED_COMPILE_CLASS_ONCE(SequencePool);

}  // namespace heed::inline HEED_ABI
