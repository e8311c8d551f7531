// SPDX-License-Identifier: MIT
#include "cifar10/whitening.hpp"

#include <cmath>

#include <heed/compose/sequential.hpp>
#include <heed/core/random.hpp>
#include <heed/data/generated.hpp>
#include <heed/layers/conv2d.hpp>

#include "catch.hpp"

using namespace heed;

namespace {

/// Images whose pixels depend on their left neighbours and whose channels depend on one another.
Tensor<double, 4> correlated_images(Index count, double size) {
  Tensor<double, 4> images({count, 9, 11, 3});
  const CounterRandom random{7};
  std::uint64_t drawn = 0;
  for (Index n = 0; n < count; ++n)
    for (Index y = 0; y < 9; ++y)
      for (Index x = 0; x < 11; ++x)
        for (Index c = 0; c < 3; ++c)
          images(n, y, x, c) =
              size * random.normal(drawn++) + (x > 0 ? 0.6 * images(n, y, x - 1, c) : 0.0) + (c > 0 ? 0.5 * images(n, y, x, c - 1) : 0.0);
  return images;
}

/// Second moments of what comes out of a 2 x 2 convolution with this weight, over all positions.
Eigen::MatrixXd moments_behind(const Parameter<double>& weight, const Tensor<double, 4>& images) {
  Conv2d<double> conv({.in_channels = 3, .out_channels = 24, .kernel_size = 2, .bias = false});
  std::copy_n(weight.value(), weight.size(), conv.weight().value());
  const Tensor<double, 4> y = conv.forward(images);
  return y.matrix().transpose() * y.matrix() / static_cast<double>(y.rows());
}

}  // namespace

TEST_CASE("the convolution turns correlated patches into numbers whose covariance is the identity") {
  const Tensor<double, 4> images = correlated_images(40, 100);  // so large that eps in the root is a billionth
  Parameter<double> weight({24, 3, 2, 2});
  cifar10::set_whitening<double>(images, weight);
  const Eigen::MatrixXd out = moments_behind(weight, images);
  CHECK((out.topLeftCorner(12, 12) - Eigen::MatrixXd::Identity(12, 12)).cwiseAbs().maxCoeff() < 1e-6);
  CHECK((out.topRightCorner(12, 12) + Eigen::MatrixXd::Identity(12, 12)).cwiseAbs().maxCoeff() < 1e-6);  // the other sign

  // The images themselves are far from that.
  const Eigen::MatrixXd before = cifar10::patch_moments<double>(images);
  CHECK(std::abs(before(0, 1)) > 0.4 * before(0, 0));
}

TEST_CASE("directions come in the order of their variance, and those of almost none are not blown up") {
  const ImageDataset data = generated_images({.train = 50, .test = 1}).train;
  Tensor<double, 4> images = cifar10::first_images<double>(data, 50, channel_statistics(data));
  Parameter<double> weight({24, 3, 2, 2});
  cifar10::set_whitening<double>(images, weight);
  const Eigen::MatrixXd out = moments_behind(weight, images);
  for (Index i = 0; i < 12; ++i) {
    for (Index j = 0; j < i; ++j) CHECK(std::abs(out(i, j)) < 1e-9);
    CHECK(out(i, i) < 1);  // eigenvalue / (eigenvalue + 5e-4)
    CHECK(out(i, i) > 0.5);
    if (i > 0) CHECK(out(i, i) <= out(i - 1, i - 1) + 1e-12);
  }
  for (Index i = 0; i < weight.size() / 2; ++i) CHECK(weight.value()[i] == -weight.value()[weight.size() / 2 + i]);
  for (Index k = 0; k < 12; ++k) {  // the sign is not left to the solver: the largest entry is positive
    const Eigen::Map<const Eigen::VectorXd> filter(weight.value() + 12 * k, 12);
    CHECK(filter.maxCoeff() == filter.cwiseAbs().maxCoeff());
  }

  // A channel without any variance is divided by √eps, not by zero.
  for (Index i = 2; i < images.size(); i += 3) images[i] = 0;
  cifar10::set_whitening<double>(images, weight);
  for (Index i = 0; i < weight.size(); ++i) CHECK(std::abs(weight.value()[i]) <= 1 / std::sqrt(5e-4) + 1e-9);
}

TEST_CASE("patches are counted in the order of convolution weights, and averaged over all positions") {
  Tensor<double, 4> image({1, 2, 2, 3});
  for (Index i = 0; i < 12; ++i) image[i] = static_cast<double>(1 << i);
  const Eigen::MatrixXd moments = cifar10::patch_moments<double>(image);
  for (Index c = 0; c < 3; ++c)
    for (Index y = 0; y < 2; ++y)
      for (Index x = 0; x < 2; ++x) CHECK(moments(0, c * 4 + y * 2 + x) == image(0, 0, 0, 0) * image(0, y, x, c));

  Tensor<double, 4> ones({3, 5, 4, 3});
  ones.fill(1);
  CHECK((cifar10::patch_moments<double>(ones).array() == 1).all());
}

TEST_CASE("whitening does not depend on the number of threads") {
  const Tensor<double, 4> images = correlated_images(70, 1);
  const ThreadScope one(1);
  const Eigen::MatrixXd alone = cifar10::patch_moments<double>(images);
  const ThreadScope three(3);
  CHECK(cifar10::patch_moments<double>(images) == alone);
}

TEST_CASE("whitening finds its parameter in a net, and says what does not fit") {
  const Tensor<double, 4> images = correlated_images(4, 1);
  const auto net = [](const char* name) {
    return Sequential(named(name, Conv2d<double>({.in_channels = 3, .out_channels = 24, .kernel_size = 2})));
  };
  auto right = net("whiten"), wrong = net("first");
  Parameter<double> weight({24, 3, 2, 2});
  cifar10::set_whitening<double>(images, weight);
  cifar10::set_whitening(right, images);
  for (const auto& [name, parameter] : named_parameters(right))
    if (name == "whiten.weight") CHECK(std::equal(weight.value(), weight.value() + weight.size(), parameter->value()));
  CHECK_THROWS_WITH(cifar10::set_whitening(wrong, images), contains("no parameter whiten.weight"));
  Parameter<double> other({24, 3, 3, 3});
  CHECK_THROWS_AS(cifar10::set_whitening<double>(images, other), ShapeError);
  CHECK_THROWS_AS(cifar10::set_whitening<double>(Tensor<double, 4>({1, 5, 5, 1}), weight), ShapeError);
  CHECK_THROWS_AS(cifar10::set_whitening<double>(Tensor<double, 4>({1, 1, 5, 3}), weight), ShapeError);
}

TEST_CASE("the first images are in order, normalised, and no more than there are") {
  const ImageDataset data = generated_images({.train = 10, .test = 1}).train;
  const Normalization normalization{{0.5, 0.25, 0.1}, {0.2, 0.3, 0.4}};
  const Tensor<double, 4> some = cifar10::first_images<double>(data, 4, normalization);
  CHECK(some.size(0) == 4);
  for (const Index n : {0, 3})
    for (Index i = 0; i < 9; ++i) {
      const auto c = static_cast<std::size_t>(i % 3);
      CHECK(some[n * 3072 + i] == Approx((data.image(n)[i] / 255.0 - normalization.mean[c]) / normalization.deviation[c]).margin(1e-12));
    }
  CHECK(cifar10::first_images<double>(data, 5000, normalization).size(0) == 10);
}
