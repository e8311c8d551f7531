// SPDX-License-Identifier: MIT
// Operators that work row by row or element by element.
#include <heed/layers/embedding.hpp>
#include <heed/layers/layer_norm.hpp>
#include <heed/layers/linear.hpp>
#include <heed/layers/log_softmax.hpp>
#include <heed/layers/rms_norm.hpp>
#include <heed/layers/softmax.hpp>

#include "activations.hpp"

namespace conformance {
namespace {

template <class T>
void linear(Run<T>& run) {
  const Shape weight = run.shape("param.weight");
  heed::Linear<T> layer({.in_features = weight[1], .out_features = weight[0], .bias = run.reference().flag("bias", true)});
  check_layer<2, 2>(run, layer);
}

template <class T>
void layer_norm(Run<T>& run) {
  const ReferenceCase& reference = run.reference();
  const auto axes = reference.integers("normalized_shape");
  heed::LayerNorm<T> layer({.normalized_shape = Shape(axes.data(), axes.size()),
      .eps = reference.number("eps", 1e-5),
      .elementwise_affine = reference.flag("elementwise_affine", true),
      .bias = reference.has("param.bias")});
  Allowance parameters;
  if (Shape(axes.data(), axes.size()).size() == 1) {
    // One feature is its own mean: x - mean is a true zero, and the gradient of weight what rounding leaves of it, times dy / sqrt(eps).
    const auto x = run.values("in.x"), dy = run.values("grad.out.y");
    parameters.contributions = static_cast<double>(x.size()) * largest(x) * largest(dy) / std::sqrt(reference.number("eps", 1e-5));
  }
  with_rank<1, 2, 3, 4, 5>(
      Shape(axes.data(), axes.size()), [&](auto rank) { check_layer<rank + 1, rank + 1>(run, layer, Channels::last, {}, parameters); });
}

template <class T>
void activation(Run<T>& run) {
  // Where sigmoid and tanh are flat, their slopes, y (1 - y) and 1 - y², are differences of numbers near 1.
  Allowance input_gradient;
  const std::string& name = run.reference().operation();
  if (name == "sigmoid" || name == "tanh") input_gradient.contributions = largest(run.values("grad.out.y"));
  with_activation<T>(run.reference(), [&](auto layer) { check_layer<1, 1>(run, layer, Channels::last, input_gradient); });
}

template <class T, class Layer>
void along_axis(Run<T>& run, Layer layer) {
  // dy - sum of dy, either weighted by y: a difference where y is near 1.
  const Allowance input_gradient{.contributions = 2 * largest(run.values("grad.out.y"))};
  with_rank<1, 2, 3, 4, 5>(run.shape("in.x"), [&](auto rank) { check_layer<rank, rank>(run, layer, Channels::last, input_gradient); });
}
template <class T>
void softmax(Run<T>& run) {
  along_axis(run, heed::Softmax<T>({.dim = static_cast<int>(run.reference().integer("dim", -1))}));
}
template <class T>
void log_softmax(Run<T>& run) {
  along_axis(run, heed::LogSoftmax<T>({.dim = static_cast<int>(run.reference().integer("dim", -1))}));
}

template <class T>
void rms_norm(Run<T>& run) {
  const ReferenceCase& reference = run.reference();
  const bool weight = reference.has("param.weight");
  const auto axes = reference.integers("normalized_shape");
  const Shape last = !axes.empty() ? Shape(axes.data(), axes.size())
                     : weight      ? run.shape("param.weight")
                                   : Shape{run.shape("in.x").features()};
  heed::RMSNormOptions options{.normalized_shape = last, .eps = {}, .elementwise_affine = weight};
  if (reference.has_attribute("eps")) options.eps = reference.number("eps", 0);
  heed::RMSNorm<T> layer(options);
  with_rank<1, 2, 3, 4, 5>(last, [&](auto rank) { check_layer<rank + 1, rank + 1>(run, layer); });
}

template <class T>
void embedding(Run<T>& run) {
  const ReferenceCase& reference = run.reference();
  const Shape weight = run.shape("param.weight");
  heed::EmbeddingOptions options{.num_embeddings = weight[0], .embedding_dim = weight[1]};
  if (reference.has_attribute("padding_idx")) options.padding_idx = reference.integer("padding_idx");
  heed::Embedding<T> layer(options);
  run.set_parameters(layer);
  const auto x = run.template read_folded<1, std::int64_t>("in.indices");
  typename heed::Embedding<T>::Cache cache;
  run.expect_folded("out.y", std::as_const(layer).forward(x));
  run.expect_folded("out.y", std::as_const(layer).forward(x, cache));
  layer.backward(run.template read_folded<2>("grad.out.y"), cache);
  run.expect_parameter_gradients(layer);
}

}  // namespace

void add_row_adapters(Adapters& adapters) {
  adapters["linear"] = CONFORMANCE_ADAPTER(linear);
  adapters["layer_norm"] = CONFORMANCE_ADAPTER(layer_norm);
  adapters["softmax"] = CONFORMANCE_ADAPTER(softmax);
  adapters["elu"] = CONFORMANCE_ADAPTER(activation);
  adapters["leaky_relu"] = CONFORMANCE_ADAPTER(activation);
  adapters["sigmoid"] = CONFORMANCE_ADAPTER(activation);
  adapters["tanh"] = CONFORMANCE_ADAPTER(activation);
  adapters["log_softmax"] = CONFORMANCE_ADAPTER(log_softmax);
  adapters["rms_norm"] = CONFORMANCE_ADAPTER(rms_norm);
  adapters["embedding"] = CONFORMANCE_ADAPTER(embedding);
  adapters["relu"] = CONFORMANCE_ADAPTER(activation);
  adapters["silu"] = CONFORMANCE_ADAPTER(activation);
  adapters["gelu"] = CONFORMANCE_ADAPTER(activation);
}

}  // namespace conformance
