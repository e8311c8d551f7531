// SPDX-License-Identifier: MIT
#include "catch.hpp"

#include <limits>
#include <span>
#include <vector>

#include <heed/train/metrics.hpp>

using namespace heed;

TEST_CASE("argmax is the first maximum") {
  const std::vector<float> values{1, 3, 3, 2};
  CHECK(argmax(values.data(), 4) == 1);
  CHECK(argmax(values.data(), 1) == 0);
  const float nan = std::numeric_limits<float>::quiet_NaN();
  for (const std::vector<float>& broken : {std::vector<float>{1, 2, nan}, {nan, 1, 2}, {1, nan, 2}}) {
    CHECK_THROWS_AS(argmax(broken.data(), 3), AnomalyError);
    CHECK_THROWS_WITH(top_classes(broken.data(), 3, 2), contains("of 3 is nan"));
  }
  CHECK(argmax(std::vector<float>{1, nan, 2}.data(), 1) == 0);  // what lies behind does not count
}

TEST_CASE("a row without an order is never right, and is no entry of a confusion matrix") {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const std::vector<double> scores{nan, nan, nan, 2, nan, 1, 1, 0, nan, 3, 2, 1};
  const TensorView<const double, 2> rows(scores.data(), {4, 3});
  CHECK(count_correct<double>(rows, std::vector<int>{0, 0, 0, 0}) == 1);
  ConfusionMatrix matrix(3);
  CHECK_THROWS_AS(matrix.add(rows, std::vector<int>{0, 0, 0, 0}), AnomalyError);
}

TEST_CASE("top classes come in order, equal ones by their number") {
  const std::vector<double> values{0.1, 0.4, 0.1, 0.4, 0.0};
  CHECK(top_classes(values.data(), 5, 3) == std::vector<Index>{1, 3, 0});
  CHECK(top_classes(values.data(), 2, 3) == std::vector<Index>{1, 0});
}

TEST_CASE("correct rows are counted") {
  const std::vector<double> scores{1, 2, 0, 5, 5, 1, 0, 0, 1};
  const TensorView<const double, 2> rows(scores.data(), {3, 3});
  CHECK(count_correct<double>(rows, std::vector<int>{1, 0, 2}) == 3);
  CHECK(count_correct<double>(rows, std::vector<int>{1, 1, 0}) == 1);
  const std::vector<int> labels{1, 0, 2};  // what follows the last row does not count
  CHECK(count_correct<double>(TensorView<const double, 2>(scores.data(), {2, 3}), std::span(labels).first(2)) == 2);
  CHECK_THROWS_AS(count_correct<double>(rows, std::vector<int>{1, 1}), ShapeError);
}

TEST_CASE("a confusion matrix knows accuracy, recall and precision") {
  ConfusionMatrix matrix(3);
  const std::vector<float> scores{1, 0, 0, 1, 0, 0, 0, 1, 0, 0, 1, 0, 0, 0, 1};
  matrix.add(TensorView<const float, 2>(scores.data(), {5, 3}), std::vector<int>{0, 1, 1, 1, 0});
  CHECK(matrix(0, 0) == 1);
  CHECK(matrix(1, 0) == 1);
  CHECK(matrix(1, 1) == 2);
  CHECK(matrix(0, 2) == 1);
  CHECK(matrix.examples() == 5);
  CHECK(matrix.examples(1) == 3);
  CHECK(matrix.correct() == 3);
  CHECK(matrix.accuracy() == Approx(0.6));
  CHECK(matrix.accuracy(1) == Approx(2.0 / 3));
  CHECK(matrix.accuracy(2) == 0);  // no example
  CHECK(matrix.precision(0) == Approx(0.5));
  CHECK(matrix.precision(2) == 0);
  CHECK_THROWS_WITH(matrix.add(3, 0), contains("label 3"));
  CHECK_THROWS_AS(matrix.add(-1, 0), std::invalid_argument);
  CHECK_THROWS_AS(matrix.add(0, -1), std::invalid_argument);
  CHECK_THROWS_AS(matrix.add(0, 3), std::invalid_argument);
  CHECK_THROWS_AS(matrix.add(TensorView<const float, 2>(scores.data(), {5, 3}), std::vector<int>{0, 0, 0, 0}), ShapeError);
  CHECK_THROWS_AS(matrix.add(TensorView<const float, 2>(scores.data(), {3, 5}), std::vector<int>{0, 0, 0}), ShapeError);
}
