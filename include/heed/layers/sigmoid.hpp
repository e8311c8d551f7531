// SPDX-License-Identifier: MIT
#pragma once

#include <heed/layers/activation_layer.hpp>

namespace heed::inline HEED_ABI {

/// y = σ(x) = 1 / (1 + exp(-x)), element by element (torch.nn.Sigmoid). Any shape; no parameters; the cache is a view of x.
template <class T>
class Sigmoid : public ActivationLayer<Sigmoid<T>, T> {
 public:
  static constexpr const char* kKind = "Sigmoid";

  template <class Use>
  void with_activation(const Use& use) const {
    use(kernels::Sigmoid{});
  }

  /// The same layer over another scalar.
  template <class U>
  Sigmoid<U> rebind() const {
    return {};
  }

  template <class Self, class V>
  static void describe_members(Self&, V& visitor) {
    visitor.kind(kKind);
  }
};

static_assert(Layer<Sigmoid<float>>);

}  // namespace heed::inline HEED_ABI
