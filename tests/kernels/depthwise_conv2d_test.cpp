// SPDX-License-Identifier: MIT
#include <cmath>
#include <limits>

#include <heed/core/dual.hpp>
#include <heed/core/random.hpp>
#include <heed/kernels/depthwise_conv2d.hpp>

#include "catch.hpp"
#include "reference/conv2d_reference.hpp"
#include "reference/random_tensor.hpp"

using heed::Index;
using heed::Tensor;
using heed::kernels::Conv2dGeometry;

namespace {

/// Pairs are {vertical, horizontal}; `behind` is the padding after the last row and column.
struct Case {
  Index images, height, width, channels;
  Index kernel[2], stride[2], dilation[2], padding[2], behind[2];

  operator Conv2dGeometry() const {
    Conv2dGeometry g{images, {height, width}, channels, {}, channels, {kernel[0], kernel[1]}, {stride[0], stride[1]},
        {dilation[0], dilation[1]}, {padding[0], padding[1]}, channels};
    for (int i = 0; i < 2; ++i) g.out_size[i] = (g.size[i] + padding[i] + behind[i] - dilation[i] * (kernel[i] - 1) - 1) / stride[i] + 1;
    return g;
  }
};

/// A square kernel, padded to keep the size where it is odd.
Case square(Index images, Index height, Index width, Index channels, Index kernel, Index stride = 1, Index dilation = 1) {
  const Index p = kernel % 2 == 1 ? dilation * (kernel / 2) : 0;
  return {images, height, width, channels, {kernel, kernel}, {stride, stride}, {dilation, dilation}, {p, p}, {p, p}};
}

template <class T>
Tensor<T, 1> noise(Index count, std::uint64_t stream) {
  return reference::random_tensor<T, 1>({count}, stream);
}

template <class T>
double largest_error(const Tensor<T, 1>& a, const Tensor<T, 1>& b, double terms) {
  return reference::largest_difference(a, b) / (std::numeric_limits<T>::epsilon() * terms);
}

bool same_bits(const float* a, const float* b, Index count) { return std::equal(a, a + count, b); }

Index in_size(const Conv2dGeometry& g) { return g.images * g.size[0] * g.size[1] * g.in_channels; }
Index out_size(const Conv2dGeometry& g) { return g.images * g.out_size[0] * g.out_size[1] * g.out_channels; }

template <class T>
Tensor<T, 1> forward(const Conv2dGeometry& g, const T* x, const T* weight, const T* bias) {
  auto y = Tensor<T, 1>::uninitialized({out_size(g)});
  heed::kernels::depthwise_conv2d_forward(g, x, weight, bias, y.data());
  return y;
}

const Case kCases[] = {
    // One pixel, one row, one column; maps narrower and lower than the kernel, and outputs that see nothing but padding.
    square(1, 1, 1, 16, 3), square(1, 1, 9, 5, 3), square(2, 9, 1, 17, 3), square(1, 2, 3, 4, 7), square(1, 3, 2, 33, 5, 2),
    {1, 2, 2, 3, {2, 2}, {1, 1}, {1, 1}, {3, 3}, {3, 3}}, {1, 2, 2, 3, {3, 3}, {1, 1}, {1, 1}, {2, 2}, {2, 2}},
    // Interiors of 1, 3, 4, 5, 8, 9, 12, 13 and 30 pixels beside tiles of 8, 4 and 1; rows that do and do not come in fours.
    square(1, 3, 3, 16, 3), square(1, 4, 5, 32, 3), square(2, 5, 6, 16, 3), square(1, 6, 7, 48, 3), square(3, 7, 10, 16, 3),
    square(1, 8, 11, 24, 3), square(1, 9, 14, 64, 3), square(1, 10, 15, 16, 3), square(2, 34, 32, 16, 3),
    // Few and odd channels, alone or widened to several pixels.
    square(2, 7, 32, 3, 3), square(1, 5, 40, 1, 3), square(1, 6, 19, 2, 3), square(2, 9, 33, 5, 3), square(1, 4, 21, 24, 3),
    square(1, 5, 18, 100, 3), square(1, 3, 5, 130, 3),
    // Kernels of 1, 4, 25 and 49 taps, and flat ones; many sums in registers and some left over.
    square(2, 7, 7, 20, 1), square(2, 9, 9, 16, 2), square(1, 12, 13, 20, 5), square(1, 16, 15, 24, 7),
    {1, 6, 14, 9, {1, 5}, {1, 1}, {1, 1}, {0, 2}, {0, 2}}, {1, 14, 6, 9, {5, 1}, {1, 1}, {1, 1}, {2, 0}, {2, 0}},
    {1, 9, 12, 40, {2, 5}, {1, 1}, {1, 1}, {1, 2}, {0, 2}},
    // Strides that do and do not fit, that leave pixels unread, and that share a factor with the dilation.
    square(2, 12, 12, 16, 3, 2), square(1, 13, 11, 17, 3, 2), square(1, 16, 24, 3, 3, 2), square(1, 11, 11, 8, 1, 2),
    square(1, 13, 17, 6, 2, 3), square(1, 14, 14, 32, 5, 2, 2), square(1, 15, 16, 7, 3, 2, 3),
    {2, 9, 20, 12, {3, 2}, {1, 2}, {1, 1}, {1, 0}, {1, 0}}, {2, 20, 9, 12, {2, 3}, {2, 1}, {1, 1}, {0, 1}, {0, 1}},
    // Dilation, and padding of other sizes before than behind.
    square(1, 12, 12, 16, 3, 1, 2), square(1, 9, 30, 5, 3, 1, 3), {1, 12, 11, 17, {3, 4}, {3, 4}, {2, 1}, {2, 2}, {2, 2}},
    {1, 7, 22, 6, {3, 3}, {1, 1}, {1, 1}, {0, 2}, {2, 0}}, {1, 8, 9, 16, {4, 4}, {1, 1}, {1, 1}, {1, 1}, {2, 2}},
    {3, 5, 8, 33, {2, 3}, {3, 4}, {2, 1}, {1, 1}, {1, 1}},
    // Three taps that see neighbours though strides or dilation are not 1, in phases of the gradient, too.
    square(1, 12, 40, 16, 3, 2, 2), square(1, 8, 30, 8, 3, 1, 2), square(1, 24, 40, 16, 5, 2), square(1, 24, 40, 16, 6, 2),
    // Several shards and chunks of rows.
    {20, 15, 15, 24, {3, 4}, {1, 2}, {1, 1}, {1, 1}, {1, 1}}, square(9, 33, 20, 24, 3)};

}  // namespace

TEMPLATE_TEST_CASE("depthwise kernels agree with the sum as it is written", "", float, double) {
  for (const Conv2dGeometry g : kCases) {
    INFO(g.size[0] << 'x' << g.size[1] << 'x' << g.in_channels << " kernel " << g.kernel[0] << 'x' << g.kernel[1] << " stride "
                   << g.stride[0] << 'x' << g.stride[1] << " padding " << g.padding[0] << 'x' << g.padding[1]);
    const Index in = in_size(g), out = out_size(g);
    const auto x = noise<TestType>(in, 1), dy = noise<TestType>(out, 2), bias = noise<TestType>(g.out_channels, 3);
    const auto weight = noise<TestType>(g.out_channels * g.taps(), 4);
    const double terms = static_cast<double>(g.taps());
    Tensor<TestType, 1> y({out}), y_expected({out}), dx({in}), dx_expected({in});
    for (const TestType* b : {static_cast<const TestType*>(nullptr), bias.data()}) {
      y.fill(std::numeric_limits<TestType>::quiet_NaN());
      heed::kernels::depthwise_conv2d_forward(g, x.data(), weight.data(), b, y.data());
      reference::conv2d_forward(g, x.data(), weight.data(), b, y_expected.data());
      CHECK(largest_error(y, y_expected, terms + 1) < 2);
    }
    dx.fill(std::numeric_limits<TestType>::quiet_NaN());
    heed::kernels::depthwise_conv2d_input_gradient(g, dy.data(), weight.data(), dx.data());
    reference::conv2d_input_gradient(g, dy.data(), weight.data(), dx_expected.data());
    CHECK(largest_error(dx, dx_expected, terms) < 2);
    auto d_weight = noise<TestType>(weight.size(), 5), d_weight_expected = d_weight;  // gradients add
    heed::kernels::depthwise_conv2d_weight_gradient(g, x.data(), dy.data(), d_weight.data());
    reference::conv2d_weight_gradient(g, x.data(), dy.data(), d_weight_expected.data());
    CHECK(largest_error(d_weight, d_weight_expected, static_cast<double>(g.images * g.out_size[0] * g.out_size[1] + 1)) < 2);
  }
}

TEST_CASE("depthwise kernels run on dual numbers") {
  using D = heed::Dual<1>;
  for (const Conv2dGeometry g : {square(1, 6, 9, 3, 3), square(1, 5, 7, 17, 3, 2)}) {
    const auto x = noise<double>(in_size(g), 1), v = noise<double>(in_size(g), 2), weight = noise<double>(g.in_channels * g.taps(), 3);
    Tensor<D, 1> dual_x({x.size()}), dual_weight({weight.size()});
    for (Index i = 0; i < x.size(); ++i) dual_x[i].value = x[i], dual_x[i].tangent[0] = v[i];
    for (Index i = 0; i < weight.size(); ++i) dual_weight[i] = D(weight[i]);
    const auto y = forward<D>(g, dual_x.data(), dual_weight.data(), nullptr);
    Tensor<double, 1> slope({y.size()}), expected({y.size()});
    for (Index i = 0; i < y.size(); ++i) slope[i] = y[i].tangent[0];
    reference::conv2d_forward<double>(g, v.data(), weight.data(), nullptr, expected.data());
    CHECK(largest_error(slope, expected, 10) < 2);
  }
}

TEST_CASE("depthwise kernels have the same bits for any number of threads, and for an image alone") {
  // 16 images with 33x40x16 lie beyond L2: what comes is asked for, but not for an image alone.
  // 3, 4, 12 channels end in narrow packets.
  for (const Conv2dGeometry g : {square(20, 15, 15, 24, 3), square(16, 33, 40, 16, 3), square(9, 30, 31, 24, 3, 2),
           square(20, 15, 15, 3, 3), square(20, 15, 15, 4, 3), square(20, 15, 15, 12, 3)}) {
    const auto x = noise<float>(in_size(g), 1), dy = noise<float>(out_size(g), 2), bias = noise<float>(g.in_channels, 3);
    const auto weight = noise<float>(g.in_channels * g.taps(), 4);
    Tensor<float, 1> y[2], dx[2], d_weight[2];
    for (int i = 0; i < 2; ++i) {
      const heed::ThreadScope scope(1 + 3 * i);
      y[i] = forward(g, x.data(), weight.data(), bias.data());
      dx[i] = Tensor<float, 1>({x.size()}), d_weight[i] = Tensor<float, 1>({weight.size()});
      heed::kernels::depthwise_conv2d_input_gradient(g, dy.data(), weight.data(), dx[i].data());
      heed::kernels::depthwise_conv2d_weight_gradient(g, x.data(), dy.data(), d_weight[i].data());
    }
    CHECK(same_bits(y[0].data(), y[1].data(), y[0].size()));
    CHECK(same_bits(dx[0].data(), dx[1].data(), dx[0].size()));
    CHECK(same_bits(d_weight[0].data(), d_weight[1].data(), weight.size()));
    Conv2dGeometry one = g;
    one.images = 1;
    const Index in = in_size(one), out = out_size(one);
    Tensor<float, 1> alone({in});
    for (Index n = 0; n < g.images; ++n) {
      CHECK(same_bits(forward(one, x.data() + n * in, weight.data(), bias.data()).data(), y[0].data() + n * out, out));
      heed::kernels::depthwise_conv2d_input_gradient(one, dy.data() + n * out, weight.data(), alone.data());
      CHECK(same_bits(alone.data(), dx[0].data() + n * in, in));
    }
  }
}

TEST_CASE("depthwise outputs do not depend on where in a row they are computed") {
  for (const Index channels : {3, 16, 24, 40}) {
    const Conv2dGeometry g = square(1, 6, 45, channels, 3);
    const auto x = noise<float>(in_size(g), 1), weight = noise<float>(channels * 9, 2), bias = noise<float>(channels, 3);
    const auto y = forward(g, x.data(), weight.data(), bias.data());
    for (const Index cut : {1, 2, 5, 13, 40}) {  // without its first columns; the next one sees the cut
      const Index width = 45 - cut;
      const Conv2dGeometry part = square(1, 6, width, channels, 3);
      Tensor<float, 1> x_part({in_size(part)});
      for (Index row = 0; row < 6; ++row)
        std::copy_n(x.data() + (row * 45 + cut) * channels, width * channels, x_part.data() + row * width * channels);
      const auto y_part = forward(part, x_part.data(), weight.data(), bias.data());
      for (Index row = 0; row < 6; ++row)
        CHECK(same_bits(y_part.data() + (row * width + 1) * channels, y.data() + (row * 45 + cut + 1) * channels, (width - 1) * channels));
    }
  }
}
