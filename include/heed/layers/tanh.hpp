// SPDX-License-Identifier: MIT
#pragma once

#include <heed/layers/activation_layer.hpp>

namespace heed::inline HEED_ABI {

/// y = tanh(x), element by element (torch.nn.Tanh). Any shape; no parameters; the cache is a view of x.
template <class T>
class Tanh : public ActivationLayer<Tanh<T>, T> {
 public:
  static constexpr const char* kKind = "Tanh";

  template <class Use>
  void with_activation(const Use& use) const {
    use(kernels::Tanh{});
  }

  /// The same layer over another scalar.
  template <class U>
  Tanh<U> rebind() const {
    return {};
  }

  template <class Self, class V>
  static void describe_members(Self&, V& visitor) {
    visitor.kind(kKind);
  }
};

static_assert(Layer<Tanh<float>>);

}  // namespace heed::inline HEED_ABI
