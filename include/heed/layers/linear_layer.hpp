// SPDX-License-Identifier: MIT
#pragma once

#include <heed/core/initialize.hpp>
#include <heed/core/layer.hpp>
#include <heed/kernels/linear.hpp>

namespace heed::inline HEED_ABI {

/// What Linear and QkvProjection share: y = x Wᵀ + b, row by row, with W (out, in) and b (out) or none. The cache keeps a view of x and no memory.
///
/// Derived gives `static constexpr const char* kKind`, and says how W and b start.
template <class Derived, class T>
class LinearLayer : public LayerBase<Derived> {
 public:
  using scalar = T;
  static constexpr int input_rank = kAnyRank;

  struct Cache {
    TensorView<const T, 2> x;  ///< (rows, in features), the caller's
  };

  Shape output_shape(const Shape& in) const {
    require<ShapeError>(in.rank() >= 1 && in.features() == in_, Derived::kKind, ": input has ", in.features(), " features, weight expects ",
        in_, " (input ", in, ", weight ", weight_.shape(), ")");
    return replace_features(in, out_);
  }

  using LayerBase<Derived>::forward;  // what it says to other tensors
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
    auto dx = Tensor<T, Rank>::uninitialized(replace_features(dy.shape(), in_));
    backward_to(dy, cache, dx.view(), false);
    return dx;
  }
  /// The same, with the input gradient added to dx: for blocks whose x goes two ways.
  template <int Rank>
  void backward_add(const TensorView<const T, Rank>& dy, Cache& cache, const TensorView<T, Rank>& dx) {
    backward_to(dy, cache, dx, true);
  }

  Parameter<T>& weight() { return weight_; }
  const Parameter<T>& weight() const { return weight_; }
  /// Empty without a bias.
  Parameter<T>& bias() { return bias_; }
  const Parameter<T>& bias() const { return bias_; }

 protected:
  /// For Derived's constructor: the sizes. W and b are 0 then.
  void set_features(Index in, Index out, bool bias) {
    in_ = in, out_ = out;
    weight_ = Parameter<T>({out, in});
    if (bias) bias_ = Parameter<T>({out});
  }

  /// For Derived::describe_members, behind the options.
  template <class Self, class V>
  static void describe_parameters(Self& self, V& visitor) {
    visitor.parameter("weight", self.weight_);
    if (self.bias_.size() > 0) visitor.parameter("bias", self.bias_);
  }

 private:
  kernels::LinearSizes sizes(Index rows) const { return {.rows = rows, .in = in_, .out = out_}; }

  template <int Rank>
  void backward_to(const TensorView<const T, Rank>& dy, Cache& cache, const TensorView<T, Rank>& dx, bool add) {
    const Index rows = cache.x.rows();
    require_gradient_shape(Derived::kKind, dy.shape(), output_shape(dx.shape()), cache.x, in_);
    kernels::linear_backward(sizes(rows), cache.x.data(), weight_.value(), dy.data(), dx.data(), weight_.gradient_unless_frozen(),
        bias_.gradient_unless_frozen(), add);
  }

  Index in_ = 0, out_ = 0;
  Parameter<T> weight_, bias_;
};

}  // namespace heed::inline HEED_ABI
