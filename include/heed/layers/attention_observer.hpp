// SPDX-License-Identifier: MIT
#pragma once

#include <type_traits>
#include <utility>

#include <heed/core/context.hpp>
#include <heed/core/tensor.hpp>
#include <heed/kernels/attention.hpp>
#include <heed/kernels/attention_backward.hpp>

namespace heed::inline HEED_ABI {

/// Sees the attention weights of every layer that attends, in whatever depth of a model, in the inference passes that this thread runs while
/// it lives, and in the backward passes their gradients too. Derive and override. When there is none, no layer makes the matrix of weights.
class AttentionObserver {
 public:
  AttentionObserver() : outer_(std::exchange(context().attention, this)) {}
  virtual ~AttentionObserver() { context().attention = outer_; }
  AttentionObserver(const AttentionObserver&) = delete;
  AttentionObserver& operator=(const AttentionObserver&) = delete;

  /// The weights (batch, heads, queries, keys) of the layer at `layer_path()`; each row sums to 1, or to 0 if all its keys are masked.
  virtual void seen(const TensorView<const float, 4>& /*weights*/) {}
  /// The same of a layer that computes in double.
  virtual void seen(const TensorView<const double, 4>& /*weights*/) {}
  /// In a backward pass: the weights, after dropout, and the gradient that comes to them through the values, dA = dy vᵀ, both (batch, heads, queries, keys).
  /// Layers whose weights do not depend on their input, and such with appended keys, show none.
  virtual void seen_gradient(const TensorView<const float, 4>& /*weights*/, const TensorView<const float, 4>& /*d_weights*/) {}
  /// The same of a layer that computes in double.
  virtual void seen_gradient(const TensorView<const double, 4>& /*weights*/, const TensorView<const double, 4>& /*d_weights*/) {}

 private:
  AttentionObserver* outer_;
};

/// For layers that attend: is somebody looking at weights of scalar T?
template <class T>
bool attention_is_observed() {
  return (std::is_same_v<T, float> || std::is_same_v<T, double>)&&context().attention != nullptr;
}
/// For layers that attend: shows the weights (batch, heads, queries, keys).
template <class T>
void show_attention(const TensorView<const T, 4>& weights) {
  if constexpr (std::is_same_v<T, float> || std::is_same_v<T, double>)
    if (context().attention) context().attention->seen(weights);
}
/// For layers that attend, beside kernels::attention_backward(a, g): shows the weights and their gradient, which are made for that.
template <class T>
void show_attention_gradient(const kernels::Attention<T>& a, const kernels::AttentionGradients<T>& g) {
  if constexpr (std::is_same_v<T, float> || std::is_same_v<T, double>) {
    if (!context().attention) return;
    const Shape shape{a.batches, a.heads, a.queries, a.keys};
    auto weights = Tensor<T, 4>::uninitialized(shape), d_weights = Tensor<T, 4>::uninitialized(shape);
    kernels::Attention<T> alone = a;
    alone.v = {}, alone.value_width = 0;
    kernels::attention_forward(alone, kernels::HeadRows<T>(), static_cast<T*>(nullptr), weights.data());
    kernels::Attention<T> products = a;  // dy vᵀ is to dy and v what a score is to q and k
    products.q = g.dy, products.k = a.v, products.width = a.value_width, products.scale = 1;
    kernels::attention_scores(products, kernels::ScoreStage::scaled, d_weights.data());
    context().attention->seen_gradient(weights, d_weights);
  }
}

}  // namespace heed::inline HEED_ABI
