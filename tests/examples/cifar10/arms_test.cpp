// SPDX-License-Identifier: MIT
#include "cifar10/arms.hpp"

#include <string>
#include <vector>

#include "catch.hpp"

using cifar10::Arm, cifar10::arms_of, cifar10::attending, cifar10::comparable, cifar10::FinishedRun, cifar10::Json, cifar10::kMeasures;
using cifar10::mean_and_deviation, cifar10::mean_and_interval;

namespace {

Json result(const char* net, const char* attention, int seed, double accuracy) {
  return {{"net", net}, {"attention", attention}, {"seed", seed}, {"test_accuracy", accuracy}, {"test_accuracy_flip", accuracy + 0.01},
      {"test_accuracy_6view", accuracy + 0.02}};
}

}  // namespace

TEST_CASE("arms gather the seeds of a net and what stands in the place of attention; differences are those of pairs") {
  const std::vector<Arm> arms = arms_of({result("demo", "none", 1, 0.70), result("demo", "full", 1, 0.72), result("demo", "none", 2, 0.60),
      result("demo", "full", 2, 0.66), result("demo", "none", 3, 0.10), result("small", "none", 1, 0.5)});
  REQUIRE(arms.size() == 3);
  const Arm &none = arms[0], &full = arms[1], &small = arms[2];
  CHECK((none.net == "demo" && none.attention == "none" && none.runs.size() == 3));
  CHECK((small.net == "small" && small.runs.size() == 1));
  CHECK(none.accuracy(kMeasures[0]).mean == Approx(140.0 / 3));
  CHECK(full.accuracy(kMeasures[2]).mean == Approx(71));

  REQUIRE(attending(arms, none) == &full);
  CHECK(attending(arms, full) == nullptr);
  CHECK(attending(arms, small) == nullptr);  // that net has no arm with attention
  const auto gain = full.above(none, kMeasures[0]);
  CHECK(gain.count == 2);  // seed 3 has no pair
  CHECK(gain.mean == Approx(4));
  CHECK(gain.deviation == Approx(std::sqrt(8.0)));
}

TEST_CASE("of two runs from one seed the later counts") {
  const std::vector<Arm> arms = arms_of({result("demo", "full", 1, 0.70), result("demo", "full", 1, 0.80)});
  REQUIRE(arms.size() == 1);
  CHECK(arms[0].accuracy(kMeasures[0]).mean == Approx(80));
}

TEST_CASE("a table compares runs of one recipe, of each seed the last, and names the others") {
  const auto run = [](const char* name, const char* net, const char* attention, int seed, double accuracy, const Json& recipe) {
    return FinishedRun{name, recipe, result(net, attention, seed, accuracy)};
  };
  const Json recipe{{"epochs", 16}, {"dataset", "cifar10"}}, shorter{{"epochs", 3}, {"dataset", "cifar10"}}, silent{{"epochs", 16}};
  std::vector<std::string> left_out;
  const std::vector<Json> results = comparable(
      {run("a", "demo", "full", 1, 0.1, recipe), run("b", "demo", "none", 1, 0.2, shorter), run("c", "demo", "none", 1, 0.3, recipe),
          run("d", "small", "full", 1, 0.4, shorter), run("e", "demo", "full", 1, 0.5, recipe), run("f", "demo", "full", 2, 0.6, silent)},
      left_out);
  std::vector<double> kept;
  for (const Json& one : results) kept.push_back(one[kMeasures[0]]);
  CHECK(kept == std::vector<double>{0.5, 0.3, 0.4});
  CHECK(left_out == std::vector<std::string>{"b is left out: it was made with epochs 3, a with 16.",
                        "a is left out: e has the same net, attention and seed, and comes later.",
                        "f is left out: it was made with dataset null, a with \"cifar10\"."});
}

TEST_CASE("a result that lacks something is an error") {
  Json lame = result("demo", "full", 1, 0.5);
  lame.erase("seed");
  CHECK_THROWS_AS(arms_of({lame}), std::exception);
  lame = result("demo", "full", 1, 0.5);
  lame.erase("test_accuracy");
  CHECK_THROWS_AS(arms_of({lame})[0].accuracy(kMeasures[0]), std::exception);
}

TEST_CASE("words for a mean") {
  const auto summary = [](std::vector<double> values) { return cifar10::summarize(values); };
  CHECK(mean_and_deviation(summary({})) == "–");
  CHECK(mean_and_deviation(summary({3})) == "3.00");
  CHECK(mean_and_deviation(summary({2, 4, 9})) == "5.00 ± 3.61");
  CHECK(mean_and_interval(summary({})) == "–");
  CHECK(mean_and_interval(summary({3})) == "+3.00");
  CHECK(mean_and_interval(summary({1, 3})) == "+2.00 [-10.71, +14.71]");
}
