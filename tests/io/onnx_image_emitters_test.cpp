// SPDX-License-Identifier: MIT
#include <limits>

#include <heed/compose/sequential.hpp>
#include <heed/layers/avg_pool1d.hpp>
#include <heed/layers/avg_pool2d.hpp>
#include <heed/layers/batch_norm1d.hpp>
#include <heed/layers/batch_norm2d.hpp>
#include <heed/layers/conv1d.hpp>
#include <heed/layers/conv2d.hpp>
#include <heed/layers/global_avg_pool1d.hpp>
#include <heed/layers/global_avg_pool2d.hpp>
#include <heed/layers/global_max_pool2d.hpp>
#include <heed/layers/group_norm.hpp>
#include <heed/layers/max_pool1d.hpp>
#include <heed/layers/max_pool2d.hpp>

#include "catch.hpp"
#include "written_onnx.hpp"

using heed::named;
using heed::Shape;

TEST_CASE("ONNX images: Conv2d with every option, weights as they are") {
  const heed::Conv2d<float> conv({.in_channels = 4,
      .out_channels = 6,
      .kernel_size = {3, 2},
      .stride = {2, 1},
      .padding = {0, 1, 3, 2},
      .dilation = {1, 3},
      .groups = 2});
  const auto file = written_onnx(conv, {{2, 9, 8, 4}});
  CHECK(file.ops() == "Conv");
  const auto& node = file.node("Conv2d");
  CHECK(node.inputs == Words{"input", "weight", "bias"});
  CHECK(node.ints("kernel_shape") == Integers{3, 2});
  CHECK(node.ints("strides") == Integers{2, 1});
  CHECK(node.ints("pads") == Integers{0, 1, 3, 2});
  CHECK(node.ints("dilations") == Integers{1, 3});
  CHECK(node.attribute("group").i == 2);
  CHECK(file.initializers.at("weight").dims == Integers{6, 2, 3, 2});
  CHECK(file.initializers.at("weight").floats() == std::vector<float>(conv.weight().value(), conv.weight().value() + conv.weight().size()));
  CHECK(file.inputs[0].dims == Words{"N", "4", "9", "8"});
  CHECK(file.outputs[0].dims == Words{"N", "6", "5", "8"});
  const auto same = written_onnx(
      heed::Conv2d<float>({.in_channels = 1, .out_channels = 1, .kernel_size = 3, .padding = {1, 2}, .bias = false}), {{1, 3, 3, 1}});
  CHECK(same.nodes[0].ints("pads") == Integers{1, 2, 1, 2});
  CHECK(same.nodes[0].inputs.size() == 2);
}

TEST_CASE("ONNX images: between convolutions nothing is transposed, with images as heed has them once at each end") {
  const auto conv = [] { return heed::Conv2d<float>({.in_channels = 3, .out_channels = 3, .kernel_size = 3}); };
  const heed::Sequential net(named("a", conv()), named("norm", heed::BatchNorm2d<float>({.num_features = 3})), named("b", conv()));
  CHECK(written_onnx(net, {{2, 9, 9, 3}}).ops() == "Conv BatchNormalization Conv");
  const auto file = written_onnx(net, {{2, 9, 9, 3}}, {.channels_first = false});
  CHECK(file.ops() == "Transpose Conv BatchNormalization Conv Transpose");
  CHECK(file.inputs[0].dims == Words{"N", "9", "9", "3"});
  CHECK(file.outputs[0].dims == Words{"N", "5", "5", "3"});
}

TEST_CASE("ONNX images: pools, and what hangs over the edge") {
  using heed::AvgPool2d;
  using heed::MaxPool2d;
  const auto max = written_onnx(MaxPool2d<float>({.kernel_size = {3, 2}, .stride = {1, 2}, .padding = {1, 0}}), {{2, 7, 6, 3}});
  CHECK(max.ops() == "MaxPool");
  CHECK(max.nodes[0].ints("kernel_shape") == Integers{3, 2});
  CHECK(max.nodes[0].ints("strides") == Integers{1, 2});
  CHECK(max.nodes[0].ints("pads") == Integers{1, 0, 1, 0});
  CHECK(written_onnx(MaxPool2d<float>({.kernel_size = 3, .stride = 2, .ceil_mode = true}), {{2, 7, 6, 3}}).nodes[0].ints("pads") ==
        Integers{0, 0, 0, 1});
  // Dilation lets a window hang over by more than its kernel, which ONNX Runtime refuses as padding.
  const auto far = written_onnx(MaxPool2d<float>({.kernel_size = 2, .stride = 5, .dilation = 4, .ceil_mode = true}), {{2, 6, 6, 3}});
  CHECK(far.ops() == "Pad MaxPool");
  CHECK(far.initializers.at(far.nodes[0].inputs[1]).integers() == Integers{0, 0, 0, 0, 0, 0, 4, 4});
  CHECK(far.initializers.at(far.nodes[0].inputs[2]).floats()[0] == -std::numeric_limits<float>::infinity());
  CHECK(far.nodes[1].ints("pads") == Integers{0, 0, 0, 0});
  const auto before = written_onnx(MaxPool2d<float>({.kernel_size = 2, .padding = {3, 0, 0, 0}, .dilation = 3}), {{2, 6, 6, 3}});
  CHECK(before.ops() == "Pad MaxPool");

  const auto counted = written_onnx(AvgPool2d<float>({.kernel_size = 3, .stride = 2, .padding = 1, .ceil_mode = true}), {{2, 8, 7, 3}});
  CHECK(counted.ops() == "Pad AveragePool");
  CHECK(counted.initializers.at(counted.nodes[0].inputs[1]).integers() == Integers{0, 0, 1, 1, 0, 0, 1, 1});
  CHECK(counted.nodes[1].ints("pads") == Integers{0, 0, 1, 0});
  CHECK(counted.nodes[1].attribute("count_include_pad").i == 0);
  const auto uncounted = written_onnx(
      AvgPool2d<float>({.kernel_size = 3, .stride = 2, .padding = 1, .ceil_mode = true, .count_include_pad = false}), {{2, 8, 7, 3}});
  CHECK(uncounted.ops() == "AveragePool");
  CHECK(uncounted.nodes[0].ints("pads") == Integers{1, 1, 2, 1});
  CHECK(uncounted.nodes[0].attribute("count_include_pad").i == 0);
  CHECK(written_onnx(AvgPool2d<float>({.kernel_size = 2}), {{2, 8, 7, 3}}).ops() == "AveragePool");

  const auto global = written_onnx(heed::GlobalMaxPool2d<float>(), {{2, 8, 7, 3}});
  CHECK(global.ops() == "ReduceMax");
  CHECK(global.initializers.at(global.nodes[0].inputs[1]).integers() == Integers{2, 3});
  CHECK(global.nodes[0].attribute("keepdims").i == 0);
  const auto last = written_onnx(heed::GlobalAvgPool2d<float>(), {{2, 8, 7, 3}}, {.channels_first = false});
  CHECK(last.ops() == "ReduceMean");
  CHECK(last.initializers.at(last.nodes[0].inputs[1]).integers() == Integers{1, 2});
}

TEST_CASE("ONNX images: averages whose divisor is given, or that ONNX Runtime cannot count") {
  using heed::AvgPool2d;
  const auto given = written_onnx(AvgPool2d<float>({.kernel_size = {3, 2}, .padding = {1, 0}, .divisor_override = 3}), {{2, 5, 4, 3}});
  CHECK(given.ops() == "Pad AveragePool Mul");
  CHECK(given.initializers.at(given.nodes[2].inputs[1]).floats()[0] == 2.0f);  // of six taps
  const auto dilated =
      written_onnx(AvgPool2d<float>({.kernel_size = 2, .padding = 1, .dilation = 2, .count_include_pad = false}), {{2, 5, 4, 3}});
  CHECK(dilated.ops() == "Pad AveragePool Pad AveragePool Max Div");
  CHECK(dilated.nodes[1].ints("dilations") == Integers{2, 2});
  CHECK(dilated.initializers.at("AvgPool2d/ones").dims == Integers{1, 1, 5, 4});
}

TEST_CASE("ONNX images: layers of sequences are those of one axis less") {
  const heed::Sequential net(named("conv", heed::Conv1d<float>({.in_channels = 3, .out_channels = 4, .kernel_size = 3, .padding = {2, 0}})),
      named("pool", heed::MaxPool1d<float>({.kernel_size = 3, .stride = 2, .padding = 1})),
      named("mean", heed::AvgPool1d<float>({.kernel_size = 2})), named("all", heed::GlobalAvgPool1d<float>()));
  const auto file = written_onnx(net, {{2, 9, 3}});
  CHECK(file.ops() == "Transpose Conv MaxPool AveragePool ReduceMean");
  CHECK(file.inputs[0].dims == Words{"N", "9", "3"});  // sequences come in as heed has them
  CHECK(file.node("conv").ints("pads") == Integers{2, 0});
  CHECK(file.node("pool").ints("pads") == Integers{1, 1});
  CHECK(file.initializers.at("conv.weight").dims == Integers{4, 3, 3});
}

TEST_CASE("ONNX images: BatchNorm2d by its running statistics, or by those of its input") {
  const auto file = written_onnx(heed::BatchNorm2d<float>({.num_features = 3, .eps = 0.25}), {{2, 4, 4, 3}});
  CHECK(file.ops() == "BatchNormalization");
  CHECK(file.nodes[0].inputs == Words{"input", "weight", "bias", "running_mean", "running_var"});
  CHECK(file.nodes[0].attribute("epsilon").f == 0.25f);
  CHECK(written_onnx(heed::BatchNorm1d<float>({.num_features = 3}), {{2, 4, 3}}).ops() == "Transpose BatchNormalization Transpose");
  CHECK(written_onnx(heed::BatchNorm1d<float>({.num_features = 3}), {{2, 3}}).ops() == "BatchNormalization");
  const auto plain = written_onnx(heed::BatchNorm2d<float>({.num_features = 3, .affine = false}), {{2, 4, 4, 3}});
  CHECK(plain.initializers.at(plain.nodes[0].inputs[1]).floats() == std::vector<float>(3, 1.0f));
  CHECK(plain.initializers.at(plain.nodes[0].inputs[2]).floats() == std::vector<float>(3, 0.0f));
  const auto own = written_onnx(heed::BatchNorm2d<float>({.num_features = 3, .track_running_stats = false}), {{2, 4, 4, 3}});
  CHECK(own.ops() == "ReduceMean Sub Mul ReduceMean Add Sqrt Div Reshape Mul Reshape Add");
}

TEST_CASE("ONNX images: GroupNorm is an instance norm of its groups") {
  const auto file = written_onnx(heed::GroupNorm<float>({.num_groups = 2, .num_channels = 6, .eps = 0.25}), {{2, 5, 4, 6}});
  CHECK(file.ops() == "Reshape InstanceNormalization Reshape Reshape Mul Reshape Add");
  CHECK(file.initializers.at(file.nodes[0].inputs[1]).integers() == Integers{0, 2, -1});
  CHECK(file.initializers.at(file.nodes[2].inputs[1]).integers() == Integers{0, 6, 5, 4});
  CHECK(file.nodes[1].attribute("epsilon").f == 0.25f);
  CHECK(file.initializers.at("GroupNorm/ones").floats() == std::vector<float>(2, 1.0f));
  const heed::GroupNorm<float> plain({.num_groups = 2, .num_channels = 6, .affine = false});
  CHECK(written_onnx(plain, {{2, 6}}).ops() == "Reshape InstanceNormalization Reshape");
  CHECK(written_onnx(plain, {{2, 5, 6}}).ops() == "Transpose Reshape InstanceNormalization Reshape Transpose");
}

namespace {

/// A composer that runs its child without asking for its shape through child_shape.
class Silent : public heed::LayerBase<Silent> {
 public:
  using scalar = float;
  Shape output_shape(const Shape& in) const { return conv_.output_shape(in); }
  template <class Self, class V>
  static void describe_members(Self& self, V& visitor) {
    visitor.kind("Sequential");
    visitor.child("conv", self.conv_);
  }

 private:
  heed::Conv2d<float> conv_{{.in_channels = 1, .out_channels = 1}};
};

}  // namespace

TEST_CASE("ONNX images: a convolution inside of a layer that hides its shape is refused") {
  CHECK_THROWS_WITH(written_onnx(Silent(), {{1, 2, 2, 1}}), contains("layer conv (Conv2d) does not say its shape"));
}
