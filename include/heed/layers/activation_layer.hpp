// SPDX-License-Identifier: MIT
#pragma once

#include <heed/core/layer.hpp>
#include <heed/kernels/activation.hpp>

namespace heed::inline HEED_ABI {

/// What all activation layers share: y = f(x), element by element, for any rank; the cache keeps a view of x and no memory.
///
/// Derived gives `static constexpr const char* kKind`, and `with_activation(use)`, which calls `use` with the activation of the kernels
/// (an object with `apply(x)` and `derivative(x)` on packets, see kernels/activation.hpp).
template <class Derived, class T>
class ActivationLayer : public LayerBase<Derived> {
 public:
  using scalar = T;
  static constexpr int input_rank = kAnyRank;

  struct Cache {
    TensorView<const T, 2> x;  ///< (rows, features), the caller's
  };

  Shape output_shape(const Shape& in) const { return in; }

  using LayerBase<Derived>::forward;  // what it says to other tensors
  template <int Rank>
  Tensor<T, Rank> forward(const TensorView<const T, Rank>& x) const {
    auto y = Tensor<T, Rank>::uninitialized(x.shape());
    self().with_activation([&](const auto& activation) { kernels::activation_forward(x.size(), x.data(), y.data(), activation); });
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

  /// y = f(x): dx = dy ⊙ f′(x).
  template <int Rank>
  Tensor<T, Rank> backward(const TensorView<const T, Rank>& dy, Cache& cache) {
    require_gradient_shape(Derived::kKind, dy.shape(), replace_features(dy.shape(), cache.x.features()), cache.x, cache.x.features());
    auto dx = Tensor<T, Rank>::uninitialized(dy.shape());
    self().with_activation(
        [&](const auto& activation) { kernels::activation_backward(dy.size(), cache.x.data(), dy.data(), dx.data(), activation); });
    return dx;
  }

 private:
  const Derived& self() const { return static_cast<const Derived&>(*this); }
};

}  // namespace heed::inline HEED_ABI
