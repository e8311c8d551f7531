// SPDX-License-Identifier: MIT
#include <heed/layers/batch_norm2d.hpp>
#include <heed/testing/check_gradients.hpp>

#include "catch.hpp"

using heed::BatchNorm2d;
using heed::BatchNorm2dOptions;
using heed::Index;
using heed::Shape;
using heed::Tensor;

namespace {

/// A layer whose parameters and statistics are not the trivial ones.
BatchNorm2d<double> awkward(const BatchNorm2dOptions& options) {
  BatchNorm2d<double> layer(options);
  for (Index j = 0; j < options.num_features; ++j) {
    const double v = static_cast<double>(j);
    if (options.affine) layer.weight().value()[j] = options.frozen_scale ? 1 : 0.5 + 0.25 * v, layer.bias().value()[j] = 1 - 0.5 * v;
    if (options.track_running_stats) layer.running_mean()[j] = 0.1 * v, layer.running_var()[j] = 0.5 + 0.1 * v;
  }
  return layer;
}

Tensor<float, 4> ramp(const Shape& shape) {
  Tensor<float, 4> x(shape);
  for (Index i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i * 37 % 101) / 50 - 1;
  return x;
}

}  // namespace

TEST_CASE("BatchNorm2d: certificate for every option and awkward shapes") {
  struct Case {
    BatchNorm2dOptions options;
    Shape x;
  };
  const Case cases[] = {
      {{.num_features = 3}, {2, 3, 2, 3}}, {{.num_features = 1}, {1, 1, 2, 1}}, {{.num_features = 17}, {3, 1, 1, 17}},
      {{.num_features = 3, .affine = false}, {2, 2, 2, 3}}, {{.num_features = 3, .track_running_stats = false}, {1, 3, 2, 3}},
      {{.num_features = 3, .eps = 0.5, .frozen_scale = true}, {2, 2, 2, 3}}, {{.num_features = 3, .frozen_statistics = true}, {2, 2, 2, 3}},
      {{.num_features = 3, .affine = false, .frozen_statistics = true}, {1, 1, 1, 3}}, {{.num_features = 2, .shard_size = 2}, {4, 2, 2, 2}},
      {{.num_features = 2, .shard_size = 3}, {7, 2, 1, 2}},  // 3 + 4 images
      {{.num_features = 2, .shard_size = 3}, {8, 2, 1, 2}},  // 3 + 3 + 2 images
      {{.num_features = 2, .shard_size = 5}, {3, 2, 1, 2}}, {{.num_features = 2, .shard_size = 1}, {3, 2, 1, 2}},
      {{.num_features = 2, .shard_size = 2}, {5, 1, 1, 2}},  // 2 + 3 images of one pixel
  };
  for (const Case& example : cases) {
    auto report = heed::check_gradients(awkward(example.options), example.x);
    INFO(example.x.to_string() << ' ' << report.to_string());
    CHECK(report.passed());
  }
}

TEST_CASE("BatchNorm2d: other ranks are rows x features too") {
  auto report = heed::check_gradients(awkward({.num_features = 4}), Shape{5, 4});
  INFO(report.to_string());
  CHECK(report.passed());
}

TEST_CASE("BatchNorm2d: a training step changes the running statistics in backward, inference uses them") {
  BatchNorm2d<float> layer({.num_features = 2});
  const auto x = ramp({3, 2, 2, 2});
  BatchNorm2d<float>::Cache cache;
  const auto y = layer.forward(x, cache);
  CHECK(layer.running_mean()[0] == 0);
  CHECK(layer.running_var()[0] == 1);
  layer.backward(y, cache);
  double mean = 0, square = 0;
  for (Index i = 0; i < 12; ++i) mean += x[2 * i] / 12.0, square += x[2 * i] * x[2 * i] / 12.0;
  const double variance = (square - mean * mean) * 12 / 11;
  CHECK(layer.running_mean()[0] == Approx(0.1 * mean));
  CHECK(layer.running_var()[0] == Approx(0.9 + 0.1 * variance));
  const auto inference = layer.forward(x);
  CHECK(inference[0] == Approx((x[0] - 0.1 * mean) / std::sqrt(0.9 + 0.1 * variance + 1e-5)).epsilon(1e-5));
}

TEST_CASE("BatchNorm2d: shards are normalised alone, a short last one joins its predecessor") {
  const BatchNorm2d<float> shards({.num_features = 3, .shard_size = 4}), whole({.num_features = 3});
  const auto x = ramp({13, 2, 3, 3});  // 4 + 4 + 5
  BatchNorm2d<float>::Cache cache, part_cache;
  const auto y = shards.forward(x, cache);
  CHECK(cache.mean.shape() == Shape{3, 3});
  const Index cuts[] = {0, 4, 8, 13};
  for (int s = 0; s < 3; ++s) {
    const auto part = x.slice(cuts[s], cuts[s + 1]);
    const auto alone = whole.forward(part, part_cache);
    CHECK(std::equal(alone.data(), alone.data() + alone.size(), y.slice(cuts[s], cuts[s + 1]).data()));
  }
  const auto pixels = ramp({6, 1, 1, 3});  // 4 + 2 images of one pixel: half a shard of two rows is one
  shards.forward(pixels, cache);
  CHECK(cache.mean.shape() == Shape{2, 3});
}

TEST_CASE("BatchNorm2d: a shard is never a single row, which has no variance") {
  BatchNorm2d<double> layer({.num_features = 3, .shard_size = 2});
  Tensor<double, 2> x({3, 3});
  for (Index i = 0; i < x.size(); ++i) x[i] = static_cast<double>(i * i);
  for (Index images : {2, 3}) {
    const auto part = x.slice(0, images);
    BatchNorm2d<double>::Cache cache;
    const auto y = layer.forward(part, cache);
    CHECK(cache.rows.groups == 1);
    layer.backward(y, cache);
    for (Index j = 0; j < 3; ++j) CHECK(std::isfinite(layer.running_var()[j]));
  }
  const BatchNorm2d<double> one({.num_features = 3, .shard_size = 1}),
      frozen({.num_features = 3, .frozen_statistics = true, .shard_size = 1});
  BatchNorm2d<double>::Cache cache;
  CHECK_THROWS_WITH(
      one.forward(x, cache), "BatchNorm2d: shards of one row have no variance (shard_size 1, input 3x3); give a shard_size of 2 or more");
  CHECK(one.forward(x).size() == 9);
  CHECK(frozen.forward(x, cache).size() == 9);
  const Tensor<double, 4> pixels({2, 1, 2, 3});  // two rows an image
  CHECK(one.forward(pixels, cache).size() == 12);
}

TEST_CASE("BatchNorm2d: frozen statistics stay, and training equals inference") {
  BatchNorm2d<float> layer({.num_features = 2, .frozen_statistics = true});
  layer.running_mean()[1] = 0.5f;
  layer.running_var()[1] = 4;
  const auto x = ramp({2, 2, 2, 2});
  BatchNorm2d<float>::Cache cache;
  const auto y = layer.forward(x, cache);
  const auto inference = layer.forward(x);
  CHECK(std::equal(y.data(), y.data() + y.size(), inference.data()));
  layer.backward(y, cache);
  CHECK(layer.running_mean()[1] == 0.5f);
  CHECK(layer.running_var()[1] == 4);
}

TEST_CASE("BatchNorm2d: an image alone gives the same bits as in a batch") {
  BatchNorm2d<float> layer({.num_features = 5});
  layer.running_mean()[2] = 0.3f;
  const auto x = ramp({4, 3, 3, 5});
  const auto y = layer.forward(x);
  for (Index n = 0; n < 4; ++n) {
    const auto alone = layer.forward(x.slice(n, n + 1));
    CHECK(std::equal(alone.data(), alone.data() + alone.size(), y.slice(n, n + 1).data()));
  }
}

TEST_CASE("BatchNorm2d: errors are sentences") {
  BatchNorm2d<float> layer({.num_features = 3});
  BatchNorm2d<float>::Cache cache;
  CHECK_THROWS_WITH(layer.forward(ramp({2, 2, 2, 4})), "BatchNorm2d: input has 4 features, the layer 3 (input 2x2x2x4)");
  const auto single = ramp({1, 1, 1, 3});
  CHECK_THROWS_AS(layer.forward(single, cache), heed::ShapeError);
  CHECK(layer.forward(single).size() == 3);
  CHECK_THROWS_AS(BatchNorm2d<float>({.num_features = 0}), std::invalid_argument);
  CHECK_THROWS_AS(BatchNorm2d<float>({.num_features = 2, .momentum = 1.5}), std::invalid_argument);
  CHECK_THROWS_AS(BatchNorm2d<float>({.num_features = 2, .track_running_stats = false, .frozen_statistics = true}), std::invalid_argument);
}

TEST_CASE("BatchNorm2d: names of parameters and buffers are torch's") {
  BatchNorm2d<float> layer({.num_features = 2, .frozen_scale = true});
  const auto parameters = heed::named_parameters(layer);
  REQUIRE(parameters.size() == 2);
  CHECK(parameters[0].name == "weight");
  CHECK(parameters[0].parameter->frozen());
  CHECK(parameters[1].name == "bias");
  layer.freeze();
  layer.freeze(false);
  CHECK(parameters[0].parameter->frozen());  // it is no part of what thaws
  CHECK_FALSE(parameters[1].parameter->frozen());
  const auto buffers = heed::named_buffers(layer);
  REQUIRE(buffers.size() == 2);
  CHECK(buffers[0].name == "running_mean");
  CHECK(buffers[1].name == "running_var");
  BatchNorm2d<float> bare({.num_features = 2, .affine = false, .track_running_stats = false});
  CHECK(heed::named_parameters(bare).empty());
  CHECK(heed::named_buffers(bare).empty());
}
