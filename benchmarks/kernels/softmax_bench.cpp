// SPDX-License-Identifier: MIT
// softmax/RxC along the rows. A fused pass reads x and writes y; backward reads x (or y) and dy and writes dx.
#include <heed/layers/softmax.hpp>

#include "verify.hpp"

namespace {

using namespace bench;

struct SoftmaxWorkload {
  Index rows = 1, features = 1;

  template <class Self, class V>
  static void walk(Self& self, V& v) {
    v.sizes("RxC", self.rows, self.features);
  }

  static Expected expected(const Softmax<float>&, const TensorView<const float, 2>& x, const TensorView<const float, 2>& dy) {
    Expected r{std::vector<long double>(static_cast<std::size_t>(x.size())), {}, {}};
    r.dx = r.y;
    for (Index i = 0; i < x.rows(); ++i) {
      long double sum = 0, mean = 0;
      const auto at = [&](Index j) { return static_cast<std::size_t>(i * x.features() + j); };
      for (Index j = 0; j < x.features(); ++j) sum += r.y[at(j)] = std::exp(static_cast<long double>(x(i, j)));
      for (Index j = 0; j < x.features(); ++j) mean += (r.y[at(j)] /= sum) * dy(i, j);
      for (Index j = 0; j < x.features(); ++j) r.dx[at(j)] = r.y[at(j)] * (dy(i, j) - mean);
    }
    return r;
  }
  void add(const std::string& name) const {
    add_layer(
        name, streams(static_cast<double>(rows * features), 2, 5, 2, 4), [] { return Softmax<float>(); },
        [w = *this] {
          return operand<2>({w.rows, w.features}, 1);
        },
        expected,
        [](const Softmax<float>&, const TensorView<const float, 2>& x, const float* dy, naive::Result& r) {
          naive::softmax(x.size(0), x.size(1), x.data(), dy, r);
        });
  }
};

[[maybe_unused]] const bool known = family<SoftmaxWorkload>("softmax", {"8192x1024", "25088x49", "256x10"});

}  // namespace
