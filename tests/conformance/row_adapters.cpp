// SPDX-License-Identifier: MIT
// Operators that work row by row or element by element.
#include <heed/kernels/softmax.hpp>
#include <heed/layers/gelu.hpp>
#include <heed/layers/layer_norm.hpp>
#include <heed/layers/linear.hpp>
#include <heed/layers/relu.hpp>
#include <heed/layers/silu.hpp>

#include "adapters.hpp"

namespace conformance {
namespace {

template <class T>
void linear(Run<T>& run) {
  const Shape weight = run.shape("param.weight");
  heed::Linear<T> layer({.in_features = weight[1], .out_features = weight[0], .bias = run.reference().flag("bias", true)});
  with_rank<2, 3>(run.shape("in.x"), [&](auto rank) { check_layer<rank, rank>(run, layer); });
}

template <class T>
void layer_norm(Run<T>& run) {
  const ReferenceCase& reference = run.reference();
  const auto axes = reference.integers("normalized_shape");
  heed::LayerNorm<T> layer({.normalized_shape = Shape(axes.data(), axes.size()),
      .eps = reference.number("eps", 1e-5),
      .elementwise_affine = reference.flag("elementwise_affine", true)});
  Allowance parameters;
  if (axes == std::vector<Index>{1}) {
    // One feature is its own mean: x - mean is a true zero, and the gradient of weight what rounding leaves of it, times dy / sqrt(eps).
    const auto x = run.values("in.x"), dy = run.values("grad.out.y");
    parameters.contributions = static_cast<double>(x.size()) * largest(x) * largest(dy) / std::sqrt(reference.number("eps", 1e-5));
  }
  with_rank<2, 3, 4>(run.shape("in.x"), [&](auto rank) { check_layer<rank, rank>(run, layer, Channels::last, {}, parameters); });
}

template <class T, class Activation>
void activation(Run<T>& run, Activation layer) {
  with_rank<1, 2, 3>(run.shape("in.x"), [&](auto rank) { check_layer<rank, rank>(run, layer); });
}
template <class T>
void relu(Run<T>& run) {
  activation(run, heed::Relu<T>());
}
template <class T>
void silu(Run<T>& run) {
  activation(run, heed::Silu<T>());
}
template <class T>
void gelu(Run<T>& run) {
  const bool tanh = run.reference().word("approximate", "none") == "tanh";
  activation(run, heed::Gelu<T>({.approximate = tanh ? heed::GeluApproximation::tanh : heed::GeluApproximation::none}));
}

/// Along the last axis, or along axis 1 by turning that one to the end.
template <class T>
void softmax(Run<T>& run) {
  const Shape shape = run.shape("in.x");
  const Index dim = run.reference().integer("dim", -1);
  const bool last = dim == -1 || dim == shape.rank() - 1;
  if (!last && dim != 1) unsupported("softmax along axis ", dim, " of ", shape.rank());
  const auto read = [&](const std::string& name) {
    if (last) return run.read_rows(name);
    const Tensor<T, 4> image = run.read_image(name);
    return Tensor<T, 2>(image.as_rows());
  };
  const auto expect = [&](const std::string& name, const Tensor<T, 2>& rows, const Allowance& allowance) {
    if (last) return run.expect_rows(name, rows, allowance);
    run.expect_image(name, TensorView<const T, 4>(rows.data(), run.read_image(name).shape()), allowance);
  };
  const Tensor<T, 2> x = read("in.x"), dy = read("grad.out.y");
  Tensor<T, 2> y(x.shape()), dx(x.shape());
  heed::kernels::softmax_forward(x.rows(), x.features(), x.data(), y.data());
  expect("out.y", y, {});
  heed::kernels::softmax_backward(x.rows(), x.features(), y.data(), dy.data(), dx.data());
  expect("grad.in.x", dx, {.contributions = 2 * largest(dy.span())});  // y (dy - sum of y dy): a difference where y is near 1
}

}  // namespace

void add_row_adapters(Adapters& adapters) {
  adapters["linear"] = CONFORMANCE_ADAPTER(linear);
  adapters["layer_norm"] = CONFORMANCE_ADAPTER(layer_norm);
  adapters["softmax"] = CONFORMANCE_ADAPTER(softmax);
  adapters["relu"] = CONFORMANCE_ADAPTER(relu);
  adapters["silu"] = CONFORMANCE_ADAPTER(silu);
  adapters["gelu"] = CONFORMANCE_ADAPTER(gelu);
}

}  // namespace conformance
