// SPDX-License-Identifier: MIT
#pragma once

#include <heed/core/initialize.hpp>
#include <heed/core/layer.hpp>
#include <heed/kernels/layer_norm.hpp>

namespace heed::inline HEED_ABI {

/// What LayerNorm and RMSNorm share: each row, the last axes of x that `normalized_shape` names, is divided by its spread, about its mean or
/// about 0; then come `weight` and `bias`, if there are any.
///
/// Derived gives `static constexpr const char* kKind` and `static constexpr bool kCentered` (whether the mean is taken off).
template <class Derived, class T>
class RowNormLayer : public LayerBase<Derived> {
 public:
  using scalar = T;
  static constexpr int input_rank = kAnyRank;

  struct Cache {
    TensorView<const T, 2> x;  ///< (rows, width), the caller's
    Tensor<T, 1> mean;         ///< (rows); empty unless kCentered
    Tensor<T, 1> inv_std;      ///< (rows), 1 / √(variance + eps)
  };

  Shape output_shape(const Shape& in) const {
    bool fits = in.rank() >= row_.rank();
    for (int axis = 1; fits && axis <= row_.rank(); ++axis) fits = in[-axis] == row_[-axis];
    require<ShapeError>(fits, Derived::kKind, ": input ", in, " does not end with the normalized shape ", row_);
    return in;
  }

  using LayerBase<Derived>::forward;  // what it says to other tensors
  template <int Rank>
  Tensor<T, Rank> forward(const TensorView<const T, Rank>& x) const {
    return run(x, static_cast<T*>(nullptr), static_cast<T*>(nullptr));
  }

  template <int Rank>
  Tensor<T, Rank> forward(const TensorView<const T, Rank>& x, Cache& cache) const {
    output_shape(x.shape());
    const Index rows = x.size() / width_;
    cache.x = {x.data(), Shape{rows, width_}};
    if (Derived::kCentered) cache.mean.resize({rows});
    cache.inv_std.resize({rows});
    return run(x, Derived::kCentered ? cache.mean.data() : nullptr, cache.inv_std.data());
  }
  template <int Rank>
  HEED_REFUSED("the cache looks at the input until backward has run, and a temporary is gone by then: give it a name")
  Tensor<T, Rank> forward(Tensor<T, Rank>&& x, Cache& cache) const;

  /// With n = (x - mean) inv_std and g = dy ⊙ weight: dx = inv_std (g - mean(g) - n mean(g ⊙ n)), without mean(g) unless kCentered;
  /// d_weight += Σ dy ⊙ n, d_bias += Σ dy.
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

  /// Empty without elementwise_affine.
  Parameter<T>& weight() { return weight_; }
  const Parameter<T>& weight() const { return weight_; }

 protected:
  /// Throws std::invalid_argument unless there are axes of positive sizes and eps is not negative.
  RowNormLayer(const Shape& normalized_shape, double eps, bool weight, bool bias)
      : row_(normalized_shape), width_(normalized_shape.size()), eps_(eps) {
    require(row_.rank() > 0 && width_ > 0, Derived::kKind, ": normalized_shape (", row_,
        ") names the last axes of the input, whose sizes must be positive");
    require(eps >= 0, Derived::kKind, ": eps is ", eps, ", it must not be negative");
    if (weight) {
      weight_ = Parameter<T>(row_);
      initialize(weight_, Initializer::ones);
    }
    if (bias) bias_ = Parameter<T>(row_);
  }

  /// What is added to the mean square.
  double eps() const { return eps_; }

 private:
  friend Derived;  // describes the parameters

  kernels::LayerNormShape<T> kernel_shape(Index rows) const {
    return {rows, width_, std::as_const(weight_).value(), std::as_const(bias_).value(), eps_, Derived::kCentered};  // null when empty
  }

  template <int Rank>
  Tensor<T, Rank> run(const TensorView<const T, Rank>& x, T* mean, T* inv_std) const {
    auto y = Tensor<T, Rank>::uninitialized(output_shape(x.shape()));
    kernels::layer_norm_forward(kernel_shape(x.size() / width_), x.data(), y.data(), mean, inv_std);
    return y;
  }

  template <int Rank>
  void backward_to(const TensorView<const T, Rank>& dy, Cache& cache, const TensorView<T, Rank>& dx, bool add) {
    require_filled(Derived::kKind, cache.inv_std);
    require_own_cache(Derived::kKind, cache.x.features(), width_);
    const Index rows = cache.x.size(0);
    require<ShapeError>(dy.size() == cache.x.size() && dx.shape() == output_shape(dy.shape()), Derived::kKind, ": dy is ", dy.shape(),
        ", the forward pass of this cache gave ", rows, " times ", row_);
    kernels::layer_norm_backward(kernel_shape(rows), cache.x.data(), dy.data(), Derived::kCentered ? cache.mean.data() : nullptr,
        cache.inv_std.data(), dx.data(), add, weight_.gradient_unless_frozen(), bias_.gradient_unless_frozen());
    release(cache.mean, cache.inv_std);
  }

  Shape row_;
  Index width_;
  double eps_;
  Parameter<T> weight_, bias_;
};

}  // namespace heed::inline HEED_ABI
