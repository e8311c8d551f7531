// SPDX-License-Identifier: MIT
#include <cmath>
#include <limits>

#include <heed/core/random.hpp>
#include <heed/kernels/depthwise_conv2d.hpp>

#include "catch.hpp"
#include "reference/conv2d_reference.hpp"

using heed::Index;
using heed::Tensor;
using heed::kernels::Conv2dGeometry;

namespace {

Conv2dGeometry geometry(
    Index images, Index height, Index width, Index channels, Index kernel, Index stride, Index dilation, Index padding) {
  Conv2dGeometry g{images, {height, width}, channels, {}, channels, {kernel, kernel + 1}, {stride, stride + 1}, {dilation, 1},
      {padding, padding}, channels};
  for (int i = 0; i < 2; ++i) g.out_size[i] = (g.size[i] + 2 * padding - g.dilation[i] * (g.kernel[i] - 1) - 1) / g.stride[i] + 1;
  return g;
}

template <class T>
Tensor<T, 1> noise(Index count, std::uint64_t stream) {
  Tensor<T, 1> result({count});
  const heed::CounterRandom random({stream});
  for (Index i = 0; i < count; ++i) result[i] = static_cast<T>(random.uniform(static_cast<std::uint64_t>(i), -1, 1));
  return result;
}

template <class T>
double largest_error(const Tensor<T, 1>& a, const Tensor<T, 1>& b, double terms) {
  double largest = 0;
  for (Index i = 0; i < a.size(); ++i) largest = std::max(largest, std::abs(static_cast<double>(a[i]) - static_cast<double>(b[i])));
  return largest / (std::numeric_limits<T>::epsilon() * terms);
}

const Conv2dGeometry kCases[] = {geometry(1, 1, 2, 2, 1, 1, 1, 0), geometry(2, 7, 6, 3, 3, 1, 1, 1), geometry(2, 9, 9, 16, 2, 2, 1, 0),
    geometry(1, 12, 11, 17, 3, 3, 2, 2), geometry(3, 5, 8, 33, 2, 3, 2, 1), geometry(20, 15, 15, 24, 3, 1, 1, 1)};

}  // namespace

TEMPLATE_TEST_CASE("depthwise kernels agree with the sum as it is written", "", float, double) {
  for (const Conv2dGeometry& g : kCases) {
    INFO(g.size[0] << 'x' << g.size[1] << 'x' << g.in_channels << " kernel " << g.kernel[0] << 'x' << g.kernel[1]);
    const Index in = g.images * g.size[0] * g.size[1] * g.in_channels, out = g.images * g.out_size[0] * g.out_size[1] * g.out_channels;
    const auto x = noise<TestType>(in, 1), dy = noise<TestType>(out, 2), bias = noise<TestType>(g.out_channels, 3);
    const auto weight = noise<TestType>(g.out_channels * g.taps(), 4);
    Tensor<TestType, 1> y({out}), y_expected({out}), dx({in}), dx_expected({in});
    y.fill(TestType(99)), dx.fill(TestType(99));
    for (const TestType* b : {static_cast<const TestType*>(nullptr), bias.data()}) {
      heed::kernels::depthwise_conv2d_forward(g, x.data(), weight.data(), b, y.data());
      reference::conv2d_forward(g, x.data(), weight.data(), b, y_expected.data());
      CHECK(largest_error(y, y_expected, 12) < 2);
    }
    heed::kernels::depthwise_conv2d_input_gradient(g, dy.data(), weight.data(), dx.data());
    reference::conv2d_input_gradient(g, dy.data(), weight.data(), dx_expected.data());
    CHECK(largest_error(dx, dx_expected, 12) < 2);
    auto d_weight = noise<TestType>(weight.size(), 5), d_weight_expected = d_weight;  // gradients add
    heed::kernels::depthwise_conv2d_weight_gradient(g, x.data(), dy.data(), d_weight.data());
    reference::conv2d_weight_gradient(g, x.data(), dy.data(), d_weight_expected.data());
    CHECK(largest_error(d_weight, d_weight_expected, static_cast<double>(g.images * g.out_size[0] * g.out_size[1])) < 2);
  }
}

TEST_CASE("depthwise weight gradients have the same bits for any number of threads") {
  const Conv2dGeometry g = geometry(20, 15, 15, 24, 3, 1, 1, 1);
  const auto x = noise<float>(20 * 15 * 15 * 24, 1), dy = noise<float>(20 * g.out_size[0] * g.out_size[1] * 24, 2);
  Tensor<float, 1> d_weight[2];
  for (int i = 0; i < 2; ++i) {
    heed::ThreadScope scope(1 + 3 * i);
    d_weight[i] = Tensor<float, 1>({24 * g.taps()});
    heed::kernels::depthwise_conv2d_weight_gradient(g, x.data(), dy.data(), d_weight[i].data());
  }
  CHECK(std::equal(d_weight[0].data(), d_weight[0].data() + d_weight[0].size(), d_weight[1].data()));
}
