// SPDX-License-Identifier: MIT
// Training on fixed shards of each batch: the same bits from any number of ranks and threads.
#include "catch.hpp"

#include <atomic>
#include <cmath>
#include <limits>
#include <mutex>
#include <string>
#include <vector>

#include <heed/compose/sequential.hpp>
#include <heed/data/batches.hpp>
#include <heed/data/generated.hpp>
#include <heed/io/model_file.hpp>
#include <heed/layers/batch_norm2d.hpp>
#include <heed/layers/conv2d.hpp>
#include <heed/layers/dropout.hpp>
#include <heed/layers/embedding.hpp>
#include <heed/layers/flatten.hpp>
#include <heed/layers/gelu.hpp>
#include <heed/layers/global_max_pool2d.hpp>
#include <heed/layers/linear.hpp>
#include <heed/layers/max_pool2d.hpp>
#include <heed/optim/adam.hpp>
#include <heed/train/trainer.hpp>

#include "thread_ranks.hpp"

using namespace heed;

namespace {

auto image_net(double dropout = 0.2) {
  const SeedScope seed(1);
  return Sequential(Conv2d<float>({.in_channels = 3, .out_channels = 8, .kernel_size = 3, .stride = 2, .padding = 1}),
      BatchNorm2d<float>({.num_features = 8}), Gelu<float>(), MaxPool2d<float>({.kernel_size = 2}), Dropout<float>({.p = dropout}),
      Conv2d<float>({.in_channels = 8, .out_channels = 12, .kernel_size = 3, .padding = 1}), GlobalMaxPool2d<float>(),
      Linear<float>({.in_features = 12, .out_features = 10}));
}

const ImageDataset& images() {
  static const ImageDataset all = generated_images({.train = 60, .test = 10}).train;
  return all;
}

struct Outcome {
  std::string hash;
  double loss = 0;
  Index correct = 0;
  friend bool operator==(const Outcome&, const Outcome&) = default;
};

/// An epoch of batches of 24, 24 and 12 images, or of others.
Outcome trained(Index shards, Communicator* ranks, int threads = 1, Index batch_size = 24) {
  const ThreadScope scope(threads);
  auto net = image_net();
  AdamW<float> optimizer(named_parameters(net), {.learning_rate = 1e-2});
  Trainer trainer(net, CrossEntropyLoss<float>({.label_smoothing = 0.1}), optimizer, ConstantSchedule{},
      {.seed = 7, .max_gradient_norm = 0.5, .shards = shards, .communicator = ranks});
  Batches<float> batches(images(), {.batch_size = batch_size, .shuffle = true, .seed = 7, .normalization = Normalization::cifar10()});
  const EpochReport report = trainer.run_epoch(batches, 0);
  return {weights_hash(net), report.loss(), report.correct};
}

}  // namespace

TEST_CASE("shards: any ranks and threads train the same weights") {
  for (Index shards : {4, 5}) {
    const Outcome expected = trained(shards, nullptr);
    CHECK(std::isfinite(expected.loss));
    CHECK(trained(shards, nullptr, 3) == expected);
    for (int ranks : {1, 2, 3, 4})
      ThreadRanks::run(ranks, [&](Communicator& own) {
        const Outcome mine = trained(shards, &own, own.rank() + 1);
        static std::mutex mutex;
        const std::lock_guard lock(mutex);
        CHECK(mine == expected);
      });
  }
  CHECK(trained(4, nullptr).hash != trained(5, nullptr).hash);
  CHECK(trained(1, nullptr).hash != trained(4, nullptr).hash);
  SingleProcess alone;
  CHECK(trained(1, &alone) == trained(1, nullptr));
}

TEST_CASE("shards: a last batch of fewer images than ranks trains the same weights") {
  for (Index batch_size : {29, 2}) {  // batches of 29, 29 and 2 images; of 2, already where no parameter has a gradient
    const Outcome expected = trained(4, nullptr, 1, batch_size);
    for (int ranks : {3, 4})
      ThreadRanks::run(ranks, [&](Communicator& own) {
        const Outcome mine = trained(4, &own, 1, batch_size);
        static std::mutex mutex;
        const std::lock_guard lock(mutex);
        CHECK(mine == expected);
      });
  }
}

TEST_CASE("shards: the gradient is that of the whole batch, but for rounding and batch statistics") {
  const auto gradients = [](Index shards) {
    const SeedScope seed(2);
    Sequential net(Flatten<double>(), Linear<double>({.in_features = 3072, .out_features = 9}), Gelu<double>(),
        Linear<double>({.in_features = 9, .out_features = 10}));
    Batches<double> batches(images(), {.batch_size = 23});
    AdamW<double> optimizer(named_parameters(net), {.learning_rate = 0});
    Trainer trainer(net, CrossEntropyLoss<double>(), optimizer, ConstantSchedule{}, {.shards = shards});
    const auto& batch = *batches.next();
    const StepReport step = trainer.step(batch.images, batch.labels);
    std::vector<double> all{step.loss, static_cast<double>(step.correct), static_cast<double>(step.images)};
    for (const auto& [name, parameter] : named_parameters(net))
      all.insert(all.end(), parameter->gradient(), parameter->gradient() + parameter->size());
    return all;
  };
  const auto whole = gradients(1);
  for (Index shards : {2, 3, 8, 23, 40}) {
    const auto cut = gradients(shards);
    double worst = 0;
    for (std::size_t i = 0; i < whole.size(); ++i) worst = std::max(worst, std::abs(cut[i] - whole[i]));
    CHECK(worst < 1e-14);
  }
}

TEST_CASE("shards: weights of classes, labels that are ignored, and sums are those of the whole batch") {
  const auto trained = [](const CrossEntropyOptions& options, Index shards) {
    const SeedScope seed(3);
    Sequential net(Linear<double>({.in_features = 4, .out_features = 3}));
    AdamW<double> optimizer(named_parameters(net), {.learning_rate = 0});
    Trainer trainer(net, CrossEntropyLoss<double>(options), optimizer, ConstantSchedule{}, {.shards = shards});
    Tensor<double, 2> x({8, 4});
    for (Index i = 0; i < x.size(); ++i) x[i] = static_cast<double>(i * 5 % 7) / 7;
    const StepReport step = trainer.step(x, std::vector<int>{0, 1, 1, 0, 2, 2, 0, 1});
    std::vector<double> all{step.loss, static_cast<double>(step.correct), static_cast<double>(step.images)};
    for (const auto& [name, parameter] : named_parameters(net))
      all.insert(all.end(), parameter->gradient(), parameter->gradient() + parameter->size());
    return all;
  };
  for (const CrossEntropyOptions& options : {CrossEntropyOptions{.weight = {0.25, 2, 1}}, CrossEntropyOptions{.ignore_index = 0},
           CrossEntropyOptions{.ignore_index = 2}, CrossEntropyOptions{.reduction = Reduction::sum}}) {
    const auto whole = trained(options, 1);
    for (Index shards : {2, 4, 8}) {
      const auto cut = trained(options, shards);
      for (std::size_t i = 0; i < whole.size(); ++i) CHECK(std::abs(cut[i] - whole[i]) < 1e-14);
    }
  }
}

TEST_CASE("shards: tokens with a label each are cut by sequences") {
  const auto losses = [](Index shards) {
    const SeedScope seed(3);
    Sequential net(Embedding<double>({.num_embeddings = 11, .embedding_dim = 6}), Linear<double>({.in_features = 6, .out_features = 11}));
    AdamW<double> optimizer(named_parameters(net), {.learning_rate = 1e-2});
    Trainer trainer(net, CrossEntropyLoss<double>(), optimizer, ConstantSchedule{}, {.shards = shards});
    Tensor<std::int64_t, 2> tokens({5, 4});
    std::vector<int> labels(20);
    for (Index i = 0; i < 20; ++i) tokens[i] = i * 3 % 11, labels[static_cast<std::size_t>(i)] = static_cast<int>(i * 7 % 11);
    trainer.step(tokens, labels);
    return trainer.step(tokens, labels).loss;
  };
  CHECK(losses(3) == Approx(losses(1)).epsilon(1e-12));
}

TEST_CASE("shards: dropout draws otherwise in each, and in the first as in a whole batch") {
  const auto loss = [](Index shards, Index copies) {
    const SeedScope seed(4);
    Sequential net(Dropout<double>({.p = 0.5}), Linear<double>({.in_features = 40, .out_features = 10}));
    AdamW<double> optimizer(named_parameters(net));
    Trainer trainer(net, CrossEntropyLoss<double>(), optimizer, ConstantSchedule{}, {.seed = 9, .shards = shards});
    Tensor<double, 2> x({copies, 40});
    for (Index i = 0; i < x.size(); ++i) x[i] = static_cast<double>(i % 40) / 10;  // equal rows
    return trainer.step(x, std::vector<int>(static_cast<std::size_t>(copies), 3)).loss;
  };
  const double first = loss(1, 1), both = loss(2, 2);
  CHECK(std::abs(both - first) > 1e-3);  // the second row is masked otherwise
  CHECK(loss(2, 1) == Approx(first));    // one image, one shard
}

TEST_CASE("shards: all ranks stop after the same step") {
  std::atomic<int> first{0};
  ThreadRanks::run(3, [&](Communicator& ranks) {
    auto net = image_net();
    AdamW<float> optimizer(named_parameters(net));
    Trainer trainer(net, CrossEntropyLoss<float>(), optimizer, ConstantSchedule{}, {.shards = 3, .communicator = &ranks});
    Batches<float> batches(images(), {.batch_size = 6});
    const EpochReport report = trainer.run_epoch(batches, 0, [&](const StepReport& step) {
      if (ranks.rank() == 1 && step.step == 2) trainer.request_stop();
    });
    if (report.stopped && report.steps == 4) ++first;
  });
  CHECK(first == 3);
}

TEST_CASE("shards: a loss that is no number ends the training of every rank, with weights as they were") {
  std::atomic<int> ended{0};
  ThreadRanks::run(2, [&](Communicator& ranks) {
    auto net = image_net(0);
    const std::string before = weights_hash(net);
    AdamW<float> optimizer(named_parameters(net));
    Trainer trainer(net, CrossEntropyLoss<float>(), optimizer, ConstantSchedule{}, {.shards = 4, .communicator = &ranks});
    Tensor<float, 4> x(image_shape(8, 32, 32, 3));
    x.data()[7 * 3072] = std::numeric_limits<float>::quiet_NaN();  // the last image: one rank's
    try {
      trainer.step(x, std::vector<int>(8, 1));
    } catch (const AnomalyError& error) {
      const std::string said = error.what();  // on the other rank, too, whose images are right
      if (said.find("the batch holds nan") != std::string::npos && said.find("at step 0") != std::string::npos &&
          weights_hash(net) == before)
        ++ended;
    }
  });
  CHECK(ended == 2);
}

TEST_CASE("shards: what an AnomalyScope finds on one rank is the sentence of all") {
  std::vector<std::string> said(3);
  ThreadRanks::run(3, [&](Communicator& ranks) {
    auto net = image_net(0);
    AdamW<float> optimizer(named_parameters(net));
    Trainer trainer(net, CrossEntropyLoss<float>(), optimizer, ConstantSchedule{}, {.shards = 4, .communicator = &ranks});
    Tensor<float, 4> x(image_shape(8, 32, 32, 3));
    x.data()[7 * 3072] = std::numeric_limits<float>::infinity();  // the last image: the last rank's
    const AnomalyScope watched;
    try {
      trainer.step(x, std::vector<int>(8, 1));
    } catch (const AnomalyError& error) {
      said[static_cast<std::size_t>(ranks.rank())] = error.what();
    }
  });
  for (const std::string& words : said) CHECK(words == "Trainer: the batch holds inf at element 3072 of 2x32x32x3, at step 0");
}

TEST_CASE("shards: their number is checked") {
  auto net = image_net();
  AdamW<float> optimizer(named_parameters(net));
  CHECK_THROWS_WITH(Trainer(net, CrossEntropyLoss<float>(), optimizer, ConstantSchedule{}, {.shards = 0}), contains("shards is 0"));
}
