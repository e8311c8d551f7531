// SPDX-License-Identifier: MIT
#include <cmath>

#include <heed/core/random.hpp>
#include <heed/kernels/conv2d.hpp>
#include <heed/kernels/winograd.hpp>

#include "catch.hpp"
#include "reference/conv2d_reference.hpp"
#include "reference/poison_pool.hpp"

namespace {

using namespace heed;
using namespace heed::kernels;

Conv2dGeometry geometry(Index images, Index height, Index width, Index in, Index out, Index top, Index left, Index bottom, Index right,
    Conv2dAlgorithm algorithm = Conv2dAlgorithm::automatic) {
  return {images, {height, width}, in, {height + top + bottom - 2, width + left + right - 2}, out, {3, 3}, {1, 1}, {1, 1}, {top, left}, 1,
      algorithm};
}

template <class T>
Tensor<T, 1> noise(Index count, std::uint64_t stream) {
  Tensor<T, 1> result({count});
  const CounterRandom random({stream});
  for (Index i = 0; i < count; ++i) result[i] = static_cast<T>(random.uniform(static_cast<std::uint64_t>(i), -1, 1));
  return result;
}

/// The three passes of a convolution.
template <class T>
struct Passes {
  Tensor<T, 1> y, dx, d_weight;

  explicit Passes(const Conv2dGeometry& g)
      : y({g.images * g.out_size[0] * g.out_size[1] * g.out_channels}),
        dx({g.images * g.size[0] * g.size[1] * g.in_channels}),
        d_weight({g.out_channels * g.in_channels * 9}) {
    y.fill(T(99)), dx.fill(T(99));
  }
};

template <class T>
struct Inputs {
  Tensor<T, 1> x, dy, weight, bias;

  explicit Inputs(const Conv2dGeometry& g)
      : x(noise<T>(g.images * g.size[0] * g.size[1] * g.in_channels, 1)),
        dy(noise<T>(g.images * g.out_size[0] * g.out_size[1] * g.out_channels, 2)),
        weight(noise<T>(g.out_channels * g.in_channels * 9, 3)),
        bias(noise<T>(g.out_channels, 4)) {}

  Passes<T> run(const Conv2dGeometry& g) const {
    Passes<T> result(g);
    result.d_weight = noise<T>(weight.size(), 5);  // gradients add
    conv2d_forward(g, x.data(), weight.data(), bias.data(), result.y.data());
    conv2d_input_gradient(g, dy.data(), weight.data(), result.dx.data());
    conv2d_weight_gradient(g, x.data(), dy.data(), result.d_weight.data());
    return result;
  }
  /// In double, from the same numbers.
  Passes<double> reference(const Conv2dGeometry& g) const {
    const auto to_double = [](const Tensor<T, 1>& from) {
      Tensor<double, 1> result({from.size()});
      for (Index i = 0; i < from.size(); ++i) result[i] = static_cast<double>(from[i]);
      return result;
    };
    const auto x_ = to_double(x), dy_ = to_double(dy), weight_ = to_double(weight), bias_ = to_double(bias);
    Passes<double> result(g);
    result.d_weight = to_double(noise<T>(weight.size(), 5));
    reference::conv2d_forward(g, x_.data(), weight_.data(), bias_.data(), result.y.data());
    reference::conv2d_input_gradient(g, dy_.data(), weight_.data(), result.dx.data());
    reference::conv2d_weight_gradient(g, x_.data(), dy_.data(), result.d_weight.data());
    return result;
  }
};

/// The largest difference in units of epsilon (√terms + terms / 8): the sum of `terms` numbers in [-1, 1] is about √terms large, and the roundings on
/// its way add up to about a fifth of epsilon terms.
template <class T>
double largest_error(const Tensor<T, 1>& a, const Tensor<double, 1>& expected, Index terms) {
  double largest = 0;
  for (Index i = 0; i < a.size(); ++i) {
    const double difference = std::abs(static_cast<double>(a[i]) - expected[i]);
    largest = std::isnan(difference) ? HUGE_VAL : std::max(largest, difference);
  }
  const double count = static_cast<double>(terms);
  return largest / (static_cast<double>(std::numeric_limits<T>::epsilon()) * (std::sqrt(count) + count / 8));
}

bool same(const Tensor<float, 1>& a, const Tensor<float, 1>& b) { return std::equal(a.data(), a.data() + a.size(), b.data()); }

constexpr Conv2dAlgorithm kWinograd[] = {Conv2dAlgorithm::winograd_2x2, Conv2dAlgorithm::winograd_4x4};

}  // namespace

TEMPLATE_TEST_CASE("Winograd convolutions agree with the sum as it is written", "", float, double) {
  const Conv2dGeometry cases[] = {
      geometry(1, 1, 1, 1, 1, 1, 1, 1, 1),     // a tile of which one target is used
      geometry(1, 3, 3, 1, 1, 0, 0, 0, 0),     // one target, no border
      geometry(2, 4, 4, 3, 5, 1, 1, 1, 1),     // whole tiles, few channels
      geometry(3, 9, 6, 4, 70, 1, 1, 1, 1),    // the same, whole panels
      geometry(3, 5, 9, 17, 33, 1, 1, 1, 1),   // tile + 1, panel + 1
      geometry(2, 7, 6, 31, 32, 1, 1, 1, 1),   // panel - 1, panel
      geometry(2, 8, 8, 24, 70, 0, 0, 0, 0),   // no border: rests of tiles
      geometry(2, 6, 5, 16, 12, 0, 2, 1, 0),   // a border of its own on each side
      geometry(1, 3, 4, 2, 3, 3, 4, 3, 4),     // windows in the border
      geometry(5, 9, 7, 130, 97, 1, 1, 1, 1),  // several blocks of channels
      geometry(40, 12, 11, 8, 9, 1, 1, 1, 1),  // many blocks of tiles, several shards
  };
  for (const Conv2dAlgorithm algorithm : kWinograd) {
    // Uniform numbers in [-1, 1): seen are up to 3.2 and 5.4 units. In the mean of squares, at 64 channels, F(4x4) errs twice as much as the direct sum.
    const double allowed = algorithm == Conv2dAlgorithm::winograd_2x2 ? 5 : 9;
    for (Conv2dGeometry g : cases) {
      reference::poison_pool(1 << 18);
      g.algorithm = algorithm;
      INFO("F(" << (algorithm == Conv2dAlgorithm::winograd_2x2 ? 2 : 4) << "), " << g.images << 'x' << g.size[0] << 'x' << g.size[1] << ", "
                << g.in_channels << " -> " << g.out_channels);
      const Inputs<TestType> inputs(g);
      const Passes<TestType> result = inputs.run(g);
      const Passes<double> expected = inputs.reference(g);
      CHECK(largest_error(result.y, expected.y, 9 * g.in_channels) < allowed);
      CHECK(largest_error(result.dx, expected.dx, 9 * g.out_channels) < allowed);
      CHECK(largest_error(result.d_weight, expected.d_weight, g.images * g.out_size[0] * g.out_size[1]) < allowed);
    }
  }
}

TEST_CASE("every size of image: tiles that are not whole") {
  for (const Conv2dAlgorithm algorithm : kWinograd)
    for (Index height = 1; height < 10; ++height)
      for (Index width = 1; width < 10; ++width) {
        reference::poison_pool(1 << 18);
        const Conv2dGeometry g = geometry(3, height, width, 3, 2, 1, 1, 1, 1, algorithm);
        INFO("F(" << (algorithm == Conv2dAlgorithm::winograd_2x2 ? 2 : 4) << "), " << height << 'x' << width);
        const Inputs<double> inputs(g);
        const Passes<double> result = inputs.run(g), expected = inputs.reference(g);
        CHECK(largest_error(result.y, expected.y, 9 * g.in_channels) < 9);
        CHECK(largest_error(result.dx, expected.dx, 9 * g.out_channels) < 9);
        CHECK(largest_error(result.d_weight, expected.d_weight, g.images * height * width) < 9);
      }
}

TEST_CASE(
    "outputs without the last row and column have the bits of the whole, and so have weights' gradients where none comes from there") {
  for (const Index size : {3, 7, 11, 15, 8, 9}) {
    const Conv2dGeometry g = geometry(5, size, size, 24, 40, 1, 1, 1, 1, Conv2dAlgorithm::winograd_4x4), part = conv2d_reached<float>(g);
    INFO(size);
    CHECK(part.out_size[0] == (size % 4 == 3 ? size - 1 : size));
    Inputs<float> inputs(g), of_part(part);
    for (Index n = 0; n < g.images; ++n)
      for (Index y = 0; y < size; ++y)
        for (Index x = 0; x < size; ++x) {
          float* const dy = inputs.dy.data() + ((n * size + y) * size + x) * g.out_channels;
          if (y >= part.out_size[0] || x >= part.out_size[1])
            std::fill_n(dy, g.out_channels, 0.0f);
          else
            std::copy_n(dy, g.out_channels, of_part.dy.data() + ((n * part.out_size[0] + y) * part.out_size[1] + x) * g.out_channels);
        }
    const Passes<float> whole = inputs.run(g), result = of_part.run(part);
    CHECK(same(result.dx, whole.dx));
    CHECK(same(result.d_weight, whole.d_weight));
    bool right = true;
    for (Index n = 0; n < g.images; ++n)
      for (Index y = 0; y < part.out_size[0]; ++y) {
        const float* const row = result.y.data() + (n * part.out_size[0] + y) * part.out_size[1] * g.out_channels;
        right = right && std::equal(row, row + part.out_size[1] * g.out_channels, whole.y.data() + (n * size + y) * size * g.out_channels);
      }
    CHECK(right);
  }
}

TEST_CASE("Winograd convolutions give the same bits for any number of threads, and alone or in a batch") {
  for (const Conv2dAlgorithm algorithm : kWinograd)
    for (const Conv2dGeometry& g : {geometry(9, 15, 14, 24, 40, 1, 1, 1, 1, algorithm), geometry(2, 5, 5, 70, 100, 1, 1, 1, 1, algorithm),
             geometry(9, 15, 14, 3, 40, 1, 1, 1, 1, algorithm), geometry(70, 9, 10, 40, 4, 1, 1, 1, 1, algorithm),
             geometry(50, 15, 14, 56, 24, 1, 1, 1, 1, algorithm),
             geometry(1, 5, 260, 420, 24, 1, 1, 1, 1, algorithm)}) {  // more than L2 holds
      const Inputs<float> inputs(g);
      const Passes<float> expected = inputs.run(g);
      for (const int threads : {1, 2, 5}) {
        ThreadScope scope(threads);
        const Passes<float> result = inputs.run(g);
        CHECK(same(result.y, expected.y));
        CHECK(same(result.dx, expected.dx));
        CHECK(same(result.d_weight, expected.d_weight));
      }
      Conv2dGeometry single = g;
      single.images = 1;
      Passes<float> alone(single);
      const Index image_in = inputs.x.size() / g.images, image_out = inputs.dy.size() / g.images;
      for (Index n = 0; n < g.images; ++n) {
        conv2d_forward(single, inputs.x.data() + n * image_in, inputs.weight.data(), inputs.bias.data(), alone.y.data());
        CHECK(std::equal(alone.y.data(), alone.y.data() + image_out, expected.y.data() + n * image_out));
        conv2d_input_gradient(single, inputs.dy.data() + n * image_out, inputs.weight.data(), alone.dx.data());
        CHECK(std::equal(alone.dx.data(), alone.dx.data() + image_in, expected.dx.data() + n * image_in));
      }
    }
}

TEST_CASE("the automatic algorithm follows the image and the channels, and only in float") {
  const auto chosen = [](const Conv2dGeometry& g) {
    return fastest_algorithm<float>(
        {g.images, g.groups, {forward_axis(g, 0), forward_axis(g, 1)}, g.group_in(), g.group_out(), {g.out_size[0], g.out_size[1]}});
  };
  for (const Index images : {1, 2, 100}) {
    CHECK(chosen(geometry(images, 32, 32, 64, 64, 1, 1, 1, 1)) == Conv2dAlgorithm::winograd_4x4);
    CHECK(chosen(geometry(images, 2, 2, 256, 256, 1, 1, 1, 1)) == Conv2dAlgorithm::winograd_2x2);  // as many products, less to transform
    CHECK(chosen(geometry(images, 1, 1, 256, 256, 1, 1, 1, 1)) == Conv2dAlgorithm::direct);        // one target
    CHECK(chosen(geometry(images, 32, 32, 1, 8, 1, 1, 1, 1)) == Conv2dAlgorithm::direct);          // few channels
    CHECK(chosen(geometry(images, 32, 32, 3, 64, 1, 1, 1, 1)) == Conv2dAlgorithm::winograd_4x4);   // few, but many targets
    CHECK(chosen(geometry(images, 32, 32, 64, 3, 1, 1, 1, 1)) == Conv2dAlgorithm::winograd_4x4);   // a vector of targets either way
  }
  Conv2dGeometry strided = geometry(2, 9, 9, 64, 64, 1, 1, 1, 1);
  strided.stride[0] = 2, strided.out_size[0] = 5;
  CHECK(chosen(strided) == Conv2dAlgorithm::direct);
  const Conv2dGeometry g = geometry(2, 8, 8, 64, 64, 1, 1, 1, 1);
  const Correlation c{g.images, 1, {forward_axis(g, 0), forward_axis(g, 1)}, 64, 64, {8, 8}};
  CHECK(fastest_algorithm<double>(c) == Conv2dAlgorithm::direct);
}

TEST_CASE("Winograd convolutions with prepared kernels give the same bits, forward and back with one weight") {
  const Index channels = GENERATE(3, 24);
  PreparedWeights store;
  Conv2dGeometry g = geometry(2, 9, 7, channels, 24, 1, 1, 1, 1);
  Inputs<float> inputs(g);
  for (int round = 0; round < 3; ++round) {
    for (const Conv2dAlgorithm algorithm : kWinograd) {
      g.algorithm = algorithm;
      const Passes<float> expected = inputs.run(g);
      PreparedScope scope(store);
      const Passes<float> result = inputs.run(g);
      CHECK(same(result.y, expected.y));
      CHECK(same(result.dx, expected.dx));
    }
    CHECK(store.size() == 4);
    inputs.weight[24 * channels * 9 - 1] = static_cast<float>(round);
  }
  CHECK(store.made() == 12);
}
