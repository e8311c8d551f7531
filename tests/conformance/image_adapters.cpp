// SPDX-License-Identifier: MIT
// Operators on images. Files have (N, C, H, W), the library has (N, H, W, C).
#include <heed/layers/avg_pool2d.hpp>
#include <heed/layers/batch_norm2d.hpp>
#include <heed/layers/conv2d.hpp>
#include <heed/layers/global_avg_pool2d.hpp>
#include <heed/layers/group_norm.hpp>
#include <heed/layers/max_pool2d.hpp>

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

template <class T>
void conv2d(Run<T>& run) {
  const ReferenceCase& reference = run.reference();
  const Shape weight = run.shape("param.weight");
  const heed::Size2d padding = size_of(reference, "padding");
  const Index groups = reference.integer("groups", 1);
  heed::Conv2d<T> layer({.in_channels = weight[1] * groups,
      .out_channels = weight[0],
      .kernel_size = {weight[2], weight[3]},
      .stride = size_of(reference, "stride"),
      .padding = {padding.height, padding.width},
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
  const Allowance input_gradient{.contributions = norm_terms(run, cache)};
  run.expect_image("grad.in.x", layer.backward(dy, cache), input_gradient);
  run.expect_parameter_gradients(layer);
  if (reference.has("out.running_mean")) {
    run.expect("out.running_mean", layer.running_mean());
    run.expect("out.running_var", layer.running_var());
  }
}

template <class T>
void group_norm(Run<T>& run) {
  const ReferenceCase& reference = run.reference();
  heed::GroupNorm<T> layer({.num_groups = reference.integer("num_groups", 1),
      .num_channels = run.shape("in.x")[1],
      .eps = reference.number("eps", 1e-5),
      .affine = reference.has("param.weight")});
  check_layer<4, 4>(run, layer, Channels::axis_1);
}

template <class T>
void avg_pool2d(Run<T>& run) {
  const ReferenceCase& reference = run.reference();
  heed::AvgPool2d<T> layer({.kernel_size = size_of(reference, "kernel_size"),
      .stride = size_of(reference, "stride"),
      .padding = size_of(reference, "padding"),
      .ceil_mode = reference.flag("ceil_mode"),
      .count_include_pad = reference.flag("count_include_pad", true)});
  check_layer<4, 4>(run, layer, Channels::axis_1);
}

template <class T>
void global_avg_pool2d(Run<T>& run) {
  heed::GlobalAvgPool2d<T> layer;
  check_layer<4, 2>(run, layer, Channels::axis_1);
}

template <class T>
void max_pool2d(Run<T>& run) {
  const ReferenceCase& reference = run.reference();
  heed::MaxPool2d<T> layer({.kernel_size = size_of(reference, "kernel_size"),
      .stride = size_of(reference, "stride"),
      .padding = size_of(reference, "padding"),
      .dilation = size_of(reference, "dilation"),
      .ceil_mode = reference.flag("ceil_mode")});
  check_layer<4, 4>(run, layer, Channels::axis_1);

  // The winner of a window, flat within its plane, is the one pixel that a gradient of that window alone reaches.
  const Tensor<T, 4> x = run.read_image("in.x");
  typename heed::MaxPool2d<T>::Cache cache;
  const Shape y = layer.output_shape(x.shape());
  Tensor<T, 4> dy(y);
  std::vector<std::int64_t> winners;
  for (Index n = 0; n < y[0]; ++n)
    for (Index c = 0; c < y[3]; ++c)
      for (Index window = 0; window < y[1] * y[2]; ++window) {
        const Index element = (n * y[1] * y[2] + window) * y[3] + c;
        dy[element] = T(1);
        std::as_const(layer).forward(x, cache);
        const Tensor<T, 4> dx = layer.backward(dy, cache);
        dy[element] = T(0);
        for (Index pixel = 0; pixel < x.size(1) * x.size(2); ++pixel)
          if (dx[(n * x.size(1) * x.size(2) + pixel) * x.size(3) + c] != T(0)) winners.push_back(pixel);
      }
  run.expect_whole("out.indices", winners);
}

}  // namespace

void add_image_adapters(Adapters& adapters) {
  adapters["conv2d"] = CONFORMANCE_ADAPTER(conv2d);
  adapters["avg_pool2d"] = CONFORMANCE_ADAPTER(avg_pool2d);
  adapters["global_avg_pool2d"] = CONFORMANCE_ADAPTER(global_avg_pool2d);
  adapters["max_pool2d"] = CONFORMANCE_ADAPTER(max_pool2d);
  adapters["batch_norm"] = CONFORMANCE_ADAPTER(batch_norm);
  adapters["group_norm"] = CONFORMANCE_ADAPTER(group_norm);
}

}  // namespace conformance
