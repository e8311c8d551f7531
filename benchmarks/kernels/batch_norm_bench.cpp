// SPDX-License-Identifier: MIT
// batch_norm/NxHxWxC, with the batch's statistics in both passes, and group_norm/NxHxWxC/groupsG. Statistics of a batch are complete before the first
// y can be written: a fused pass reads x twice and writes y; backward reads x and dy twice and writes dx. Those of an image stay in the cache.
#include <heed/layers/batch_norm2d.hpp>
#include <heed/layers/group_norm.hpp>

#include <reference/batch_norm_reference.hpp>
#include <reference/group_norm_reference.hpp>

#include "verify.hpp"

namespace {

using namespace bench;

struct BatchNormWorkload {
  Index images = 1, height = 1, width = 1, channels = 1;

  template <class Self, class V>
  static void walk(Self& self, V& v) {
    v.sizes("NxHxWxC", self.images, self.height, self.width, self.channels);
  }
  void check() const { require(images * height * width > 1, "one pixel has no variance"); }
  void add(const std::string& name) const;
};

struct BatchNormCase {
  BatchNormWorkload w;
  bool backward;
  BatchNorm2d<float> layer{{.num_features = w.channels}};
  Tensor<float, 4> x = operand<4>({w.images, w.height, w.width, w.channels}, 1), dy = operand<4>(x.shape(), 2);
  BatchNorm2d<float>::Cache cache = {};
  naive::Result plain = {};

  void run() {
    const auto y = layer.forward(x, cache);
    benchmark::DoNotOptimize(y.data());
    if (backward) benchmark::DoNotOptimize(layer.backward(dy, cache).data());
  }

  /// Some channels over all rows.
  std::string check() {
    const auto y = layer.forward(x, cache);
    layer.zero_gradients();
    const auto dx = backward ? layer.backward(dy, cache) : Tensor<float, 4>(x.shape());
    const Index rows = x.rows();
    std::string fault;
    for (const Index channel : samples_of(w.channels)) {
      std::vector<float> column[4];  // of x, dy, y and dx
      const float* const sources[] = {x.data(), dy.data(), y.data(), dx.data()};
      for (int i = 0; i < 4; ++i)
        for (Index row = 0; row < rows; ++row) column[i].push_back(sources[i][row * w.channels + channel]);
      const kernels::BatchNormRows all{rows, 1, 1, rows};
      std::vector<float> want_y(column[0].size()), want_dx(want_y);
      long double d_weight = 0, d_bias = 0;
      const auto statistics = reference::batch_norm_column(all, column[0].data(), 0, 0);
      reference::batch_norm_column(all, column[0].data(), column[1].data(), 0, 0, layer.options().eps, 1, 0, false, statistics,
          want_y.data(), want_dx.data(), &d_weight, &d_bias);
      fault = first_fault({fault, difference(text("y of channel ", channel), column[2].data(), want_y)});
      if (!backward) continue;
      const std::vector<long double> sums[] = {{d_weight}, {d_bias}};
      fault = first_fault({fault, difference(text("dx of channel ", channel), column[3].data(), want_dx),
          difference("d_weight", layer.weight().gradient() + channel, sums[0]),
          difference("d_bias", layer.bias().gradient() + channel, sums[1])});
    }
    return fault;
  }

  void run_naive() {
    naive::batch_norm(x.rows(), w.channels, x.data(), layer.weight().value(), layer.bias().value(), static_cast<float>(layer.options().eps),
        backward ? dy.data() : nullptr, plain);
    benchmark::DoNotOptimize(plain.y.data());
    benchmark::DoNotOptimize(plain.dx.data());
  }
  std::string check_naive() {
    plain.d_weight = naive::zeros(w.channels), plain.d_bias = naive::zeros(w.channels);
    run_naive();
    layer.zero_gradients();
    const auto y = layer.forward(x, cache);
    if (!backward) return difference("y", y.data(), plain.y);
    const auto dx = layer.backward(dy, cache);
    return first_fault({difference("y", y.data(), plain.y), difference("dx", dx.data(), plain.dx),
        difference("d_weight", layer.weight().gradient(), plain.d_weight), difference("d_bias", layer.bias().gradient(), plain.d_bias)});
  }
};

void BatchNormWorkload::add(const std::string& name) const {
  const Passes work = streams(static_cast<double>(images * height * width * channels), 3, 8, 2, 4);
  add_case(name + "/forward", work.forward, [w = *this] { return BatchNormCase{w, false}; });
  add_case(name + "/forward_backward", work.training, [w = *this] { return BatchNormCase{w, true}; });
}

struct GroupNormWorkload : BatchNormWorkload {
  Index groups = 0;  ///< 0: one

  template <class Self, class V>
  static void walk(Self& self, V& v) {
    BatchNormWorkload::walk(self, v);
    v.option("groups", self.groups);
  }
  Index parts() const { return groups > 0 ? groups : 1; }
  void check() const {
    require(channels % parts() == 0, channels, " channels cannot be cut into ", groups, " groups");
    require(height * width * channels > parts(), "a group of one number has no variance");
  }

  static Expected expected(const GroupNorm<float>& layer, const TensorView<const float, 4>& x, const TensorView<const float, 4>& dy) {
    const auto& o = layer.options();
    auto r = reference::group_norm(x.size(0), x.size(1) * x.size(2), o.num_channels, o.num_groups, x.data(), layer.weight().value(),
        layer.bias().value(), o.eps, dy.data());
    return {std::move(r.y), std::move(r.dx), {std::move(r.d_weight), std::move(r.d_bias)}};
  }
  void add(const std::string& name) const {
    add_layer(
        name, streams(static_cast<double>(images * height * width * channels), 2, 5, 2, 4),
        [w = *this] { return GroupNorm<float>({.num_groups = w.parts(), .num_channels = w.channels}); },
        [w = *this] {
          return operand<4>({w.images, w.height, w.width, w.channels}, 1);
        },
        expected);
  }
};

[[maybe_unused]] const bool known = family<BatchNormWorkload>("batch_norm", {"64x32x32x64", "256x15x15x64", "256x7x7x256"}) &&
                                    family<GroupNormWorkload>("group_norm", {"64x32x32x64/groups8"});

}  // namespace
