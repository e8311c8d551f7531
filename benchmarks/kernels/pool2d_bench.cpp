// SPDX-License-Identifier: MIT
// max_pool2d/NxHxWxC and avg_pool2d/NxHxWxC, windows 2x2, stride 2. A fused pass reads x and writes y; backward reads dy and writes dx. (The numbers
// of the winners, a byte for each y, are not counted.)
#include <heed/layers/avg_pool2d.hpp>
#include <heed/layers/max_pool2d.hpp>

#include <reference/pool2d_reference.hpp>

#include "verify.hpp"

namespace {

using namespace bench;

using Images = TensorView<const float, 4>;

kernels::Pool2dGeometry geometry(const Images& x, const Images& y) {
  return {x.size(0), {x.size(1), x.size(2)}, {y.size(1), y.size(2)}, x.size(3), {2, 2}, {2, 2}, {0, 0}, {1, 1}, {0, 0}};
}
/// y and dx that a reference has written.
Expected filled(const Images& x, const Images& dy, const auto& reference) {
  Tensor<float, 4> y(dy.shape()), dx(x.shape());
  reference(geometry(x, dy), y, dx);
  return {numbers<float, 4>(y), numbers<float, 4>(dx), {}};
}
Expected expected(const MaxPool2d<float>&, const Images& x, const Images& dy) {
  return filled(x, dy, [&](const auto& g, auto& y, auto& dx) {
    std::vector<std::uint8_t> winner(static_cast<std::size_t>(dy.size()));
    reference::max_pool2d(g, x.data(), dy.data(), y.data(), winner.data(), dx.data());
  });
}
Expected expected(const AvgPool2d<float>&, const Images& x, const Images& dy) {
  return filled(x, dy, [&](const auto& g, auto& y, auto& dx) { reference::avg_pool2d(g, {}, x.data(), dy.data(), y.data(), dx.data()); });
}

constexpr NoNaive naive_loops(const AvgPool2d<float>*) { return {}; }
constexpr auto naive_loops(const MaxPool2d<float>*) {
  return [](const MaxPool2d<float>&, const Images& x, const float* dy, naive::Result& r) {
    naive::max_pool2d(x.size(0), x.size(1), x.size(2), x.size(3), x.data(), dy, r);
  };
}

template <class Pool>
struct PoolWorkload {
  Index images = 1, height = 1, width = 1, channels = 1;

  template <class Self, class V>
  static void walk(Self& self, V& v) {
    v.sizes("NxHxWxC", self.images, self.height, self.width, self.channels);
  }
  void check() const { require(height > 1 && width > 1, "a window of 2x2 does not fit into ", height, 'x', width, " pixels"); }

  void add(const std::string& name) const {
    const double x = static_cast<double>(images * height * width * channels);
    const double y = static_cast<double>(images * (height / 2) * (width / 2) * channels);
    add_layer(
        name, streams(x + y, 1, 2, 1, 2), [] { return Pool({.kernel_size = 2}); },
        [w = *this] {
          return operand<4>({w.images, w.height, w.width, w.channels}, 1);
        },
        [](const Pool& layer, const Images& part, const Images& dy) { return expected(layer, part, dy); },
        naive_loops(static_cast<const Pool*>(nullptr)));
  }
};

[[maybe_unused]] const bool known =
    family<PoolWorkload<MaxPool2d<float>>>("max_pool2d", {"64x32x32x64", "256x31x31x24", "256x15x15x64", "256x7x7x96"}) &&
    family<PoolWorkload<AvgPool2d<float>>>("avg_pool2d", {"64x32x32x64"});

}  // namespace
