// SPDX-License-Identifier: MIT
// Two small networks, from the image to the loss and back.
#include <heed/compose/sequential.hpp>
#include <heed/layers/batch_norm2d.hpp>
#include <heed/layers/conv2d.hpp>
#include <heed/layers/gelu.hpp>
#include <heed/layers/global_avg_pool2d.hpp>
#include <heed/layers/layer_norm.hpp>
#include <heed/layers/linear.hpp>
#include <heed/layers/max_pool2d.hpp>
#include <heed/layers/relu.hpp>
#include <heed/layers/transformer_encoder_layer.hpp>
#include <heed/losses/cross_entropy.hpp>

#include "adapters.hpp"

namespace conformance {
namespace {

/// Compares logits and loss; returns the gradient of the logits.
template <class T>
Tensor<T, 2> check_loss(Run<T>& run, const Tensor<T, 2>& logits) {
  run.expect("out.logits", logits);
  const heed::CrossEntropyLoss<T> loss({.label_smoothing = run.reference().number("label_smoothing", 0)});
  Tensor<T, 2> d_logits;
  run.expect_number("out.loss", loss(logits, run.template values<std::int64_t>("in.target"), d_logits));
  const T upstream = run.values("grad.out.loss").at(0);
  for (T& d : d_logits.span()) d *= upstream;
  return d_logits;
}

template <class T>
void net_cnn(Run<T>& run) {
  const Index channels = run.reference().integer("channels"), classes = run.reference().integer("classes");
  heed::Sequential net(heed::named("conv1", heed::Conv2d<T>({.in_channels = 3, .out_channels = channels, .kernel_size = 3, .padding = 1})),
      heed::named("bn1", heed::BatchNorm2d<T>({.num_features = channels})), heed::Relu<T>(), heed::MaxPool2d<T>({.kernel_size = 2}),
      heed::named(
          "conv2", heed::Conv2d<T>({.in_channels = channels, .out_channels = 2 * channels, .kernel_size = 3, .stride = 2, .padding = 1})),
      heed::Gelu<T>(), heed::GlobalAvgPool2d<T>(),
      heed::named("fc", heed::Linear<T>({.in_features = 2 * channels, .out_features = classes})));
  run.set_parameters(net);
  const Tensor<T, 4> x = run.read_image("in.x");
  typename decltype(net)::Cache cache;
  const Tensor<T, 2> logits = std::as_const(net).forward(x, cache);
  const Tensor<T, 4> dx = net.backward(check_loss(run, logits), cache);
  run.expect_image("grad.in.x", dx);
  for (auto& [name, parameter] : heed::named_parameters(net)) {
    // Batch norm takes a bias before it off again: its gradient is a true zero, a sum over all pixels of terms of the size of dx.
    const Allowance allowance{.contributions = name == "conv1.bias" ? static_cast<double>(x.rows()) * largest(dx.span()) : 0};
    run.expect("grad.param." + name, std::as_const(*parameter).gradient(), parameter->shape(), allowance);
  }
}

/// Patches, a class token before them, positions, two encoder layers, norm, and the class token to the head.
template <class T>
void net_vit(Run<T>& run) {
  const ReferenceCase& reference = run.reference();
  const Index embed = reference.integer("embed"), patch_size = reference.integer("patch");
  const double eps = reference.number("layer_norm_eps", 1e-5);
  const heed::TransformerEncoderLayerOptions block{.d_model = embed,
      .nhead = reference.integer("heads"),
      .dim_feedforward = reference.integer("ff"),
      .dropout = 0,
      .activation = heed::FeedForwardActivation::gelu,
      .layer_norm_eps = eps,
      .norm_first = true};
  heed::Sequential patch(
      heed::named("patch", heed::Conv2d<T>({.in_channels = 3, .out_channels = embed, .kernel_size = patch_size, .stride = patch_size})));
  heed::Sequential encoder(heed::named("block0", heed::TransformerEncoderLayer<T>(block)),
      heed::named("block1", heed::TransformerEncoderLayer<T>(block)),
      heed::named("norm", heed::LayerNorm<T>({.normalized_shape = {embed}, .eps = eps})));
  heed::Sequential head(heed::named("head", heed::Linear<T>({.in_features = embed, .out_features = reference.integer("classes")})));
  run.set_parameters(patch), run.set_parameters(encoder), run.set_parameters(head);
  const auto cls = run.template read<3>("param.cls"), pos = run.template read<3>("param.pos");
  const Tensor<T, 4> x = run.read_image("in.x");

  typename decltype(patch)::Cache patch_cache;
  typename decltype(encoder)::Cache encoder_cache;
  typename decltype(head)::Cache head_cache;
  const Tensor<T, 4> map = std::as_const(patch).forward(x, patch_cache);  // (N, H, W, C) is (N, H W, C)
  const Index images = map.size(0), tokens = 1 + map.size(1) * map.size(2);
  Tensor<T, 3> sequence({images, tokens, embed});
  for (Index n = 0; n < images; ++n)
    for (Index t = 0; t < tokens; ++t)
      for (Index c = 0; c < embed; ++c)
        sequence(n, t, c) = (t == 0 ? cls(0, 0, c) : map[(n * (tokens - 1) + t - 1) * embed + c]) + pos(0, t, c);
  const auto class_token = [&](const Tensor<T, 3>& encoded) {
    Tensor<T, 2> first({images, embed});
    for (Index n = 0; n < images; ++n)
      for (Index c = 0; c < embed; ++c) first(n, c) = encoded(n, 0, c);
    return first;
  };
  run.expect("out.logits", std::as_const(head).forward(class_token(std::as_const(encoder).forward(sequence))));
  const Tensor<T, 2> first = class_token(std::as_const(encoder).forward(sequence, encoder_cache));
  const Tensor<T, 2> logits = std::as_const(head).forward(first, head_cache);

  const Tensor<T, 2> d_first = head.backward(check_loss(run, logits), head_cache);
  Tensor<T, 3> d_encoded(sequence.shape()), d_cls(cls.shape()), d_pos(pos.shape());
  for (Index n = 0; n < images; ++n)
    for (Index c = 0; c < embed; ++c) d_encoded(n, 0, c) = d_first(n, c);
  const Tensor<T, 3> d_sequence = encoder.backward(d_encoded, encoder_cache);
  Tensor<T, 4> d_map(map.shape());
  for (Index n = 0; n < images; ++n)
    for (Index t = 0; t < tokens; ++t)
      for (Index c = 0; c < embed; ++c) {
        d_pos(0, t, c) += d_sequence(n, t, c);
        (t == 0 ? d_cls(0, 0, c) : d_map[(n * (tokens - 1) + t - 1) * embed + c]) += d_sequence(n, t, c);
      }
  run.expect_image("grad.in.x", patch.backward(d_map, patch_cache));
  run.expect("grad.param.cls", d_cls);
  run.expect("grad.param.pos", d_pos);
  run.expect_parameter_gradients(patch), run.expect_parameter_gradients(encoder), run.expect_parameter_gradients(head);
}

}  // namespace

void add_net_adapters(Adapters& adapters) {
  adapters["net_cnn"] = CONFORMANCE_ADAPTER(net_cnn);
  adapters["net_vit"] = CONFORMANCE_ADAPTER(net_vit);
}

}  // namespace conformance
