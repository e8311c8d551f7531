// SPDX-License-Identifier: MIT
#include <string>
#include <vector>

#include <heed/compose/any_layer.hpp>
#include <heed/compose/sequential.hpp>
#include <heed/io/described_layer.hpp>
#include <heed/layers/attention_fusion.hpp>
#include <heed/layers/batch_norm2d.hpp>
#include <heed/layers/conv2d.hpp>

#include "catch.hpp"

using heed::named;
using heed::Shape;
using heed::io::describe_layers;
using heed::io::DescribedLayer;

namespace {

template <class T>
auto model() {
  return heed::Sequential(
      named("conv", heed::Conv2d<T>({.in_channels = 3, .out_channels = 4, .kernel_size = {3, 2}, .padding = {0, 1, 2, 1}})),
      named("block", heed::AnyLayer<T, 4>(heed::Sequential(named("norm", heed::BatchNorm2d<T>({.num_features = 4, .momentum = 0.25})),
                         named("fusion", heed::AttentionFusion<T>({.features = 4, .num_heads = 2, .height = 5, .width = 6}))))));
}

}  // namespace

TEST_CASE("Described layers: the tree has kinds, paths, options, tensors and shapes") {
  const auto net = model<float>();
  const DescribedLayer root = describe_layers(net, Shape{2, 5, 5, 3});
  CHECK(root.path.empty());
  CHECK(root.kind == "Sequential");
  CHECK(root.label() == "the model (Sequential)");
  CHECK(root.out == Shape{2, 5, 6, 4});
  REQUIRE(root.children.size() == 2);
  const DescribedLayer& conv = root.child("conv");
  CHECK(conv.kind == "Conv2d");
  CHECK(conv.label() == "layer conv (Conv2d)");
  CHECK(conv.out == Shape{2, 5, 6, 4});
  CHECK(conv.integers("kernel_size") == std::vector<heed::Index>{3, 2});
  CHECK(conv.integers("padding") == std::vector<heed::Index>{0, 1, 2, 1});
  CHECK(conv.integer("in_channels") == 3);
  CHECK(conv.flag("bias"));
  CHECK(conv.has_option("bias"));
  CHECK_FALSE(conv.has_option("alpha"));
  CHECK(conv.tensor("weight").shape == Shape{4, 3, 3, 2});
  CHECK(conv.tensor("weight").data == net.get<0>().weight().value());
  CHECK(conv.path_of("weight") == "conv.weight");
  CHECK(root.path_of("weight") == "weight");
  const DescribedLayer& norm = root.child("block").child("norm");
  CHECK(norm.path == "block.norm");
  CHECK(norm.number("momentum") == 0.25);
  CHECK(norm.tensor("running_var").floats() == std::vector<float>(4, 1.0f));
  const DescribedLayer& fusion = root.child("block").child("fusion");
  CHECK(fusion.out == Shape{2, 5, 6, 4});
  CHECK(fusion.children.size() == 4);
  CHECK(fusion.child("position").tensor("sines").shape == Shape{30, 4});  // a constant: not saved, but described
  CHECK(fusion.child("out").out.rank() == 0);                             // run by the block itself
  CHECK(fusion.find("weight") == nullptr);
}

TEST_CASE("Described layers: double numbers become the nearest floats") {
  auto net = model<double>();
  net.get<0>().bias().value()[1] = 0.1;
  CHECK(describe_layers(net, Shape{1, 5, 5, 3}).child("conv").tensor("bias").floats()[1] == 0.1f);
}

TEST_CASE("Described layers: what is absent or of another kind is named") {
  const auto net = model<float>();
  CHECK_THROWS_AS(describe_layers(net, Shape{2, 5, 5, 4}), heed::ShapeError);
  DescribedLayer layer{"a.b", "Odd", {{"size", "3x"}, {"mode", "fast"}, {"pair", "2x3"}, {"none", ""}, {"gap", "2 3"}}, {}, {}};
  CHECK_THROWS_WITH(layer.option("alpha"), "layer a.b (Odd) describes no option alpha");
  CHECK_THROWS_WITH(layer.integers("size"), contains("option size is \"3x\", expected whole numbers"));
  CHECK_THROWS_WITH(layer.integers("gap"), contains("expected whole numbers"));
  CHECK_THROWS_WITH(layer.integers("none"), contains("expected whole numbers"));
  CHECK_THROWS_WITH(layer.integer("pair"), contains("expected one whole number"));
  CHECK_THROWS_WITH(layer.number("mode"), contains("expected a number"));
  CHECK_THROWS_WITH(layer.number("none"), contains("expected a number"));
  CHECK_THROWS_WITH(layer.flag("mode"), contains("expected true or false"));
  CHECK_THROWS_WITH(layer.tensor("weight"), "layer a.b (Odd) describes no weight");
  CHECK_THROWS_WITH(layer.child("c"), "layer a.b (Odd) describes no child c");
}
