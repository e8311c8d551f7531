// SPDX-License-Identifier: MIT
#include "catch.hpp"

#include <cmath>
#include <limits>
#include <vector>

#include <heed/core/random.hpp>
#include <heed/train/calibration.hpp>

using namespace heed;

TEST_CASE("predictions fall into bins by their confidence, the upper edge belongs to a bin") {
  Calibration c(4);
  for (const double confidence : {0.0, 0.1, 0.25}) c.add(confidence, false);
  for (const double confidence : {0.2500001, 0.5}) c.add(confidence, true);
  c.add(1.0, true);
  c.add(0.76, false);
  const std::vector<Calibration::Bin> bins = c.bins();
  REQUIRE(bins.size() == 4);
  CHECK(bins[0].count == 3);
  CHECK(bins[1].count == 2);
  CHECK(bins[2].count == 0);
  CHECK(bins[3].count == 2);
  CHECK(bins[0].confidence == Approx(0.35 / 3));
  CHECK(bins[0].accuracy == 0);
  CHECK(bins[1].accuracy == 1);
  CHECK(bins[2].confidence == 0);
  CHECK(bins[3].confidence == Approx(0.88));
  CHECK(bins[3].accuracy == Approx(0.5));
  // 3 |0 - .1167| + 2 |1 - .375| + 2 |.5 - .88| of 7
  CHECK(c.expected_error() == Approx((0.35 + 1.25 + 0.76) / 7).epsilon(1e-6));
}

TEST_CASE("who is right as often as he says has no calibration error, who is always sure that of his mistakes") {
  Calibration honest(10), sure(10);
  const CounterRandom random{3};
  for (std::uint64_t i = 0; i < 40000; ++i) {
    const double confidence = random.uniform(2 * i);
    honest.add(confidence, random.uniform(2 * i + 1) < confidence);
    sure.add(1, i % 4 != 0);
  }
  CHECK(honest.expected_error() < 0.012);
  CHECK(sure.expected_error() == Approx(0.25));
  CHECK(Calibration().expected_error() == 0);
  CHECK(Calibration().bins().size() == 15);
}

TEST_CASE("logits count by their softmax, however large they are") {
  Tensor<double, 2> logits({3, 3});
  const double rows[] = {std::log(0.65), std::log(0.25), std::log(0.1), 1000, 999, -1000, 0, std::log(2.5), 0};
  std::copy(std::begin(rows), std::end(rows), logits.data());
  Calibration c(10);
  c.add<double>(logits, std::vector<int>{0, 1, 1});
  const auto bins = c.bins();
  CHECK(bins[6].count == 1);  // 0.65
  CHECK(bins[6].accuracy == 1);
  CHECK(bins[7].count == 1);  // 1 / (1 + 1 / e) = 0.731, and wrong
  CHECK(bins[7].confidence == Approx(1 / (1 + std::exp(-1.0))));
  CHECK(bins[7].accuracy == 0);
  CHECK(bins[5].count == 1);  // 2.5 of 4.5
  CHECK(bins[5].accuracy == 1);
  CHECK(Calibration::confidence_of(logits.data(), 3, 1) == Approx(0.25));
}

TEST_CASE("no bins, labels that do not fit and confidences that are none are refused") {
  CHECK_THROWS_WITH(Calibration(0), contains("0 bins"));
  CHECK_THROWS_WITH(Calibration(-3), contains("-3 bins"));
  Calibration c;
  for (const double bad : {-0.1, 1.1, std::numeric_limits<double>::quiet_NaN()})
    CHECK_THROWS_WITH(c.add(bad, true), contains("expected 0 to 1"));
  CHECK_THROWS_AS(c.add<double>(Tensor<double, 2>({2, 3}), std::vector<int>{1}), ShapeError);
}
