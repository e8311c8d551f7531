// SPDX-License-Identifier: MIT
#include <cmath>

#include <heed/core/random.hpp>
#include <heed/kernels/conv2d.hpp>

#include "catch.hpp"
#include "reference/conv2d_reference.hpp"
#include "reference/poison_pool.hpp"
#include "reference/random_tensor.hpp"

using heed::Index;
using heed::Tensor;
using heed::kernels::Conv2dGeometry;

namespace {

/// in channels -> out channels, everything else by name.
struct Case {
  Index images = 1, height = 5, width = 5, in = 1, out = 1;
  Index kernel[2] = {3, 3}, stride[2] = {1, 1}, dilation[2] = {1, 1};
  Index padding[4] = {0, 0, 0, 0};  // top, left, bottom, right
  Index groups = 1;

  Conv2dGeometry geometry() const {
    Conv2dGeometry g{images, {height, width}, in, {}, out, {kernel[0], kernel[1]}, {stride[0], stride[1]}, {dilation[0], dilation[1]},
        {padding[0], padding[1]}, groups, heed::kernels::Conv2dAlgorithm::direct};
    for (int i = 0; i < 2; ++i)
      g.out_size[i] = (g.size[i] + padding[i] + padding[i + 2] - dilation[i] * (kernel[i] - 1) - 1) / stride[i] + 1;
    return g;
  }
};

const Case kCases[] = {
    {.height = 1, .width = 1, .kernel = {1, 1}},
    {.images = 2, .height = 7, .width = 9, .in = 3, .out = 5, .padding = {1, 1, 1, 1}},
    {.images = 3, .height = 5, .width = 4, .in = 3, .out = 6, .kernel = {5, 4}},                     // one output pixel
    {.images = 2, .height = 6, .width = 6, .in = 3, .out = 24, .kernel = {2, 2}},                    // whitening layer
    {.images = 5, .height = 3, .width = 3, .in = 17, .out = 33, .padding = {1, 1, 1, 1}},            // tile + 1 both ways
    {.images = 2, .height = 4, .width = 7, .in = 31, .out = 32, .padding = {1, 1, 1, 1}},            // tile - 1, tile
    {.images = 2, .height = 5, .width = 3, .in = 7, .out = 9, .kernel = {1, 1}},                     // a product in place
    {.images = 1, .height = 9, .width = 9, .in = 512, .out = 3, .kernel = {1, 1}},                   // rows that share cache sets
    {.images = 2, .height = 9, .width = 8, .in = 4, .out = 3, .stride = {2, 2}},                     // rest of the stride
    {.images = 2, .height = 11, .width = 9, .in = 2, .out = 3, .kernel = {2, 2}, .stride = {3, 4}},  // pixels nobody reads
    {.images = 2, .height = 10, .width = 13, .in = 3, .out = 4, .kernel = {3, 5}, .stride = {2, 1}, .padding = {1, 2, 1, 2}},
    {.images = 1, .height = 11, .width = 10, .in = 2, .out = 3, .dilation = {2, 2}, .padding = {2, 2, 2, 2}},
    {.images = 2,
        .height = 12,
        .width = 11,
        .in = 3,
        .out = 4,
        .kernel = {4, 3},
        .stride = {2, 3},
        .dilation = {2, 2},
        .padding = {3, 1, 0, 2}},
    {.images = 2,
        .height = 13,
        .width = 12,
        .in = 2,
        .out = 2,
        .kernel = {3, 3},
        .stride = {4, 6},
        .dilation = {3, 4},
        .padding = {2, 2, 2, 3}},
    {.images = 1, .height = 3, .width = 4, .in = 2, .out = 3, .padding = {3, 4, 3, 4}},  // windows in the padding
    {.images = 2, .height = 6, .width = 5, .in = 4, .out = 6, .padding = {0, 2, 1, 0}},  // asymmetric
    {.images = 2, .height = 6, .width = 7, .in = 6, .out = 4, .padding = {1, 1, 1, 1}, .groups = 2},
    {.images = 2,
        .height = 13,
        .width = 11,
        .in = 8,
        .out = 4,
        .kernel = {3, 2},
        .stride = {2, 3},
        .dilation = {2, 1},
        .padding = {2, 1, 2, 1},
        .groups = 2},
    {.images = 2, .height = 5, .width = 6, .in = 4, .out = 8, .kernel = {1, 1}, .groups = 4},  // groups in place
    {.images = 2, .height = 7, .width = 6, .in = 3, .out = 6, .padding = {1, 1, 1, 1}, .groups = 3},
    {.images = 2, .height = 12, .width = 8, .in = 3, .out = 10, .kernel = {4, 4}, .stride = {4, 4}},  // patch embedding
    {.images = 3, .height = 40, .width = 40, .in = 5, .out = 3, .padding = {1, 1, 1, 1}},             // rows of one image a block
    {.images = 1, .height = 33, .width = 34, .in = 70, .out = 2, .padding = {1, 1, 1, 1}},            // scratch is the limit
    {.images = 40, .height = 2, .width = 2, .in = 2, .out = 2, .padding = {1, 1, 1, 1}},              // many images a block
    {.images = 2, .height = 9, .width = 8, .in = 17, .out = 3, .stride = {2, 2}},                     // phases of a stride; more channels,
    {.images = 2, .height = 11, .width = 9, .in = 17, .out = 3, .kernel = {2, 2}, .stride = {3, 4}},  // whose gradient is a correlation
    {.images = 1,
        .height = 12,
        .width = 11,
        .in = 18,
        .out = 4,
        .kernel = {4, 3},
        .stride = {2, 3},
        .dilation = {2, 2},
        .padding = {3, 1, 0, 2}},
    // Taps that meet no pixel: all but the middle one, but two rows, before and behind, of all phases of a stride; windows in the padding.
    {.images = 3, .height = 1, .width = 1, .in = 17, .out = 18, .padding = {1, 1, 1, 1}},
    {.images = 3, .height = 1, .width = 1, .in = 2, .out = 3, .padding = {1, 1, 1, 1}},
    {.images = 2, .height = 2, .width = 1, .in = 17, .out = 33, .kernel = {5, 3}, .padding = {2, 1, 2, 1}},
    {.images = 2, .height = 2, .width = 3, .in = 20, .out = 3, .dilation = {3, 4}, .padding = {3, 4, 3, 4}},
    {.images = 2, .height = 1, .width = 2, .in = 19, .out = 5, .kernel = {3, 4}, .stride = {2, 2}, .padding = {2, 3, 0, 0}},
    {.images = 1, .height = 2, .width = 2, .in = 17, .out = 3, .kernel = {4, 4}, .stride = {3, 2}, .padding = {1, 0, 3, 5}},
    // Groups of few channels, taken together: 8, 7 and 5 of them (the last block overlaps), narrow to wide and back, in place and with phases.
    {.images = 2, .height = 6, .width = 5, .in = 16, .out = 16, .padding = {1, 1, 1, 1}, .groups = 8},
    {.images = 2, .height = 6, .width = 5, .in = 14, .out = 28, .padding = {1, 1, 1, 1}, .groups = 7},
    {.images = 2, .height = 7, .width = 5, .in = 25, .out = 15, .stride = {2, 2}, .padding = {1, 1, 1, 1}, .groups = 5},
    {.images = 2, .height = 7, .width = 5, .in = 5, .out = 85, .groups = 5},
    {.images = 2, .height = 5, .width = 6, .in = 85, .out = 5, .kernel = {2, 3}, .groups = 5},
    {.images = 2, .height = 5, .width = 6, .in = 33, .out = 22, .kernel = {1, 1}, .groups = 11},
    {.images = 1, .height = 1, .width = 1, .in = 22, .out = 33, .padding = {1, 1, 1, 1}, .groups = 11},
    {.images = 1,
        .height = 10,
        .width = 9,
        .in = 38,
        .out = 38,
        .stride = {2, 1},
        .dilation = {1, 2},
        .padding = {1, 2, 1, 2},
        .groups = 19},
    // Groups whose padded pixels are as long as those of x: 16 + 16 channels that share cache sets, in double and in float.
    {.images = 1, .height = 80, .width = 80, .in = 32, .out = 2, .kernel = {16, 16}, .stride = {16, 16}, .groups = 2},
    {.images = 1, .height = 4, .width = 160, .in = 32, .out = 2, .kernel = {4, 32}, .stride = {4, 32}, .groups = 2},
};

template <class T>
Tensor<T, 1> noise(Index count, std::uint64_t stream) {
  return reference::random_tensor<T, 1>({count}, stream);
}

/// The largest difference in units of the rounding error of a sum of `terms` numbers in [-1, 1].
template <class T>
double largest_error(const Tensor<T, 1>& a, const Tensor<T, 1>& b, double terms) {
  return reference::largest_difference(a, b) / (std::numeric_limits<T>::epsilon() * std::max(1.0, terms));
}

}  // namespace

TEMPLATE_TEST_CASE("convolution kernels agree with the sum as it is written", "", float, double) {
  int number = 0;
  for (const Case& example : kCases) {
    reference::poison_pool(1 << 18);
    const Conv2dGeometry g = example.geometry();
    INFO("case " << number++ << ": " << g.size[0] << 'x' << g.size[1] << ", " << g.in_channels << " -> " << g.out_channels << ", kernel "
                 << g.kernel[0] << 'x' << g.kernel[1]);
    const Index in = g.images * g.size[0] * g.size[1] * g.in_channels, out = g.images * g.out_size[0] * g.out_size[1] * g.out_channels;
    const auto x = noise<TestType>(in, 1), dy = noise<TestType>(out, 2), bias = noise<TestType>(g.out_channels, 3);
    const auto weight = noise<TestType>(g.out_channels * g.group_in() * g.taps(), 4);
    const double depth = static_cast<double>(g.taps() * g.group_in());

    Tensor<TestType, 1> y({out}), y_expected({out});
    y.fill(TestType(99));
    heed::kernels::conv2d_forward(g, x.data(), weight.data(), bias.data(), y.data());
    reference::conv2d_forward(g, x.data(), weight.data(), bias.data(), y_expected.data());
    CHECK(largest_error(y, y_expected, depth) < 2);

    Tensor<TestType, 1> dx({in}), dx_expected({in});
    dx.fill(TestType(99));
    heed::kernels::conv2d_input_gradient(g, dy.data(), weight.data(), dx.data());
    reference::conv2d_input_gradient(g, dy.data(), weight.data(), dx_expected.data());
    CHECK(largest_error(dx, dx_expected, static_cast<double>(g.taps() * g.group_out())) < 2);

    auto d_weight = noise<TestType>(weight.size(), 5), d_weight_expected = d_weight;  // gradients add
    heed::kernels::conv2d_weight_gradient(g, x.data(), dy.data(), d_weight.data());
    reference::conv2d_weight_gradient(g, x.data(), dy.data(), d_weight_expected.data());
    CHECK(largest_error(d_weight, d_weight_expected, static_cast<double>(g.images * g.out_size[0] * g.out_size[1])) < 2);
  }
}

TEST_CASE("convolution without a bias starts its sums at zero") {
  const Conv2dGeometry g = Case{.images = 2, .in = 3, .out = 5}.geometry();
  const auto x = noise<float>(150, 1), weight = noise<float>(135, 2);
  Tensor<float, 1> y({90}), expected({90});
  heed::kernels::conv2d_forward<float>(g, x.data(), weight.data(), nullptr, y.data());
  reference::conv2d_forward<float>(g, x.data(), weight.data(), nullptr, expected.data());
  CHECK(largest_error(y, expected, 27) < 2);
}

TEST_CASE("convolution gives the same bits for any number of threads") {
  for (const Case& example : {Case{.images = 9, .height = 15, .width = 15, .in = 24, .out = 40, .padding = {1, 1, 1, 1}},
           Case{.images = 1, .height = 8, .width = 8, .in = 70, .out = 70, .padding = {1, 1, 1, 1}},
           Case{.images = 30, .height = 9, .width = 9, .in = 8, .out = 12, .stride = {2, 2}, .padding = {1, 1, 1, 1}, .groups = 2},
           Case{.images = 9, .height = 33, .width = 31, .in = 3, .out = 33, .padding = {1, 1, 1, 1}},
           Case{.images = 9, .height = 9, .width = 9, .in = 22, .out = 22, .padding = {1, 1, 1, 1}, .groups = 11}}) {
    const Conv2dGeometry g = example.geometry();
    const Index in = g.images * g.size[0] * g.size[1] * g.in_channels, out = g.images * g.out_size[0] * g.out_size[1] * g.out_channels;
    const auto x = noise<float>(in, 1), dy = noise<float>(out, 2), weight = noise<float>(g.out_channels * g.group_in() * g.taps(), 4);
    Tensor<float, 1> y[3], dx[3], d_weight[3];
    const int threads[] = {1, 2, 5};
    for (int i = 0; i < 3; ++i) {
      heed::ThreadScope scope(threads[i]);
      y[i].resize({out}), dx[i].resize({in}), d_weight[i] = Tensor<float, 1>({weight.size()});
      heed::kernels::conv2d_forward<float>(g, x.data(), weight.data(), nullptr, y[i].data());
      heed::kernels::conv2d_input_gradient(g, dy.data(), weight.data(), dx[i].data());
      heed::kernels::conv2d_weight_gradient(g, x.data(), dy.data(), d_weight[i].data());
      CHECK(std::equal(y[0].data(), y[0].data() + out, y[i].data()));
      CHECK(std::equal(dx[0].data(), dx[0].data() + in, dx[i].data()));
      CHECK(std::equal(d_weight[0].data(), d_weight[0].data() + weight.size(), d_weight[i].data()));
    }
  }
}

TEST_CASE("convolution of one image gives the same bits as in a batch") {
  const Conv2dGeometry batch = Case{.images = 7, .height = 9, .width = 7, .in = 24, .out = 40, .padding = {1, 1, 1, 1}}.geometry();
  Conv2dGeometry single = batch;
  single.images = 1;
  const Index image_in = 9 * 7 * 24, image_out = 9 * 7 * 40;
  const auto x = noise<float>(7 * image_in, 1), weight = noise<float>(40 * 24 * 9, 2), bias = noise<float>(40, 3);
  Tensor<float, 1> together({7 * image_out}), alone({image_out});
  heed::kernels::conv2d_forward(batch, x.data(), weight.data(), bias.data(), together.data());
  for (Index n = 0; n < 7; ++n) {
    heed::kernels::conv2d_forward(single, x.data() + n * image_in, weight.data(), bias.data(), alone.data());
    CHECK(std::equal(alone.data(), alone.data() + image_out, together.data() + n * image_out));
  }
}

TEST_CASE("a convolution whose kernel is prepared gives the same bits, whatever shape the weight is read in") {
  // One weight of 12 x 24 numbers as kernels of several shapes and groups.
  const Case cases[] = {{.images = 2, .height = 9, .width = 9, .in = 4, .out = 12, .kernel = {2, 3}},
      {.images = 2, .height = 9, .width = 9, .in = 4, .out = 12, .kernel = {3, 2}},
      {.images = 2, .height = 9, .width = 9, .in = 8, .out = 12, .kernel = {2, 3}, .groups = 2},
      {.images = 2, .height = 9, .width = 9, .in = 12, .out = 12, .kernel = {2, 3}, .groups = 3},
      {.images = 2, .height = 9, .width = 9, .in = 24, .out = 12, .kernel = {1, 1}},
      {.images = 2, .height = 9, .width = 9, .in = 2, .out = 24, .kernel = {2, 3}},
      // Some of the taps only.
      {.images = 2, .height = 1, .width = 3, .in = 4, .out = 12, .kernel = {2, 3}, .padding = {1, 0, 0, 0}},
      {.images = 2, .height = 1, .width = 3, .in = 4, .out = 12, .kernel = {2, 3}, .padding = {0, 0, 1, 0}}};
  auto weight = noise<float>(12 * 24, 2);
  const auto x = noise<float>(2 * 9 * 9 * 24, 1), bias = noise<float>(24, 3);
  heed::PreparedWeights store;
  for (int round = 0; round < 3; ++round) {
    for (const Case& example : cases) {
      const Conv2dGeometry g = example.geometry();
      Tensor<float, 1> y({g.images * g.out_size[0] * g.out_size[1] * g.out_channels}), expected(y);
      heed::kernels::conv2d_forward(g, x.data(), weight.data(), bias.data(), expected.data());
      heed::PreparedScope scope(store);
      heed::kernels::conv2d_forward(g, x.data(), weight.data(), bias.data(), y.data());
      CHECK(std::equal(y.data(), y.data() + y.size(), expected.data()));
    }
    CHECK(store.size() == 8);
    weight[weight.size() - 1] += 1;
  }
  CHECK(store.made() == 24);
}

TEST_CASE("a kernel of one pixel that moves by one is a linear layer on pixels; beside padding, strides and groups it is not") {
  const auto geometry = [](Index kernel, Index stride, Index padding, Index groups) {
    const Index out = (6 + 2 * padding - kernel) / stride + 1;
    return Conv2dGeometry{.images = 2,
        .size = {6, 6},
        .in_channels = 4,
        .out_size = {out, out},
        .out_channels = 8,
        .kernel = {kernel, kernel},
        .stride = {stride, stride},
        .dilation = {1, 1},
        .padding = {padding, padding},
        .groups = groups};
  };
  CHECK(geometry(1, 1, 0, 1).is_linear());
  CHECK_FALSE(geometry(1, 2, 0, 1).is_linear());
  CHECK_FALSE(geometry(1, 1, 1, 1).is_linear());
  CHECK_FALSE(geometry(1, 1, 0, 2).is_linear());
  CHECK_FALSE(geometry(3, 1, 1, 1).is_linear());
  for (const int axis : {0, 1}) {  // moved by a pixel, as many outputs as inputs
    Conv2dGeometry moved = geometry(1, 1, 0, 1);
    moved.padding[axis] = 1;
    CHECK_FALSE(moved.is_linear());
  }
}
