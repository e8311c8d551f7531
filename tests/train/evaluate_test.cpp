// SPDX-License-Identifier: MIT
#include "catch.hpp"

#include <limits>

#include <heed/compose/sequential.hpp>
#include <heed/data/generated.hpp>
#include <heed/layers/flatten.hpp>
#include <heed/layers/linear.hpp>
#include <heed/train/evaluate.hpp>

using namespace heed;

namespace {
auto linear_classifier() {
  SeedScope seed(3);
  return Sequential(Flatten<double>(), Linear<double>({.in_features = 3072, .out_features = 10}));
}
}  // namespace

TEST_CASE("an evaluation averages logits over the views, with their weights") {
  const ImageDataset data = generated_images({.train = 5, .test = 37}).test;
  const auto model = linear_classifier();
  const EvaluationOptions options{.views = 6, .batch_size = 10, .normalization = Normalization::cifar10(), .keep_logits = true};
  const std::vector<Evaluation> results = evaluate_views(model, data, options);
  REQUIRE(results.size() == 3);

  // The plain way: every image by itself.
  const CrossEntropyLoss<double> loss;
  for (const Evaluation& result : results) {
    double total = 0;
    ConfusionMatrix confusion(10);
    REQUIRE(result.logits.shape() == Shape{37, 10});
    for (Index i = 0; i < data.size(); ++i) {
      const ImageDataset image = data.range(i, i + 1);
      Batches<double> one(image, {.prefetch = false, .normalization = options.normalization});
      const Batch<double>& batch = *one.next();
      Tensor<double, 2> sum({1, 10});
      for (const View& view : views(result.views)) {
        Tensor<double, 4> seen(batch.images.shape());
        view_images<double>(batch.images, view, seen.view());
        const Tensor<double, 2> logits = model.forward(seen);
        for (Index c = 0; c < 10; ++c) sum[c] += view.weight * logits[c];
      }
      total += loss.value(sum, batch.labels);
      confusion.add(sum, batch.labels);
      for (Index c = 0; c < 10; ++c) CHECK(result.logits(i, c) == Approx(sum[c]).epsilon(1e-12));
    }
    CHECK(result.loss == Approx(total / 37).epsilon(1e-12));
    CHECK(result.accuracy == confusion.accuracy());
    CHECK(result.confusion.examples() == 37);
  }
  CHECK(results[0].views == 1);
  CHECK(results[1].views == 2);
  CHECK(results[2].views == 6);
  CHECK(evaluate(model, data, options).loss == results[2].loss);
}

TEST_CASE("the views of a small count are the first of a larger one: evaluations share their passes") {
  const auto same = [](const Placement& a, const Placement& b) { return a.down == b.down && a.right == b.right && a.flip == b.flip; };
  for (std::size_t v = 0; v < 2; ++v) CHECK(same(views(2)[v].placement, views(6)[v].placement));
  CHECK(same(views(1)[0].placement, views(6)[0].placement));
  CHECK(view_counts(2) == std::vector<int>{1, 2});
  CHECK_THROWS_WITH(view_counts(3), contains("expected 1, 2 or 6"));
}

TEST_CASE("an evaluation can be ended early") {
  const ImageDataset data = generated_images({.train = 5, .test = 37}).test;
  const auto results = evaluate_views(linear_classifier(), data, {.views = 1, .batch_size = 10}, [](Index done) { return done < 20; });
  CHECK(results[0].confusion.examples() == 20);
  CHECK(results[0].logits.empty());
  CHECK(
      results[0].loss == Approx(evaluate(linear_classifier(), first(data, 20), {.batch_size = 10}).loss));  // of those that were looked at
}

TEST_CASE("a model that gives no numbers is not judged as if it named the first class") {
  const ImageDataset data = generated_images({.train = 5, .test = 37}).test;
  auto model = linear_classifier();
  named_parameters(model)[0].parameter->value()[5] = std::numeric_limits<double>::quiet_NaN();
  CHECK_THROWS_AS(evaluate(model, data, {.batch_size = 10}), AnomalyError);
  CHECK_THROWS_WITH(evaluate(model, data, {.batch_size = 10}), contains("the loss of the images 0 to 9 is nan"));
}
