// SPDX-License-Identifier: MIT
#pragma once

#include <heed/layers/activation_layer.hpp>

namespace heed::inline HEED_ABI {

/// y = max(0, x), element by element (torch.nn.ReLU). The derivative at 0 is 0. Any shape; no parameters; the cache is a view of x.
template <class T>
class Relu : public ActivationLayer<Relu<T>, T> {
 public:
  static constexpr const char* kKind = "Relu";

  template <class Use>
  void with_activation(const Use& use) const {
    use(kernels::Relu{});
  }

  /// The same layer over another scalar.
  template <class U>
  Relu<U> rebind() const {
    return {};
  }

  template <class Self, class V>
  static void describe_members(Self&, V& visitor) {
    visitor.kind(kKind);
  }
};

static_assert(Layer<Relu<float>>);

}  // namespace heed::inline HEED_ABI
