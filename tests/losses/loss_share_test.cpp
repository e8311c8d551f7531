// SPDX-License-Identifier: MIT
#include "catch.hpp"

#include <span>
#include <vector>

#include <heed/losses/cross_entropy.hpp>
#include <heed/losses/loss_share.hpp>
#include <heed/losses/mse_loss.hpp>
#include <heed/losses/nll_loss.hpp>

using namespace heed;

namespace {
const std::vector<int> kLabels{0, 1, -100, 1, 2};
const std::span<const int> kAll(kLabels);
}  // namespace

TEST_CASE("the shares of a batch's parts: of labels that count, of their weights, of a sum all") {
  const CrossEntropyLoss<float> plain;
  CHECK(loss_share(plain, kAll.first(1), kAll) == 0.25);
  CHECK(loss_share(plain, kAll.subspan(2, 1), kAll) == 0);
  const NLLLoss<double> weighted({.weight = {4, 1, 2}, .ignore_index = 2});
  const std::vector<int> labels{0, 1, 2, 1, 2};
  CHECK(loss_share(weighted, std::span(labels).first(2), labels) == Approx(5 / 6.0));
  CHECK(loss_share(CrossEntropyLoss<float>({.reduction = Reduction::sum}), kAll.first(1), kAll) == 1);
  CHECK(loss_share(MSELoss<float>(), kAll.first(2), kAll) == 0.4);
  CHECK(loss_share([] {}, kAll.first(2), kAll) == 0.4);  // a function: a mean over the labels
}

TEST_CASE("a batch whose labels all are ignored, or are no classes, shares nothing") {
  const std::vector<int> none{-100, -100}, wrong{7, -1};
  CHECK(loss_share(CrossEntropyLoss<float>(), none, none) == 0);
  CHECK(loss_share(CrossEntropyLoss<float>({.weight = {1, 1}}), wrong, wrong) == 0);
}

TEST_CASE("what the mean of a part divides by") {
  CHECK(loss_weight(CrossEntropyLoss<float>(), kLabels) == 4);
  CHECK(loss_weight(CrossEntropyLoss<float>({.weight = {4, 1, 2}}), kLabels) == 8);
  CHECK(loss_weight(MSELoss<float>(), Tensor<float, 2>({3, 4})) == 12);
}

TEST_CASE("labels that count") {
  CHECK(counted_labels(MSELoss<float>(), Tensor<float, 2>({3, 4})) == 3);
  CHECK(counted_labels(CrossEntropyLoss<float>(), kLabels) == 4);
  CHECK(counted_labels(CrossEntropyLoss<float>({.ignore_index = 1}), kLabels) == 3);
  CHECK(counted_labels(MSELoss<float>(), kLabels) == 5);
  CHECK(counted_labels([] {}, kLabels) == 5);
}
