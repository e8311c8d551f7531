// SPDX-License-Identifier: MIT
#pragma once

#include <heed/layers/softmax_layer.hpp>

namespace heed::inline HEED_ABI {

struct SoftmaxOptions {
  int dim = -1;  ///< the axis whose elements sum to 1; negative ones count from the end. Channels are the last axis here, not number 1
};

/// y = exp(x) / Σ exp(x) along one axis (torch.nn.Softmax).
///
/// Any shape; no parameters; the cache is a view of x. -inf gets the weight 0; where a whole row is -inf, y and the gradient are 0 (torch: NaN).
/// Losses take logits: a cross-entropy needs no softmax before it.
template <class T>
class Softmax : public SoftmaxLayer<Softmax<T>, T> {
 public:
  static constexpr const char* kKind = "Softmax";
  static constexpr bool kLog = false;

  explicit Softmax(const SoftmaxOptions& options = {}) : SoftmaxLayer<Softmax, T>(options.dim), options_(options) {}

  const SoftmaxOptions& options() const { return options_; }

  /// The same layer over another scalar.
  template <class U>
  Softmax<U> rebind() const {
    return Softmax<U>(options_);
  }

  template <class Self, class V>
  static void describe_members(Self& self, V& visitor) {
    visitor.kind(kKind);
    visitor.option("dim", self.options_.dim);
  }

 private:
  SoftmaxOptions options_;
};

static_assert(Layer<Softmax<float>>);

}  // namespace heed::inline HEED_ABI
