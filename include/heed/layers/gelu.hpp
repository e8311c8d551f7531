// SPDX-License-Identifier: MIT
#pragma once

#include <heed/layers/activation_layer.hpp>

namespace heed::inline HEED_ABI {

/// How GELU is computed, as torch.nn.GELU's `approximate` names it.
enum class GeluApproximation {
  none,  ///< x Φ(x) with the normal distribution Φ(x) = (1 + erf(x/√2)) / 2
  tanh,  ///< x (1 + tanh(√(2/π) (x + 0.044715 x³))) / 2
};

struct GeluOptions {
  GeluApproximation approximate = GeluApproximation::none;  ///< exact unless asked otherwise
};

/// y = x Φ(x), element by element, exact or by the tanh formula (torch.nn.GELU; Hendrycks and Gimpel 2016).
///
/// Any shape; no parameters; the cache is a view of x. In float the exact form is within 2e-7 of the true value for |x| < 1 and within
/// 2e-7 |x| beyond; in double it is the standard library's erf.
template <class T>
class Gelu : public ActivationLayer<Gelu<T>, T> {
 public:
  static constexpr const char* kKind = "Gelu";

  explicit Gelu(const GeluOptions& options = {}) : options_(options) {}

  template <class Use>
  void with_activation(const Use& use) const {
    if (options_.approximate == GeluApproximation::tanh)
      use(kernels::GeluTanh{});
    else
      use(kernels::Gelu{});
  }

  const GeluOptions& options() const { return options_; }

  /// The same layer over another scalar.
  template <class U>
  Gelu<U> rebind() const {
    return Gelu<U>(options_);
  }

  template <class Self, class V>
  static void describe_members(Self& self, V& visitor) {
    visitor.kind(kKind);
    visitor.option("approximate", self.options_.approximate == GeluApproximation::tanh ? "tanh" : "none");
  }

 private:
  GeluOptions options_;
};

static_assert(Layer<Gelu<float>>);

}  // namespace heed::inline HEED_ABI
