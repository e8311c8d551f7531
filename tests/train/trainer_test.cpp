// SPDX-License-Identifier: MIT
#include "catch.hpp"
#include "reference/random_tensor.hpp"

#include <limits>
#include <numeric>
#include <vector>

#include <heed/compose/sequential.hpp>
#include <heed/data/batches.hpp>
#include <heed/data/generated.hpp>
#include <heed/io/model_file.hpp>
#include <heed/layers/dropout.hpp>
#include <heed/layers/embedding.hpp>
#include <heed/layers/flatten.hpp>
#include <heed/layers/gelu.hpp>
#include <heed/layers/linear.hpp>
#include <heed/losses/bce_with_logits_loss.hpp>
#include <heed/losses/mse_loss.hpp>
#include <heed/optim/adam.hpp>
#include <heed/optim/schedule.hpp>
#include <heed/optim/sgd.hpp>
#include <heed/train/evaluate.hpp>
#include <heed/train/trainer.hpp>

using namespace heed;

namespace {
auto small_net() {
  SeedScope seed(1);
  return Sequential(named("flatten", Flatten<float>()), named("first", Linear<float>({.in_features = 3072, .out_features = 24})),
      named("gelu", Gelu<float>()), named("dropout", Dropout<float>({.p = 0.1})),
      named("head", Linear<float>({.in_features = 24, .out_features = 10})));
}
}  // namespace

TEST_CASE("training lowers the loss, and the same steps give the same weights") {
  const ImageDataset data = generated_images({.train = 320, .test = 10}).train;
  const auto run = [&](int threads) {
    ThreadScope scope(threads);
    auto net = small_net();
    AdamW<float> optimizer(named_parameters(net), {.learning_rate = 1e-3});
    Trainer trainer(net, CrossEntropyLoss<float>(), optimizer, WarmupSchedule{.steps = 50, .warmup_steps = 5}, {.seed = 7});
    Batches<float> batches(data, {.batch_size = 64, .shuffle = true, .seed = 7, .normalization = Normalization::cifar10()});
    std::vector<double> losses;
    EpochReport first, last;
    Index steps = 0;
    for (Index epoch = 0; epoch < 10; ++epoch) {
      last = trainer.run_epoch(batches, epoch, [&](const StepReport& step) {
        CHECK(step.step == steps++);
        losses.push_back(step.loss);
      });
      if (epoch == 0) first = last;
    }
    CHECK(last.images == 320);
    CHECK(last.steps == 5);
    CHECK(last.loss() < 0.9 * first.loss());
    CHECK(last.loss() == Approx(std::accumulate(losses.end() - 5, losses.end(), 0.0) / 5));  // of batches of one size
    CHECK(last.accuracy() > first.accuracy());
    CHECK(trainer.next_step() == 50);
    return losses;
  };
  const std::vector<double> once = run(1);
  CHECK(once == run(1));
  CHECK(once == run(3));
}

TEST_CASE("a requested stop ends the epoch after the running step") {
  const ImageDataset data = generated_images({.train = 320, .test = 10}).train;
  auto net = small_net();
  AdamW<float> optimizer(named_parameters(net));
  Trainer trainer(net, CrossEntropyLoss<float>(), optimizer);
  Batches<float> batches(data, {.batch_size = 64, .shuffle = true});
  const EpochReport report = trainer.run_epoch(batches, 0, [&](const StepReport& step) {
    if (step.step == 1) trainer.request_stop();
  });
  CHECK(report.stopped);
  CHECK(report.steps == 2);
  CHECK(trainer.next_step() == 2);
}

TEST_CASE("a run that goes on in the middle of an epoch makes the steps of the whole run, and its report") {
  const ImageDataset data = generated_images({.train = 320, .test = 10}).train;
  const BatchOptions options{.batch_size = 64, .shuffle = true, .seed = 5};
  const auto run = [&](Index stop_after) {
    auto net = small_net();
    AdamW<float> optimizer(named_parameters(net));
    Batches<float> batches(data, options);
    std::vector<double> losses;
    Trainer first(net, CrossEntropyLoss<float>(), optimizer);
    const EpochReport stopped = first.run_epoch(batches, 1, [&](const StepReport& step, const EpochReport& epoch) {
      losses.push_back(step.loss);
      CHECK(epoch.epoch == 1);
      CHECK(epoch.steps == step.step + 1);
      CHECK(epoch.images == 64 * epoch.steps);
      if (epoch.steps == stop_after) first.request_stop();
    });
    CHECK(stopped.steps == stop_after);
    Trainer second(net, CrossEntropyLoss<float>(), optimizer, ConstantSchedule{}, {.first_step = stopped.steps});
    const EpochReport whole = second.run_epoch(batches, stopped, [&](const StepReport& step) { losses.push_back(step.loss); });
    CHECK(!whole.stopped);
    CHECK(whole.steps == 5);
    CHECK(whole.images == 320);
    CHECK(whole.seconds >= stopped.seconds);
    CHECK(whole.loss() == whole.loss_sum / 320);
    losses.insert(losses.end(), {whole.loss_sum, static_cast<double>(whole.correct)});
    return losses;
  };
  const auto never_stopped = run(5);
  for (Index stop_after : {1, 2, 4}) CHECK(run(stop_after) == never_stopped);
}

TEST_CASE("what an epoch comes to, of no image and of one") {
  const EpochReport none, one{.images = 1, .correct = 1, .loss_sum = 2.5, .seconds = 4};
  CHECK((none.loss() == 0 && none.accuracy() == 0 && none.images_per_second() == 0));
  CHECK((one.loss() == 2.5 && one.accuracy() == 1 && one.images_per_second() == 0.25));
}

TEST_CASE("a loss that is not finite ends training with a sentence") {
  auto net = small_net();
  AdamW<float> optimizer(named_parameters(net));
  Trainer trainer(net, CrossEntropyLoss<float>(), optimizer);
  Tensor<float, 4> images({2, 32, 32, 3});
  images.fill(std::numeric_limits<float>::quiet_NaN());
  CHECK_THROWS_WITH(trainer.step(images, std::vector<int>{1, 2}), contains("Trainer: the loss is nan at step 0"));
}

TEST_CASE("a gradient of the loss that is not finite: an AnomalyScope names the loss, else the weight that it reaches first is named") {
  const auto loss = [](const auto& logits, const auto&, Tensor<float, 2>& d_logits) {
    d_logits.resize(logits.shape());
    d_logits[3] = std::numeric_limits<float>::quiet_NaN();
    return 1.0;
  };
  auto net = small_net();
  AdamW<float> optimizer(named_parameters(net));
  Trainer trainer(net, loss, optimizer);
  const Tensor<float, 4> images({2, 32, 32, 3});
  CHECK_THROWS_WITH(trainer.step(images, std::vector<int>{1, 2}), contains("Trainer: the gradient of head.bias is nan"));
  const AnomalyScope scope;
  CHECK_THROWS_WITH(
      trainer.step(images, std::vector<int>{1, 2}), "Trainer: the loss gives a gradient that is nan at element 3 of 2x10, at step 0");
}

TEST_CASE("tokens are classified, one label each") {
  SeedScope seed(1);
  Sequential model(Embedding<float>({.num_embeddings = 5, .embedding_dim = 8}), Linear<float>({.in_features = 8, .out_features = 5}));
  AdamW<float> optimizer(named_parameters(model), {.learning_rate = 0.05});
  Trainer trainer(model, CrossEntropyLoss<float>(), optimizer);
  Tensor<std::int64_t, 2> x({3, 10});
  std::vector<int> next;
  for (Index i = 0; i < x.size(); ++i) x[i] = i % 5, next.push_back(static_cast<int>((i + 2) % 5));
  StepReport report;
  for (int step = 0; step < 60; ++step) report = trainer.step(x, next);
  CHECK(report.images == 30);
  CHECK(report.correct == 30);
  CHECK(report.loss < 0.05);
}

TEST_CASE("labels that the loss ignores are no images, and never right") {
  SeedScope seed(1);
  Sequential model(Linear<double>({.in_features = 2, .out_features = 2, .bias = false}));
  const double sure[] = {9, 0, 0, 9};
  std::copy_n(sure, 4, model.get<0>().weight().value());
  AdamW<double> optimizer(named_parameters(model), {.learning_rate = 0});
  Tensor<double, 2> x({4, 2});
  for (Index r = 0; r < 4; ++r) x(r, r % 2) = 1;
  for (int ignored : {-100, 1}) {
    Trainer trainer(model, CrossEntropyLoss<double>({.ignore_index = ignored}), optimizer);
    const StepReport report = trainer.step(x, std::vector<int>{0, ignored, 0, ignored});
    CHECK(report.images == 2);
    CHECK(report.correct == 2);
  }
}

TEST_CASE("a part of a model is trained as if the rest were frozen: gradients that nobody steps do not pile up") {
  const auto run = [](bool frozen) {
    auto net = small_net();
    net.get<1>().freeze(frozen);
    std::vector<NamedParameter<float>> head;
    for (const auto& own : named_parameters(net))
      if (own.name.starts_with("head.")) head.push_back(own);
    Sgd<float> optimizer(head, {.learning_rate = 0.01});
    Trainer trainer(net, CrossEntropyLoss<float>(), optimizer);
    const auto x = reference::random_tensor<float, 4>({8, 32, 32, 3}, 1);
    std::vector<double> norms;
    for (int step = 0; step < 3; ++step) {
      trainer.step(x, std::vector<int>{0, 1, 2, 3, 4, 5, 6, 7});
      double sum = 0;
      const Parameter<float>& body = net.get<1>().weight();
      for (Index i = 0; i < body.size(); ++i) sum += std::abs(static_cast<double>(net.get<1>().weight().gradient()[i]));
      norms.push_back(sum);
    }
    return std::pair(weights_hash(net), norms);
  };
  const auto [part, norms] = run(false);
  CHECK(part == run(true).first);
  CHECK(norms[0] > 0);
  CHECK(norms[2] < 1.5 * norms[0]);
}

TEST_CASE("the loss of a step is a mean, whatever the loss function gives") {
  auto one = small_net(), two = small_net();
  AdamW<float> first(named_parameters(one)), second(named_parameters(two));
  Trainer mean(one, CrossEntropyLoss<float>(), first), sum(two, CrossEntropyLoss<float>({.reduction = Reduction::sum}), second);
  const auto x = reference::random_tensor<float, 4>({6, 32, 32, 3}, 1);
  const std::vector<int> labels{0, 1, 2, 3, 4, 5};
  CHECK(sum.step(x, labels).loss == Approx(mean.step(x, labels).loss).epsilon(1e-6));
}

TEST_CASE("options of a trainer that are out of range, and a stop that is taken back") {
  auto net = small_net();
  AdamW<float> optimizer(named_parameters(net));
  const auto made = [&](const TrainerOptions& options) {
    return Trainer(net, CrossEntropyLoss<float>(), optimizer, ConstantSchedule{}, options).next_step();
  };
  CHECK_THROWS_WITH(made({.max_gradient_norm = std::numeric_limits<double>::quiet_NaN()}), contains("max_gradient_norm is nan, expected"));
  CHECK_THROWS_WITH(made({.max_gradient_norm = -std::numeric_limits<double>::infinity()}), contains("max_gradient_norm is -inf"));
  CHECK_THROWS_WITH(made({.first_step = -7}), contains("first_step is -7, expected 0 or more"));
  CHECK_THROWS_WITH(made({.shards = 0}), contains("shards is 0"));
  CHECK(made({.max_gradient_norm = 0, .first_step = 3}) == 3);

  Trainer trainer(net, CrossEntropyLoss<float>(), optimizer);
  trainer.request_stop();
  CHECK(trainer.stop_requested());
  trainer.clear_stop();
  CHECK_FALSE(trainer.stop_requested());
}

TEST_CASE("gradients longer than max_gradient_norm are scaled down to it before the update, shorter ones are left alone") {
  const auto moved = [](double most, Index shards) {  // by one step of gradient descent at rate 1: the length of the gradient
    const SeedScope seed(1);
    Sequential model(Linear<double>({.in_features = 3, .out_features = 2}));
    Sgd<double> optimizer(named_parameters(model), {.learning_rate = 1});
    Trainer trainer(model, CrossEntropyLoss<double>(), optimizer, ConstantSchedule{}, {.max_gradient_norm = most, .shards = shards});
    Tensor<double, 2> x({2, 3});
    for (Index i = 0; i < x.size(); ++i) x[i] = static_cast<double>(i) - 2;
    std::vector<double> before;
    for (const auto& [name, p] : named_parameters(model)) before.insert(before.end(), p->value(), p->value() + p->size());
    trainer.step(x, std::vector<int>{0, 1});
    double squares = 0;
    std::size_t k = 0;
    for (const auto& [name, p] : named_parameters(model))
      for (Index i = 0; i < p->size(); ++i, ++k) squares += (p->value()[i] - before[k]) * (p->value()[i] - before[k]);
    return std::sqrt(squares);
  };
  for (const Index shards : {1, 2}) {
    const double whole = moved(std::numeric_limits<double>::infinity(), shards);
    CHECK(whole > 0.1);
    CHECK(moved(2 * whole, shards) == whole);
    CHECK(moved(whole / 4, shards) == Approx(whole / 4).epsilon(1e-5));
  }
}

TEST_CASE("gradients whose squares overflow end the step with a sentence, and no weight moves") {
  for (const double most : {1.0, std::numeric_limits<double>::infinity()})
    for (const Index shards : {1, 2}) {
      const SeedScope seed(1);
      Sequential model(Linear<double>({.in_features = 3, .out_features = 2}));
      Adam<double> optimizer(named_parameters(model));
      Trainer trainer(model, CrossEntropyLoss<double>(), optimizer, ConstantSchedule{}, {.max_gradient_norm = most, .shards = shards});
      Tensor<double, 2> x({4, 3});
      for (Index i = 0; i < x.size(); ++i) x[i] = 1e200;
      const std::string before = weights_hash(model);
      const auto step = [&] { trainer.step(x, std::vector<int>{0, 1, 1, 1}); };
      CHECK_THROWS_AS(step(), AnomalyError);
      CHECK_THROWS_WITH(step(), contains("the gradients are finite numbers, but too large to be squared and added up") &&
                                    contains("at step 0; a smaller learning rate"));
      CHECK((weights_hash(model) == before && trainer.next_step() == 0));
    }
}

TEST_CASE("gradients whose squares overflow in float end the step, unless they are clipped") {
  for (const double most : {1.0, 1e30, std::numeric_limits<double>::infinity()}) {
    const SeedScope seed(1);
    Sequential model(Linear<float>({.in_features = 3, .out_features = 2}));
    Adam<float> optimizer(named_parameters(model));
    Trainer trainer(model, CrossEntropyLoss<float>(), optimizer, ConstantSchedule{}, {.max_gradient_norm = most});
    Tensor<float, 2> x({4, 3});
    x.fill(1e21f);
    const std::string before = weights_hash(model);
    const auto step = [&] { trainer.step(x, std::vector<int>{0, 1, 1, 1}); };
    if (most == 1) {
      CHECK_NOTHROW(step());
      CHECK(weights_hash(model) != before);
    } else {
      CHECK_THROWS_WITH(step(), contains("too large to be squared and added up (beyond about 1e19), at step 0"));
      CHECK((weights_hash(model) == before && trainer.next_step() == 0));
    }
  }
}

TEST_CASE("what dropout draws follows the trainer's seed and the number of the step") {
  const auto loss = [](std::uint64_t seed, Index first_step) {
    const SeedScope weights(4);
    Sequential model(Dropout<double>({.p = 0.5}), Linear<double>({.in_features = 40, .out_features = 10}));
    AdamW<double> optimizer(named_parameters(model));
    Trainer trainer(model, CrossEntropyLoss<double>(), optimizer, ConstantSchedule{}, {.seed = seed, .first_step = first_step});
    Tensor<double, 2> x({1, 40});
    for (Index i = 0; i < 40; ++i) x[i] = static_cast<double>(i) / 10;
    return trainer.step(x, std::vector<int>{3}).loss;
  };
  CHECK(loss(1, 0) == loss(1, 0));
  CHECK(loss(1, 0) != loss(2, 0));
  CHECK(loss(1, 0) != loss(1, 1));
}

TEST_CASE("targets that are a tensor: regression, yes or no, probabilities; whole and in shards") {
  const auto x = reference::random_tensor<double, 2>({12, 5}, 1), targets = reference::random_tensor<double, 2>({12, 3}, 2);
  Tensor<double, 2> shares({12, 3});  // of three classes
  for (Index r = 0; r < 12; ++r)
    for (Index c = 0; c < 3; ++c) shares(r, c) = c == r % 3 ? 0.6 : 0.2;
  Tensor<double, 2> ones({12, 3});
  for (Index i = 0; i < ones.size(); ++i) ones[i] = static_cast<double>(i % 2);
  const auto net = [] {
    SeedScope seed(1);
    return Sequential(
        Linear<double>({.in_features = 5, .out_features = 8}), Gelu<double>(), Linear<double>({.in_features = 8, .out_features = 3}));
  };
  const auto check = [&](auto loss, const Tensor<double, 2>& wanted) {
    // By hand: the gradient of the whole batch.
    auto plain = net();
    decltype(plain)::Cache cache;
    Tensor<double, 2> d_y;
    const auto y = plain.forward(x, cache);
    const double value = loss(y.as_rows(), wanted.as_rows(), d_y);
    static_cast<void>(plain.backward(d_y, cache));
    Sgd<double> step(named_parameters(plain), {.learning_rate = 0.1});
    step.step();
    for (Index shards : {1, 3, 5}) {
      INFO(shards << " shards");
      auto trained = net();
      Sgd<double> optimizer(named_parameters(trained), {.learning_rate = 0.1});
      Trainer trainer(trained, loss, optimizer, ConstantSchedule{}, {.shards = shards});
      const StepReport report = trainer.step(x, wanted);
      CHECK(report.images == 12);
      CHECK(report.correct == 0);
      const bool sum = loss.options().reduction == Reduction::sum;
      CHECK(report.loss == Approx(sum ? value / 12 : value).epsilon(1e-12));
      const auto expected = named_parameters(plain), got = named_parameters(trained);
      for (std::size_t p = 0; p < got.size(); ++p)
        for (Index i = 0; i < got[p].parameter->size(); ++i)
          REQUIRE(got[p].parameter->value()[i] == Approx(expected[p].parameter->value()[i]).epsilon(1e-12).margin(1e-14));
      trainer.step(TensorView<const double, 2>(x), TensorView<const double, 2>(wanted));  // views as well
      CHECK_THROWS_WITH(trainer.step(x, x), contains("x3, the targets are "));
    }
  };
  check(MSELoss<double>(), targets);
  check(MSELoss<double>({.reduction = Reduction::sum}), targets);
  check(BCEWithLogitsLoss<double>(), ones);
  check(CrossEntropyLoss<double>({.label_smoothing = 0.1}), shares);
}
