// SPDX-License-Identifier: MIT
#include "catch.hpp"
#include "reference/random_tensor.hpp"

#include <limits>

#include <heed/compose/sequential.hpp>
#include <heed/data/generated.hpp>
#include <heed/data/tensor_batches.hpp>
#include <heed/layers/flatten.hpp>
#include <heed/layers/linear.hpp>
#include <heed/losses/mse_loss.hpp>
#include <heed/optim/adam.hpp>
#include <heed/train/evaluate.hpp>
#include <heed/train/trainer.hpp>

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

TEST_CASE("the loss of any model on batches of tensors is that of all examples at once") {
  SeedScope seed(1);
  const Sequential net(Linear<double>({.in_features = 5, .out_features = 3}));
  const auto x = reference::random_tensor<double, 2>({11, 5}, 1), targets = reference::random_tensor<double, 2>({11, 3}, 2);
  const auto y = net.forward(x);
  const std::vector<int> labels{0, 1, 2, 2, -100, 0, 1, 1, 1, 0, 2};
  const auto check = [&](const auto& loss, const auto& wanted, Index counted, Index correct) {
    TensorBatches batches(x, wanted, {.batch_size = 4, .shuffle = true, .seed = 2});
    const LossReport report = evaluate_loss(net, loss, batches);
    CHECK(report.loss == Approx(loss.value(y.as_rows(), wanted)).epsilon(1e-12));
    CHECK(report.examples == counted);
    CHECK(report.correct == correct);
    CHECK(report.accuracy() == Approx(static_cast<double>(correct) / static_cast<double>(counted)));
  };
  const Index correct = count_correct<double>(y.as_rows(), labels, -100);
  CHECK(correct > 0);
  check(CrossEntropyLoss<double>(), labels, 10, correct);
  check(CrossEntropyLoss<double>({.label_smoothing = 0.1, .weight = {1, 3, 0.5}}), labels, 10, correct);
  check(CrossEntropyLoss<double>({.reduction = Reduction::sum}), labels, 10, correct);
  check(MSELoss<double>(), targets, 11, 0);
  check(MSELoss<double>({.reduction = Reduction::sum}), targets, 11, 0);

  TensorBatches wrong(x, x);
  CHECK_THROWS_WITH(evaluate_loss(net, MSELoss<double>(), wrong), contains("evaluate_loss: the model gives 11x3, the targets are 11x5"));
  auto holed = targets;
  holed[0] = std::numeric_limits<double>::quiet_NaN();
  TensorBatches nan(x, holed);
  CHECK_THROWS_WITH(evaluate_loss(net, MSELoss<double>(), nan), contains("evaluate_loss: the loss of batch 0 is nan"));
  CHECK(LossReport{}.accuracy() == 0);
}

TEST_CASE("an epoch of batches of tensors trains, and its loss falls") {
  const auto x = reference::random_tensor<float, 2>({64, 5}, 1);
  Tensor<float, 2> sums({64, 1});
  for (Index r = 0; r < 64; ++r) sums[r] = x(r, 0) + 2 * x(r, 3);
  SeedScope seed(1);
  Sequential net(Linear<float>({.in_features = 5, .out_features = 1}));
  AdamW<float> optimizer(named_parameters(net), {.learning_rate = 0.05});
  Trainer trainer(net, MSELoss<float>(), optimizer);
  TensorBatches batches(x, sums, {.batch_size = 16, .shuffle = true});
  const double before = evaluate_loss(net, MSELoss<float>(), batches).loss;
  EpochReport last;
  for (Index epoch = 0; epoch < 40; ++epoch) last = trainer.run_epoch(batches, epoch);
  CHECK(last.images == 64);
  CHECK(last.steps == 4);
  CHECK(evaluate_loss(net, MSELoss<float>(), batches).loss < 0.01 * before);
}
