// SPDX-License-Identifier: MIT
#pragma once

#include <heed/layers/activation_layer.hpp>

namespace heed::inline HEED_ABI {

struct LeakyReluOptions {
  double negative_slope = 0.01;  ///< slope left of 0
};

/// y = x > 0 ? x : negative_slope x, element by element (torch.nn.LeakyReLU; Maas, Hannun and Ng 2013). The derivative at 0 is negative_slope.
/// Any shape; no parameters; the cache is a view of x.
template <class T>
class LeakyRelu : public ActivationLayer<LeakyRelu<T>, T> {
 public:
  static constexpr const char* kKind = "LeakyRelu";

  explicit LeakyRelu(const LeakyReluOptions& options = {}) : options_(options) {}

  template <class Use>
  void with_activation(const Use& use) const {
    use(kernels::LeakyRelu{options_.negative_slope});
  }

  const LeakyReluOptions& options() const { return options_; }

  /// The same layer over another scalar.
  template <class U>
  LeakyRelu<U> rebind() const {
    return LeakyRelu<U>(options_);
  }

  template <class Self, class V>
  static void describe_members(Self& self, V& visitor) {
    visitor.kind(kKind);
    visitor.option("negative_slope", self.options_.negative_slope);
  }

 private:
  LeakyReluOptions options_;
};

static_assert(Layer<LeakyRelu<float>>);

}  // namespace heed::inline HEED_ABI
