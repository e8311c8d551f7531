// SPDX-License-Identifier: MIT
// Operators on images. Files have (N, C, H, W), the library has (N, H, W, C).
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

}  // namespace

void add_image_adapters(Adapters& adapters) { adapters["conv2d"] = CONFORMANCE_ADAPTER(conv2d); }

}  // namespace conformance
