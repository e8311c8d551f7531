// SPDX-License-Identifier: MIT
#pragma once

#include <heed/layers/activation_layer.hpp>

namespace heed {

/// y = x σ(x) = x / (1 + exp(-x)), element by element (torch.nn.SiLU; Elfwing et al. 2018, "swish" of Ramachandran et al. 2017).
/// Any shape; no parameters; the cache is a view of x.
template <class T>
class Silu : public ActivationLayer<Silu<T>, T> {
 public:
  static constexpr const char* kKind = "Silu";

  template <class Use>
  void with_activation(const Use& use) const {
    use(kernels::Silu{});
  }

  /// The same layer over another scalar.
  template <class U>
  Silu<U> rebind() const {
    return {};
  }

  template <class Self, class V>
  static void describe_members(Self&, V& visitor) {
    visitor.kind(kKind);
  }
};

static_assert(Layer<Silu<float>>);

}  // namespace heed
