// SPDX-License-Identifier: MIT
#include "catch.hpp"

#include <cmath>
#include <vector>

#include <heed/compose/sequential.hpp>
#include <heed/data/generated.hpp>
#include <heed/layers/flatten.hpp>
#include <heed/layers/linear.hpp>
#include <heed/train/robustness.hpp>

using namespace heed;

namespace {

/// Errors made by hand: `wrong(row, image)` for row 0 (clean) and 1 + 5 k + severity - 1.
template <class Wrong>
Robustness by_hand(std::size_t kinds, Index images, const Wrong& wrong) {
  std::vector<Corruption> corruptions = all_corruptions();
  corruptions.resize(kinds);
  Robustness result(corruptions, images);
  for (Index i = 0; i < images; ++i) {
    const auto at = static_cast<std::size_t>(i);
    result.clean()[at] = !wrong(0, i);
    for (std::size_t k = 0; k < kinds; ++k)
      for (int severity = 1; severity <= kSeverities; ++severity)
        result.corrupted(k, severity)[at] = !wrong(5 * static_cast<int>(k) + severity, i);
  }
  return result;
}
RobustnessComparison compared(const std::vector<Robustness>& models, const std::vector<Robustness>& baselines, Index resamples = 1000) {
  return compare_robustness(models, baselines, {.resamples = resamples});
}

}  // namespace

TEST_CASE("robustness counts the images that a model gets right, each corrupted by itself") {
  const ImageDataset data = generated_images({.train = 5, .test = 37}).test;
  SeedScope seed(3);
  const Sequential model(Flatten<double>(), Linear<double>({.in_features = 3072, .out_features = 10}));
  const std::vector<Corruption> some = {Corruption::rotate, Corruption::shot_noise};
  const RobustnessOptions options{
      .corruptions = some, .seed = 8, .evaluation = {.views = 2, .batch_size = 10, .normalization = Normalization::cifar10()}};
  const Robustness found = measure_robustness(model, data, options);
  CHECK(found.images() == 37);
  CHECK(found.corruptions() == some);
  CHECK(found.clean_accuracy() == Approx(evaluate(model, data, options.evaluation).accuracy));
  for (std::size_t k = 0; k < 2; ++k) {
    double sum = 0;
    for (int severity = 1; severity <= kSeverities; ++severity) {
      const CorruptedDataset corrupted(data, some[k], severity, 8);
      const Evaluation expected = evaluate(model, corrupted, options.evaluation);
      CHECK(found.accuracy(k, severity) == Approx(expected.accuracy));
      sum += expected.accuracy;
    }
    CHECK(found.accuracy(k) == Approx(sum / 5));
  }
  // The image counts, not the order of the passes: the first three right ones of rotation 5.
  const CorruptedDataset turned(data, Corruption::rotate, 5, 8);
  EvaluationOptions keep = options.evaluation;
  keep.keep_logits = true;
  const Tensor<double, 2> logits = evaluate(model, turned, keep).logits;
  for (Index i = 0; i < 37; ++i) CHECK(found.corrupted(0, 5)[static_cast<std::size_t>(i)] == (argmax(&logits(i, 0), 10) == data.label(i)));
}

TEST_CASE("a corruption that the images cannot have is refused before anything is measured") {
  const ImageDataset data(Tensor<std::uint8_t, 4>({3, 4, 4, 1}), {0, 1, 1}, 2);
  SeedScope seed(3);
  const Sequential model(Flatten<float>(), Linear<float>({.in_features = 16, .out_features = 2}));
  int asked = 0;
  const auto measured = [&](const RobustnessOptions& options) {
    return measure_robustness(model, data, options, [&](std::size_t) { return ++asked < 100; });
  };
  CHECK_THROWS_WITH(measured({}), contains("corruption brightness") && contains("found 1 channels"));
  CHECK_THROWS_WITH(measured({.corruptions = {Corruption::rotate, Corruption::saturate}}), contains("corruption saturate"));
  CHECK(asked == 0);
  CHECK(measured({.corruptions = all_corruptions(1)}).corruptions().size() == kCorruptions - 2);
  CHECK(asked == kCorruptions - 2);
}

TEST_CASE("a measurement of robustness can be ended early") {
  const ImageDataset data = generated_images({.train = 5, .test = 20}).test;
  SeedScope seed(3);
  const Sequential model(Flatten<float>(), Linear<float>({.in_features = 3072, .out_features = 10}));
  std::vector<std::size_t> asked;
  const Robustness found = measure_robustness(model, data, {}, [&](std::size_t k) {
    asked.push_back(k);
    return k < 2;
  });
  CHECK(asked == std::vector<std::size_t>{0, 1, 2});
  CHECK(found.accuracy(1) > 0);
  CHECK(found.accuracy(2) == 0);
}

TEST_CASE("corruption errors are ratios of summed errors, with and without the clean ones") {
  // Of 10 images: the model has 1 wrong clean, and 1 more at each severity; the baseline 2, and 1 more at each second one.
  const Robustness model = by_hand(1, 10, [](int row, Index i) { return i < 1 + row; });
  const Robustness baseline = by_hand(1, 10, [](int row, Index i) { return i < 2 + row / 2; });
  const RobustnessComparison found = compared({model}, {baseline});
  REQUIRE(found.ce.size() == 1);
  CHECK(found.ce[0].value == Approx((2 + 3 + 4 + 5 + 6) / (2 + 3 + 3 + 4 + 4.)));
  CHECK(found.relative_ce[0].value == Approx((1 + 2 + 3 + 4 + 5) / (0 + 1 + 1 + 2 + 2.)));
  CHECK(found.mean_ce.value == found.ce[0].value);
  CHECK(found.mean_relative_ce.value == found.relative_ce[0].value);

  // Two kinds: the mean is that of the ratios, not the ratio of sums.
  const Robustness wide = by_hand(2, 100, [](int row, Index i) { return i < (row == 0 ? 0 : row <= 5 ? 10 : 60); });
  const Robustness other = by_hand(2, 100, [](int row, Index i) { return i < (row == 0 ? 0 : 20); });
  const RobustnessComparison two = compared({wide}, {other});
  CHECK(two.ce[0].value == Approx(0.5));
  CHECK(two.ce[1].value == Approx(3));
  CHECK(two.mean_ce.value == Approx(1.75));
}

TEST_CASE("several seeds count as the mean of their errors") {
  const auto with = [](Index count) { return by_hand(1, 50, [count](int row, Index i) { return i < (row == 0 ? count / 2 : count); }); };
  const RobustnessComparison found = compared({with(10), with(20), with(30)}, {with(20), with(30), with(40)});
  CHECK(found.ce[0].value == Approx(60. / 90));
  CHECK(found.relative_ce[0].value == Approx(30. / 45));
}

TEST_CASE("a model compared with itself is 1 in every resample; images that both get wrong make pairs, and intervals narrow") {
  const CounterRandom random{1};
  const auto noisy = [&](std::uint64_t which, double share) {
    return by_hand(2, 400, [&random, which, share](int row, Index i) {
      return random.uniform(which + static_cast<std::uint64_t>(4000 * row + i)) < (row == 0 ? share / 2 : share);
    });
  };
  const Robustness a = noisy(0, 0.3), b = noisy(1u << 20, 0.3);
  const RobustnessComparison same = compared({a}, {a});
  for (const Estimate& e : {same.ce[0], same.mean_ce, same.mean_relative_ce}) {
    CHECK(e.value == 1);
    CHECK(e.low == 1);
    CHECK(e.high == 1);
  }
  const RobustnessComparison apart = compared({a}, {b});
  CHECK(apart.ce[0].low < apart.ce[0].value);
  CHECK(apart.ce[0].value < apart.ce[0].high);
  CHECK((apart.ce[0].low < 1 && 1 < apart.ce[0].high));
  // Errors of the five severities are independent here: the ratio's deviation by the delta method is sqrt(2 (1 - p) / (5 n p)).
  const double deviation = std::sqrt(2 * 0.7 / (5 * 400 * 0.3));
  CHECK((apart.ce[0].high - apart.ce[0].low) / (2 * 1.96) == Approx(deviation).epsilon(0.15));
  // The mean of two kinds is known better than one, and one that is half as good is told apart.
  CHECK(apart.mean_ce.high - apart.mean_ce.low < 0.85 * (apart.ce[0].high - apart.ce[0].low));
  CHECK(compared({noisy(7u << 20, 0.15)}, {b}).mean_ce.high < 0.7);
}

TEST_CASE("the interval is the middle 95 % of the resamples, the same for the same seed") {
  const CounterRandom random{2};
  const Robustness a = by_hand(1, 60, [&](int row, Index i) { return random.uniform(static_cast<std::uint64_t>(100 * row + i)) < 0.4; });
  const Robustness b =
      by_hand(1, 60, [&](int row, Index i) { return random.uniform(static_cast<std::uint64_t>(9999 + 100 * row + i)) < 0.5; });
  const std::vector<Robustness> one = {a}, other = {b};
  const Index resamples = 200;
  std::vector<double> all;
  for (Index r = 0; r < resamples; ++r) {
    const CounterRandom draws{5, static_cast<std::uint64_t>(r)};
    double own = 0, base = 0;
    for (Index i = 0; i < 60; ++i) {
      const auto image = static_cast<std::size_t>(draws.below(static_cast<std::uint64_t>(i), 60));
      for (int severity = 1; severity <= 5; ++severity) own += !a.corrupted(0, severity)[image], base += !b.corrupted(0, severity)[image];
    }
    all.push_back(own / base);
  }
  std::sort(all.begin(), all.end());
  const Estimate found = compare_robustness(one, other, {.resamples = resamples, .seed = 5}).ce[0];
  CHECK(found.low == Approx(all[4] + 0.975 * (all[5] - all[4])));         // 0.025 * 199 = 4.975
  CHECK(found.high == Approx(all[194] + 0.025 * (all[195] - all[194])));  // 194.025
  CHECK(compare_robustness(one, other, {.resamples = resamples, .seed = 5}).ce[0].low == found.low);
  CHECK(compare_robustness(one, other, {.resamples = resamples, .seed = 6}).ce[0].low != found.low);
}

TEST_CASE("a baseline without errors has no ratio, and what does not fit together is refused") {
  const Robustness perfect = by_hand(1, 10, [](int, Index) { return false; }), bad = by_hand(1, 10, [](int, Index i) { return i < 5; });
  const RobustnessComparison none = compared({bad}, {perfect});
  CHECK(std::isnan(none.ce[0].value));
  CHECK(std::isnan(none.ce[0].low));
  const RobustnessComparison flat = compared({bad}, {bad});  // as bad clean as corrupted
  CHECK(flat.ce[0].value == 1);
  CHECK(std::isnan(flat.relative_ce[0].value));
  CHECK(std::isnan(flat.mean_relative_ce.high));
  CHECK_THROWS_WITH(compared({bad}, {}), contains("1 models and 0 baselines"));
  CHECK_THROWS_WITH(compared({}, {}), contains("at least one"));
  CHECK_THROWS_WITH(compared({bad}, {by_hand(1, 11, [](int, Index) { return true; })}), contains("the same images and corruptions"));
  CHECK_THROWS_WITH(compared({bad}, {by_hand(2, 10, [](int, Index) { return true; })}), contains("the same images and corruptions"));
  CHECK_THROWS_WITH(compared({bad}, {perfect}, 0), contains("0 resamples"));
  CHECK_THROWS_WITH(
      compared({by_hand(1, 0, [](int, Index) { return true; })}, {by_hand(1, 0, [](int, Index) { return true; })}), contains("0 images"));
}

TEST_CASE("a corruption or a severity that there is not is refused") {
  const Robustness two = by_hand(2, 10, [](int, Index) { return true; });
  CHECK(two.accuracy(1, 5) == 0);
  CHECK_THROWS_WITH(
      two.accuracy(0, 6), "Robustness: corruption 0 at severity 6 asked for, there are 2 corruptions at the severities 1 ... 5");
  CHECK_THROWS_WITH(two.accuracy(0, 0), contains("severity 0 asked for"));
  CHECK_THROWS_WITH(two.accuracy(2, 1), contains("corruption 2 at severity 1"));
}
