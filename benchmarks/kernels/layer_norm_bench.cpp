// SPDX-License-Identifier: MIT
// layer_norm/RxC and rms_norm/RxC: rows, features. A fused pass reads x and writes y; backward reads x and dy and writes dx.
#include <heed/layers/layer_norm.hpp>
#include <heed/layers/rms_norm.hpp>

#include <reference/layer_norm_reference.hpp>

#include "verify.hpp"

namespace {

using namespace bench;

struct RowsWorkload {
  Index rows = 1, features = 1;

  template <class Self, class V>
  static void walk(Self& self, V& v) {
    v.sizes("RxC", self.rows, self.features);
  }

 protected:
  template <class Layer, class Reference>
  void add(const std::string& name, Reference expected) const {
    constexpr bool kCentered = std::is_same_v<Layer, LayerNorm<float>>;
    add_layer(
        name, streams(static_cast<double>(rows * features), 2, 5, 2, 4), [w = *this] { return Layer({.normalized_shape = {w.features}}); },
        [w = *this] {
          return operand<2>({w.rows, w.features}, 1);
        },
        expected,
        [](const Layer& layer, const TensorView<const float, 2>& x, const float* dy, naive::Result& r) {
          const float* bias = nullptr;
          if constexpr (kCentered) bias = layer.bias().value();
          naive::row_norm(x.size(0), x.size(1), x.data(), layer.weight().value(), bias, kCentered ? 1e-5f : 1.2e-7f, dy, kCentered, r);
        });
  }
};

struct LayerNormWorkload : RowsWorkload {
  static Expected expected(const LayerNorm<float>& layer, const TensorView<const float, 2>& x, const TensorView<const float, 2>& dy) {
    auto r =
        reference::layer_norm(x.size(0), x.size(1), x.data(), layer.weight().value(), layer.bias().value(), layer.options().eps, dy.data());
    return {std::move(r.y), std::move(r.dx), {std::move(r.d_weight), std::move(r.d_bias)}};
  }
  void add(const std::string& name) const { RowsWorkload::add<LayerNorm<float>>(name, expected); }
};

struct RmsNormWorkload : RowsWorkload {
  static Expected expected(const RMSNorm<float>& layer, const TensorView<const float, 2>& x, const TensorView<const float, 2>& dy) {
    auto r = reference::layer_norm(
        x.size(0), x.size(1), x.data(), layer.weight().value(), static_cast<const float*>(nullptr), 1.2e-7, dy.data(), false);
    return {std::move(r.y), std::move(r.dx), {std::move(r.d_weight)}};
  }
  void add(const std::string& name) const { RowsWorkload::add<RMSNorm<float>>(name, expected); }
};

[[maybe_unused]] const bool known = family<LayerNormWorkload>("layer_norm", {"8192x256", "12544x128", "1576x768", "64x1024"}) &&
                                    family<RmsNormWorkload>("rms_norm", {"8192x256", "1576x768"});

}  // namespace
