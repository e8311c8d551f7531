// SPDX-License-Identifier: MIT
#pragma once

#include <heed/layers/activation_layer.hpp>

namespace heed::inline HEED_ABI {

struct SiluOptions {
  double alpha = 1;  ///< inside the sigmoid; 1 in torch.nn, an attribute of ONNX's Swish
};

/// y = x σ(alpha x) = x / (1 + exp(-alpha x)), element by element (torch.nn.SiLU; Elfwing et al. 2018, "swish" of Ramachandran et al. 2017).
/// Any shape; no parameters; the cache is a view of x.
template <class T>
class Silu : public ActivationLayer<Silu<T>, T> {
 public:
  static constexpr const char* kKind = "Silu";

  explicit Silu(const SiluOptions& options = {}) : options_(options) {}

  template <class Use>
  void with_activation(const Use& use) const {
    use(kernels::Silu{options_.alpha});
  }

  const SiluOptions& options() const { return options_; }

  /// The same layer over another scalar.
  template <class U>
  Silu<U> rebind() const {
    return Silu<U>(options_);
  }

  template <class Self, class V>
  static void describe_members(Self& self, V& visitor) {
    visitor.kind(kKind);
    visitor.option("alpha", self.options_.alpha);
  }

 private:
  SiluOptions options_;
};

static_assert(Layer<Silu<float>>);

}  // namespace heed::inline HEED_ABI
