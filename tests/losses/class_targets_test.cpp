// SPDX-License-Identifier: MIT
#include <array>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include <heed/losses/class_targets.hpp>

#include "catch.hpp"

using namespace heed;

static_assert(LabelRange<std::vector<int>> && LabelRange<std::span<const std::uint8_t>> && LabelRange<std::array<long, 3>>);
static_assert(LabelRange<int[4]> && LabelRange<Tensor<std::int64_t, 1>> && LabelRange<TensorView<const int, 2>>);
static_assert(!LabelRange<std::vector<float>> && !LabelRange<Tensor<double, 2>> && !LabelRange<int>);

TEST_CASE("the divisor is the weight of the labels that count") {
  const std::vector<double> none, three = {0.5, 2.0, 0.0};
  const std::vector<std::uint8_t> labels = {0, 1, 255, 2, 1};
  const ClassLabels plain("Loss", ClassWeights{none, 255}, 5, 3, labels);
  CHECK(plain.divisor() == 4.0);
  CHECK(plain[3] == 2);
  CHECK(plain.ignored(2));
  CHECK_FALSE(plain.ignored(3));
  CHECK(ClassLabels("Loss", ClassWeights{three, 255}, 5, 3, labels).divisor() == 4.5);
  CHECK(ClassLabels("Loss", ClassWeights{none, 1}, 2, 3, std::vector<int>{1, 1}).divisor() == 0.0);
  CHECK(ClassWeights{none, 0}(7) == 1.0);
  CHECK(ClassWeights{three, 0}(1) == 2.0);
}

TEST_CASE("what does not fit gets a sentence") {
  const std::vector<double> none, two = {1, 2}, negative = {1, -2};
  const auto labels = [&](const std::vector<double>& weight, const std::vector<int>& range) {
    return ClassLabels("Loss", ClassWeights{weight, -100}, 2, 3, range).divisor();
  };
  CHECK_NOTHROW(labels(none, {-100, 2}));
  CHECK_THROWS_WITH(labels(none, {0, 3}), "Loss: label 3 of row 1 is not in 0 ... 2 and not ignore_index (-100)");
  CHECK_THROWS_WITH(labels(none, {-1, 0}), "Loss: label -1 of row 0 is not in 0 ... 2 and not ignore_index (-100)");
  CHECK_THROWS_WITH(labels(none, {0}), "Loss: the input has 2 rows, but there are 1 labels");
  CHECK_THROWS_AS(labels(none, {0}), ShapeError);
  CHECK_THROWS_WITH(labels(two, {0, 0}), "Loss: the input has 3 classes, weight has 2");
  CHECK_THROWS_WITH((ClassWeights{negative, 0}.check("Loss")), "Loss: class weights must be finite and not negative, one is -2");
  CHECK_NOTHROW((ClassWeights{two, 0}.check("Loss")));

  const std::vector<double> endless = {1, std::numeric_limits<double>::infinity()};
  CHECK_THROWS_WITH((ClassWeights{endless, 0}.check("Loss")), contains("one is inf"));
}
