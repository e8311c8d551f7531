// SPDX-License-Identifier: MIT
#pragma once

#include <heed/layers/activation_layer.hpp>

namespace heed::inline HEED_ABI {

struct EluOptions {
  double alpha = 1;  ///< -alpha is what y falls to
};

/// y = x > 0 ? x : alpha (exp(x) - 1), element by element (torch.nn.ELU; Clevert, Unterthiner and Hochreiter 2016). The derivative at 0 is alpha.
/// Any shape; no parameters; the cache is a view of x.
template <class T>
class Elu : public ActivationLayer<Elu<T>, T> {
 public:
  static constexpr const char* kKind = "Elu";

  explicit Elu(const EluOptions& options = {}) : options_(options) {}

  template <class Use>
  void with_activation(const Use& use) const {
    use(kernels::Elu{options_.alpha});
  }

  const EluOptions& options() const { return options_; }

  /// The same layer over another scalar.
  template <class U>
  Elu<U> rebind() const {
    return Elu<U>(options_);
  }

  template <class Self, class V>
  static void describe_members(Self& self, V& visitor) {
    visitor.kind(kKind);
    visitor.option("alpha", self.options_.alpha);
  }

 private:
  EluOptions options_;
};

static_assert(Layer<Elu<float>>);

}  // namespace heed::inline HEED_ABI
