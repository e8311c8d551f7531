// SPDX-License-Identifier: MIT
#include <cmath>

#include <heed/core/random.hpp>
#include <heed/kernels/conv2d_narrow_gradient.hpp>

#include "catch.hpp"
#include "reference/conv2d_reference.hpp"
#include "reference/poison_pool.hpp"

using heed::Index;
using heed::Tensor;
using heed::kernels::Conv2dGeometry;

namespace {

Conv2dGeometry geometry(
    Index images, Index height, Index width, Index in, Index out, Index kernel, Index stride, Index dilation, Index padding) {
  Conv2dGeometry g{images, {height, width}, in, {}, out, {kernel, kernel}, {stride, stride}, {dilation, dilation}, {padding, padding}, 1};
  for (int i = 0; i < 2; ++i) g.out_size[i] = (g.size[i] + 2 * padding - dilation * (kernel - 1) - 1) / stride + 1;
  return g;
}

}  // namespace

TEMPLATE_TEST_CASE("gradients of few channels agree with the sum as it is written", "", float, double) {
  const heed::CounterRandom random({1});
  for (const Conv2dGeometry& g : {geometry(1, 1, 1, 1, 1, 1, 1, 1, 0), geometry(2, 1, 1, 3, 5, 3, 1, 1, 1),
           geometry(2, 7, 9, 3, 17, 3, 1, 1, 1), geometry(2, 8, 6, 4, 33, 3, 2, 1, 1), geometry(1, 11, 10, 2, 3, 2, 3, 1, 0),
           geometry(2, 9, 12, 3, 8, 3, 1, 2, 2), geometry(1, 13, 12, 1, 6, 4, 3, 2, 4), geometry(1, 5, 4, 3, 4, 5, 1, 1, 6),
           geometry(2, 6, 6, 5, 4, 7, 1, 1, 3), geometry(1, 6, 5, 33, 7, 3, 1, 1, 1),            // more channels than it is meant for
           geometry(2, 90, 70, 3, 4, 3, 1, 1, 1), geometry(1, 130, 90, 3, 2, 5, 2, 3, 3),        // several blocks of rows
           geometry(1, 24, 2000, 3, 2, 3, 1, 1, 1), geometry(1, 21, 1500, 3, 2, 3, 2, 1, 0)}) {  // rows that do not fit scratch
    reference::poison_pool(1 << 18);
    INFO(g.size[0] << 'x' << g.size[1] << 'x' << g.in_channels << " kernel " << g.kernel[0] << " stride " << g.stride[0]);
    Tensor<TestType, 1> dy({g.images * g.out_size[0] * g.out_size[1] * g.out_channels}),
        weight({g.out_channels * g.in_channels * g.taps()});
    for (Index i = 0; i < dy.size(); ++i) dy[i] = static_cast<TestType>(random.uniform(static_cast<std::uint64_t>(i), -1, 1));
    for (Index i = 0; i < weight.size(); ++i)
      weight[i] = static_cast<TestType>(random.uniform(static_cast<std::uint64_t>(i) + 1000000, -1, 1));
    Tensor<TestType, 1> dx({g.images * g.size[0] * g.size[1] * g.in_channels}), expected(dx);
    dx.fill(TestType(99));
    heed::kernels::conv2d_narrow_input_gradient(g, dy.data(), weight.data(), dx.data());
    reference::conv2d_input_gradient(g, dy.data(), weight.data(), expected.data());
    const double bound = 2 * static_cast<double>(std::numeric_limits<TestType>::epsilon()) * static_cast<double>(g.taps() * g.out_channels);
    Index wrong = 0;
    for (Index i = 0; i < dx.size(); ++i) wrong += std::abs(static_cast<double>(dx[i]) - static_cast<double>(expected[i])) <= bound ? 0 : 1;
    CHECK(wrong == 0);
  }
}

TEST_CASE("gradients of few channels have the same bits for any number of threads, and for an image alone") {
  const heed::CounterRandom random({2});
  Conv2dGeometry g = geometry(5, 90, 70, 3, 9, 3, 1, 1, 1);
  const Index image = 90 * 70 * 3, out = 90 * 70 * 9;
  Tensor<float, 1> dy({5 * out}), weight({9 * 3 * 9}), dx[2], alone({image});
  for (Index i = 0; i < dy.size(); ++i) dy[i] = static_cast<float>(random.uniform(static_cast<std::uint64_t>(i), -1, 1));
  for (Index i = 0; i < weight.size(); ++i) weight[i] = static_cast<float>(random.uniform(static_cast<std::uint64_t>(i) + 1000000, -1, 1));
  for (int i = 0; i < 2; ++i) {
    const heed::ThreadScope scope(1 + 2 * i);
    dx[i].resize({5 * image});
    heed::kernels::conv2d_narrow_input_gradient(g, dy.data(), weight.data(), dx[i].data());
  }
  CHECK(std::equal(dx[0].data(), dx[0].data() + 5 * image, dx[1].data()));
  g.images = 1;
  heed::kernels::conv2d_narrow_input_gradient(g, dy.data() + 3 * out, weight.data(), alone.data());
  CHECK(std::equal(alone.data(), alone.data() + image, dx[0].data() + 3 * image));
}

TEST_CASE("few channels and many taps are worth it") {
  const auto pays = [](Index in, Index kernel, Index groups) {
    Conv2dGeometry g = geometry(1, 9, 9, in, 8, kernel, 1, 1, 1);
    g.groups = groups;
    return heed::kernels::narrow_gradient_pays<float>(g);
  };
  CHECK_FALSE(pays(64, 3, 1));
  CHECK_FALSE(pays(3, 1, 1));
  CHECK_FALSE(pays(4, 3, 4));
  if (heed::kernels::panel_width<float>() >= 16) CHECK(pays(3, 3, 1));
}
