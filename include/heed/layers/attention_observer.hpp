// SPDX-License-Identifier: MIT
#pragma once

#include <type_traits>
#include <utility>

#include <heed/core/context.hpp>
#include <heed/core/tensor.hpp>

namespace heed {

/// Sees the attention weights of every layer that attends, in whatever depth of a model, in the inference passes that this thread runs while
/// it lives. Derive and override. When there is none, no layer makes the matrix of weights.
class AttentionObserver {
 public:
  AttentionObserver() : outer_(std::exchange(context().attention, this)) {}
  virtual ~AttentionObserver() { context().attention = outer_; }
  AttentionObserver(const AttentionObserver&) = delete;
  AttentionObserver& operator=(const AttentionObserver&) = delete;

  /// The weights (batch, heads, queries, keys) of the layer at `layer_path()`; each row sums to 1, or to 0 if all its keys are masked.
  virtual void seen(const TensorView<const float, 4>& /*weights*/) {}
  virtual void seen(const TensorView<const double, 4>& /*weights*/) {}

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

}  // namespace heed
