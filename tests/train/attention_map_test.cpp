// SPDX-License-Identifier: MIT
#include "catch.hpp"

#include <heed/train/attention_map.hpp>

using namespace heed;

TEST_CASE("attention received is the mean over heads and queries, image by image") {
  Tensor<double, 4> weights({2, 2, 3, 3});
  for (Index i = 0; i < weights.size(); ++i) weights[i] = static_cast<double>((i * 7) % 11);
  const Tensor<double, 2> received = attention_received<double>(weights);
  REQUIRE(received.shape() == Shape{2, 3});
  for (Index b = 0; b < 2; ++b)
    for (Index k = 0; k < 3; ++k) {
      double sum = 0;
      for (Index h = 0; h < 2; ++h)
        for (Index q = 0; q < 3; ++q) sum += weights(b, h, q, k);
      CHECK(received(b, k) == Approx(sum / 6));
    }
}

TEST_CASE("a map is linear between the centres of its tokens and constant beyond them") {
  Tensor<float, 2> map({2, 3});
  for (Index i = 0; i < 6; ++i) map[i] = static_cast<float>(i * i);
  CHECK(bilinear<float>(map, 0, 0) == 0);
  CHECK(bilinear<float>(map, 1, 2) == 25);
  CHECK(bilinear<float>(map, 0, 0.5) == Approx(0.5));
  CHECK(bilinear<float>(map, 0.5, 0.5) == Approx((0 + 1 + 9 + 16) / 4.0));
  CHECK(bilinear<float>(map, 0.25, 1.75) == Approx(0.75 * (0.25 * 1 + 0.75 * 4) + 0.25 * (0.25 * 16 + 0.75 * 25)));
  CHECK(bilinear<float>(map, -3, 9) == 4);
  CHECK(bilinear<float>(map, 7, -9) == 9);
  for (const Shape& empty : {Shape{0, 3}, Shape{3, 0}}) CHECK_THROWS_AS(bilinear<float>(Tensor<float, 2>(empty), 0, 0), ShapeError);

  const Tensor<float, 2> spread = spread_map<float>(map, 4, 6, TokenGrid::even(2), TokenGrid::even(3));
  REQUIRE(spread.shape() == Shape{4, 6});
  CHECK(spread(0, 0) == 0);  // above the centre of the first token
  CHECK(spread(3, 5) == 25);
  // Pixel (1, 2) has its centre at 3/8 and 5/12 of the sides: 1/4 token below the first, 3/4 to the right.
  CHECK(spread(1, 2) == Approx(bilinear<float>(map, 0.25, 0.75)));
}

TEST_CASE("weights are captured from the layers that attend, with their paths, and only while asked for") {
  struct Attends {
    using scalar = float;
    int forward(int x) const {
      const LayerScope scope("attention");
      if (attention_is_observed<float>()) show_attention<float>(Tensor<float, 4>({1, 1, 2, 2}));
      return x;
    }
  };
  const auto captured = capture_attention(Attends(), 3);
  REQUIRE(captured.size() == 1);
  CHECK(captured[0].path == "attention");
  CHECK(captured[0].weights.shape() == Shape{1, 1, 2, 2});
  CHECK(context().attention == nullptr);
}
