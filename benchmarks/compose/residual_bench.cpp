// SPDX-License-Identifier: MIT
// residual/RxC: the addition alone, of x to what a branch gives, and of dy to its gradient. Each reads two tensors and writes one.
#include <heed/compose/residual.hpp>

#include "verify.hpp"

namespace {

using namespace bench;

/// A branch that costs nothing: it hands over tensors that it was given, or memory as it comes.
struct Given : LayerBase<Given> {
  using scalar = float;
  [[maybe_unused]] static constexpr int input_rank = 2;
  struct Cache {};
  mutable Tensor<float, 2> y, dx;

  Shape output_shape(const Shape& in) const { return in; }
  Tensor<float, 2> forward(const TensorView<const float, 2>& x) const { return take(y, x.shape()); }
  Tensor<float, 2> forward(const TensorView<const float, 2>& x, Cache&) const { return take(y, x.shape()); }
  Tensor<float, 2> backward(const TensorView<const float, 2>& dy, Cache&) { return take(dx, dy.shape()); }
  static Tensor<float, 2> take(Tensor<float, 2>& given, const Shape& shape) {
    return given.empty() ? Tensor<float, 2>::uninitialized(shape) : std::exchange(given, {});
  }
  template <class Self, class V>
  static void describe_members(Self&, V& visitor) {
    visitor.kind("Given");
  }
};

struct ResidualWorkload {
  Index rows = 1, features = 1;

  template <class Self, class V>
  static void walk(Self& self, V& v) {
    v.sizes("RxC", self.rows, self.features);
  }
  void add(const std::string& name) const;
};

struct ResidualCase {
  ResidualWorkload w;
  bool training;
  Residual<Given> layer{Given()};
  Tensor<float, 2> x = operand<2>({w.rows, w.features}, 1), dy = operand<2>(x.shape(), 2);
  Residual<Given>::Cache cache = {};

  void run() {
    if (!training) return benchmark::DoNotOptimize(layer.forward(x).data());
    const auto y = layer.forward(x, cache);
    benchmark::DoNotOptimize(y.data());
    benchmark::DoNotOptimize(layer.backward(dy, cache).data());
  }
  std::string check() {
    layer.branch().y = Tensor<float, 2>(dy), layer.branch().dx = Tensor<float, 2>(x);
    std::vector<double> sum;
    for (Index i = 0; i < x.size(); ++i) sum.push_back(static_cast<double>(x[i]) + static_cast<double>(dy[i]));
    if (!training) return difference("y", layer.forward(x).data(), sum);
    const auto y = layer.forward(x, cache), dx = layer.backward(dy, cache);
    return first_fault({difference("y", y.data(), sum), difference("dx", dx.data(), sum)});
  }
};

void ResidualWorkload::add(const std::string& name) const {
  const Passes work = streams(static_cast<double>(rows * features), 3, 6, 2, 4);
  add_case(name + "/forward", work.forward, [w = *this] { return ResidualCase{w, false}; });
  add_case(name + "/forward_backward", work.training, [w = *this] { return ResidualCase{w, true}; });
}

[[maybe_unused]] const bool known = family<ResidualWorkload>("residual", {"8192x256", "65536x64"});

}  // namespace
