// SPDX-License-Identifier: MIT
// Operators on images. Files have (N, C, H, W), the library has (N, H, W, C).
#include <heed/layers/batch_norm2d.hpp>
#include <heed/layers/conv2d.hpp>

#include "adapters.hpp"

namespace conformance {
namespace {

/// An attribute of one number for height and width.
heed::Size2d size_of(const ReferenceCase& reference, const std::string& attribute) {
  const auto sizes = reference.integers(attribute);
  if (sizes.size() == 1) return {sizes[0]};
  if (sizes.size() == 2) return {sizes[0], sizes[1]};
  unsupported(attribute, " of ", sizes.size(), " numbers");
}
heed::Padding2d padding_of(const ReferenceCase& reference) {
  const heed::Size2d size = size_of(reference, "padding");
  return {size.height, size.width};
}

template <class T>
void conv2d(Run<T>& run) {
  const ReferenceCase& reference = run.reference();
  const Shape weight = run.shape("param.weight");
  const Index groups = reference.integer("groups", 1);
  heed::Conv2d<T> layer({.in_channels = weight[1] * groups,
      .out_channels = weight[0],
      .kernel_size = {weight[2], weight[3]},
      .stride = size_of(reference, "stride"),
      .padding = padding_of(reference),
      .dilation = size_of(reference, "dilation"),
      .groups = groups,
      .bias = reference.flag("bias", true)});
  check_layer<4, 4>(run, layer, Channels::axis_1);
}

template <class T>
void batch_norm(Run<T>& run) {
  const ReferenceCase& reference = run.reference();
  const bool training = reference.flag("training"), running = reference.has("in.running_mean");
  const Tensor<T, 4> x = run.read_image("in.x");
  heed::BatchNorm2d<T> layer({.num_features = x.size(3),
      .eps = reference.number("eps", 1e-5),
      .momentum = reference.number("momentum", 0.1),
      .affine = reference.flag("affine", true),
      .track_running_stats = running,
      .frozen_statistics = !training});
  run.set_parameters(layer);
  if (running) {
    layer.running_mean() = run.template read<1>("in.running_mean");
    layer.running_var() = run.template read<1>("in.running_var");
  }
  typename heed::BatchNorm2d<T>::Cache cache;
  if (!training || !running) run.expect_image("out.y", std::as_const(layer).forward(x));  // inference that uses the same statistics
  run.expect_image("out.y", std::as_const(layer).forward(x, cache));
  const Tensor<T, 4> dy = run.read_image("grad.out.y");
  run.expect_image("grad.in.x", layer.backward(dy, cache));
  run.expect_parameter_gradients(layer);
  if (reference.has("out.running_mean")) {
    run.expect("out.running_mean", layer.running_mean());
    run.expect("out.running_var", layer.running_var());
  }
}

}  // namespace

void add_image_adapters(Adapters& adapters) {
  adapters["conv2d"] = CONFORMANCE_ADAPTER(conv2d);
  adapters["batch_norm"] = CONFORMANCE_ADAPTER(batch_norm);
}

}  // namespace conformance
