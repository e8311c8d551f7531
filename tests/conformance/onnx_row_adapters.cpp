// SPDX-License-Identifier: MIT
// ONNX: operators that work row by row or element by element.
#include <heed/layers/gelu.hpp>
#include <heed/layers/relu.hpp>

#include "adapters.hpp"

namespace conformance {
namespace {

/// y = f(x) for tensors of any shape.
template <class T, class Activation>
void activation(Run<T>& run, const Activation& layer) {
  const std::string x = run.reference().input(0), y = run.reference().output(0);
  const auto elements = run.values(x);
  const Tensor<T, 2> result = layer.forward(TensorView<const T, 2>(elements.data(), Shape{1, static_cast<Index>(elements.size())}));
  run.expect(y, result.data(), run.shape(x));
}
template <class T>
void relu(Run<T>& run) {
  activation(run, heed::Relu<T>());
}
template <class T>
void gelu(Run<T>& run) {
  const bool tanh = run.reference().word("approximate", "none") == "tanh";
  activation(run, heed::Gelu<T>({.approximate = tanh ? heed::GeluApproximation::tanh : heed::GeluApproximation::none}));
}

}  // namespace

void add_onnx_row_adapters(Adapters& adapters) {
  adapters["Relu"] = CONFORMANCE_ADAPTER(relu);
  adapters["Gelu"] = CONFORMANCE_ADAPTER(gelu);
}

}  // namespace conformance
