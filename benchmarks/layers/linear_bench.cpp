// SPDX-License-Identifier: MIT
// linear/RxI->O/forward and .../forward_backward: rows, features in and out. A multiply-add is two operations, forward 2 R I O, backward twice that.
#include <heed/layers/linear.hpp>

#include <reference/linear_reference.hpp>

#include "verify.hpp"

namespace {

using namespace bench;

struct LinearWorkload {
  Index rows = 1, in = 1, out = 1;

  template <class Self, class V>
  static void walk(Self& self, V& v) {
    v.sizes("RxI->O", self.rows, self.in, self.out);
  }

  static Expected expected(const Linear<float>& layer, const TensorView<const float, 2>& x, const TensorView<const float, 2>& dy) {
    auto r = reference::linear(x.size(0), x.size(1), dy.size(1), x.data(), layer.weight().value(), layer.bias().value(), dy.data());
    return {std::move(r.y), std::move(r.dx), {std::move(r.d_weight), std::move(r.d_bias)}};
  }
  static void naive_loops(const Linear<float>& layer, const TensorView<const float, 2>& x, const float* dy, naive::Result& r) {
    const Index rows = x.size(0), in = x.size(1), out = layer.options().out_features;
    r.y = naive::linear(rows, in, out, x.data(), layer.weight().value(), layer.bias().value());
    if (dy) r.dx = naive::linear_backward(rows, in, out, x.data(), layer.weight().value(), dy, r.d_weight.data(), r.d_bias.data());
  }
  void add(const std::string& name) const {
    const auto w = *this;
    add_layer(
        name, products(2.0 * static_cast<double>(rows) * static_cast<double>(in) * static_cast<double>(out)),
        [w] { return Linear<float>({.in_features = w.in, .out_features = w.out}); },
        [w] {
          return operand<2>({w.rows, w.in}, 1);
        },
        expected, naive_loops);
  }
};

[[maybe_unused]] const bool known =
    family<LinearWorkload>("linear", {"4096x256->1024", "4096x1024->256", "12544x128->384", "1576x768->2304", "512x512->512",
                                         "128x128->128", "64x64->64", "1000x1000->1000", "1x512->512"});

}  // namespace
