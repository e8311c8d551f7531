// SPDX-License-Identifier: MIT
#include <cmath>
#include <limits>

#include <heed/core/random.hpp>
#include <heed/kernels/global_pool2d.hpp>

#include "catch.hpp"

using heed::Index;
using heed::Tensor;

TEMPLATE_TEST_CASE("global pools agree with their definition", "", float, double) {
  const Index cases[][3] = {{1, 1, 1}, {3, 2, 5}, {2, 49, 96}, {2, 64, 17}, {70, 9, 33}, {1, 1001, 3}};
  for (const auto& [images, pixels, channels] : cases) {
    INFO(images << " images, " << pixels << " pixels, " << channels << " channels");
    const heed::CounterRandom random({static_cast<std::uint64_t>(pixels)});
    Tensor<TestType, 1> x({images * pixels * channels}), dy({images * channels}), y({images * channels}), average({images * channels});
    Tensor<TestType, 1> dx({x.size()}), d_average({x.size()});
    Tensor<std::int32_t, 1> winner({images * channels});
    for (Index i = 0; i < x.size(); ++i)  // few levels: many ties
      x[i] = static_cast<TestType>(random.below(static_cast<std::uint64_t>(i), 20)) / TestType(8) - 5;
    for (Index i = 0; i < dy.size(); ++i) dy[i] = static_cast<TestType>(i % 13 - 6);
    dx.fill(TestType(99)), d_average.fill(TestType(99));
    heed::kernels::global_max_pool2d_forward(images, pixels, channels, x.data(), y.data(), winner.data());
    heed::kernels::global_max_pool2d_backward(images, pixels, channels, dy.data(), std::as_const(winner).data(), dx.data());
    heed::kernels::global_avg_pool2d_forward(images, pixels, channels, x.data(), average.data());
    heed::kernels::global_avg_pool2d_backward(images, pixels, channels, dy.data(), d_average.data());
    for (Index n = 0; n < images; ++n)
      for (Index c = 0; c < channels; ++c) {
        Index best = 0;
        double sum = 0;
        for (Index p = 0; p < pixels; ++p) {
          if (x[(n * pixels + p) * channels + c] > x[(n * pixels + best) * channels + c]) best = p;
          sum += static_cast<double>(x[(n * pixels + p) * channels + c]);
        }
        const Index out = n * channels + c;
        REQUIRE(winner[out] == best);
        REQUIRE(y[out] == x[(n * pixels + best) * channels + c]);
        REQUIRE(
            std::abs(static_cast<double>(average[out]) - sum / static_cast<double>(pixels)) < 8 * std::numeric_limits<TestType>::epsilon());
        for (Index p = 0; p < pixels; ++p) {
          REQUIRE(dx[(n * pixels + p) * channels + c] == (p == best ? dy[out] : TestType(0)));
          REQUIRE(d_average[(n * pixels + p) * channels + c] == dy[out] / static_cast<TestType>(pixels));
        }
      }
  }
}

TEST_CASE("the global maximum passes NaN on") {
  Tensor<float, 1> x({5 * 18}), y({18});
  x[2 * 18 + 4] = std::numeric_limits<float>::quiet_NaN();
  heed::kernels::global_max_pool2d_forward(1, 5, 18, x.data(), y.data(), nullptr);
  CHECK(std::isnan(y[4]));
  CHECK(y[5] == 0);
  x.fill(-0.0f);
  heed::kernels::global_max_pool2d_forward(1, 5, 18, x.data(), y.data(), nullptr);
  CHECK(std::signbit(y[4]));
}

TEST_CASE("the mean of a large image keeps its digits") {
  Tensor<float, 1> x({Index{1} << 24}), y({1});
  x.fill(0.1f);
  for (Index pixels : {1024, 1025, 3 << 20, 1 << 24}) {
    heed::kernels::global_avg_pool2d_forward(1, pixels, 1, x.data(), y.data());
    CHECK(y[0] == Approx(0.1).epsilon(2e-5));
  }
}
