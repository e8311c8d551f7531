// SPDX-License-Identifier: MIT
// gelu/RxC[/tanh], exact or by the tanh formula. A fused pass reads x and writes y; backward reads x and dy and writes dx.
#include <heed/layers/gelu.hpp>

#include <reference/activation_reference.hpp>

#include "verify.hpp"

namespace {

using namespace bench;

struct GeluWorkload {
  Index rows = 1, features = 1;
  bool tanh = false;

  template <class Self, class V>
  static void walk(Self& self, V& v) {
    v.sizes("RxC", self.rows, self.features);
    v.option("tanh", self.tanh);
  }

  static Expected expected(const Gelu<float>& layer, const TensorView<const float, 2>& x, const TensorView<const float, 2>& dy) {
    const bool by_tanh = layer.options().approximate == GeluApproximation::tanh;
    Expected r;
    for (Index i = 0; i < x.size(); ++i) {
      r.y.push_back(by_tanh ? reference::gelu_tanh(x[i]) : reference::gelu(x[i]));
      r.dx.push_back(dy[i] * (by_tanh ? reference::gelu_tanh_derivative(x[i]) : reference::gelu_derivative(x[i])));
    }
    return r;
  }
  void add(const std::string& name) const {
    const auto approximate = tanh ? GeluApproximation::tanh : GeluApproximation::none;
    add_layer(
        name, streams(static_cast<double>(rows * features), 2, 5, 2, 4), [approximate] { return Gelu<float>({approximate}); },
        [w = *this] {
          return operand<2>({w.rows, w.features}, 1);
        },
        expected,
        [by_tanh = tanh](const Gelu<float>&, const TensorView<const float, 2>& x, const float* dy, naive::Result& r) {
          naive::gelu(x.size(), by_tanh, x.data(), dy, r);
        });
  }
};

[[maybe_unused]] const bool known = family<GeluWorkload>("gelu", {"8192x1024", "8192x1024/tanh", "64x1024"});

}  // namespace
