// SPDX-License-Identifier: MIT
#include "catch.hpp"

#include <string>
#include <vector>

#include <heed/compose/sequential.hpp>
#include <heed/io/checkpoint.hpp>
#include <heed/layers/gelu.hpp>
#include <heed/layers/linear.hpp>
#include <heed/optim/adam.hpp>
#include <heed/optim/joint_optimizer.hpp>
#include <heed/optim/muon.hpp>
#include <heed/train/trainer.hpp>

#include "io/scratch_folder.hpp"

using namespace heed;

namespace {

auto net() {
  const SeedScope scope(3);
  return Sequential(named("hidden", Linear<float>({.in_features = 5, .out_features = 12})), named("gelu", Gelu<float>()),
      named("head", Linear<float>({.in_features = 12, .out_features = 3})));
}

template <class Model>
std::vector<NamedParameter<float>> chosen(Model& model, bool hidden) {
  std::vector<NamedParameter<float>> result;
  for (const auto& p : named_parameters(model))
    if ((p.name == "hidden.weight") == hidden) result.push_back(p);
  return result;
}

/// A model with Muon for its hidden matrix and AdamW for the rest.
struct Training {
  decltype(net()) model = net();
  Muon<float> muon{chosen(model, true), {.learning_rate = 0.02}};
  AdamW<float> adam{chosen(model, false), {.learning_rate = 0.01}};

  Training() = default;
  Training(const Training&) = delete;
  Training& operator=(const Training&) = delete;
};

struct Drawn {
  Tensor<float, 2> images{{8, 5}};
  std::vector<int> labels = {0, 1, 2, 0, 1, 2, 0, 1};

  explicit Drawn(Index step) {
    for (Index i = 0; i < images.size(); ++i) images[i] = static_cast<float>((i * 37 + step * 11) % 23) / 23 - 0.5f;
  }
};

}  // namespace

TEST_CASE("a joint optimiser makes the steps of its members, to the bit") {
  Training apart, joint;
  JointOptimizer<float> both({&joint.muon, &joint.adam});
  CHECK(both.kind() == "Muon + AdamW");
  const WarmupSchedule schedule{.steps = 10, .warmup_steps = 3};
  Trainer trainer(joint.model, CrossEntropyLoss<float>(), both, schedule);
  decltype(apart.model)::Cache cache;
  Tensor<float, 2> d_logits;
  for (Index step = 0; step < 10; ++step) {
    const Drawn batch(step);
    apart.muon.zero_gradients();
    apart.adam.zero_gradients();
    const auto logits = apart.model.forward(batch.images, cache);
    CrossEntropyLoss<float>()(logits, batch.labels, d_logits);
    static_cast<void>(apart.model.backward(d_logits, cache));
    apart.muon.step(schedule(step));
    apart.adam.step(schedule(step));
    trainer.step(batch.images, batch.labels);
  }
  CHECK(weights_hash(joint.model) == weights_hash(apart.model));
  CHECK(weights_hash(joint.model) != weights_hash(net()));
  for (const auto& [name, count] : both.named_step_counts()) CHECK(*count == 10);
}

TEST_CASE("state and counts of a joint optimiser are those of its members, and a checkpoint keeps them") {
  const ScratchFolder folder;
  Training training, resumed;
  JointOptimizer<float> both({&training.muon, &training.adam}), other({&resumed.muon, &resumed.adam});
  std::vector<std::string> names;
  for (const auto& state : both.named_state()) names.push_back(state.name);
  CHECK(names == std::vector<std::string>{"hidden.weight.momentum_buffer", "hidden.bias.exp_avg", "hidden.bias.exp_avg_sq",
                     "head.weight.exp_avg", "head.weight.exp_avg_sq", "head.bias.exp_avg", "head.bias.exp_avg_sq"});
  names.clear();
  for (const auto& count : both.named_step_counts()) names.push_back(count.name);
  CHECK(names == std::vector<std::string>{"hidden.weight.step", "hidden.bias.step", "head.weight.step", "head.bias.step"});

  const auto steps = [](Training& t, JointOptimizer<float>& optimizer, Index first, Index last) {
    Trainer trainer(t.model, CrossEntropyLoss<float>(), optimizer, ConstantSchedule(), {.first_step = first});
    for (Index step = first; step < last; ++step) trainer.step(Drawn(step).images, Drawn(step).labels);
  };
  steps(training, both, 0, 4);
  const std::string path = folder.file("checkpoint.safetensors");
  io::save_checkpoint(path, training.model, both);
  steps(training, both, 4, 7);
  io::load_checkpoint(path, resumed.model, other);
  steps(resumed, other, 4, 7);
  CHECK(weights_hash(resumed.model) == weights_hash(training.model));
  CHECK_THROWS_WITH(io::load_checkpoint(path, resumed.model, resumed.adam), contains("optimizer: expected AdamW, found \"Muon + AdamW\""));
}

TEST_CASE("gradients of all members end, and a refused factor moves none") {
  Training training;
  JointOptimizer<float> both({&training.muon, &training.adam});
  const std::string before = weights_hash(training.model);
  for (const auto& [name, parameter] : named_parameters(training.model)) std::fill_n(parameter->gradient(), parameter->size(), 1.0f);
  CHECK_THROWS_AS(both.step(-1), std::invalid_argument);
  CHECK(weights_hash(training.model) == before);
  for (const auto& [name, count] : both.named_step_counts()) CHECK(*count == 0);
  both.zero_gradients();
  for (const auto& [name, parameter] : named_parameters(training.model))
    for (Index i = 0; i < parameter->size(); ++i) CHECK(parameter->gradient()[i] == 0);
}

TEST_CASE("where one member cannot step, none does") {
  Training training;
  Parameter<float> vector({3});
  vector.freeze();
  Muon<float> matrices({{"vector", &vector}}, {});
  JointOptimizer<float> both({&training.adam, &matrices});
  const std::string before = weights_hash(training.model);
  for (const auto& [name, parameter] : named_parameters(training.model)) std::fill_n(parameter->gradient(), parameter->size(), 1.0f);
  vector.freeze(false), vector.gradient()[0] = 1;
  CHECK_THROWS_WITH(both.step(), contains("Muon: vector is a vector (3)"));
  CHECK(weights_hash(training.model) == before);
  for (const auto& [name, count] : both.named_step_counts()) CHECK(*count == 0);
}

TEST_CASE("a parameter belongs to one member") {
  Training training;
  AdamW<float> all(named_parameters(training.model));
  CHECK_THROWS_WITH((JointOptimizer<float>({&training.muon, &all})), contains("two of the optimisers step \"hidden.weight\""));
  auto renamed = named_parameters(training.model);  // one weight under two names
  for (auto& own : renamed) own.name += "_too", own.parameter->freeze();
  AdamW<float> same(renamed);
  CHECK_THROWS_WITH((JointOptimizer<float>({&training.muon, &same})), contains("two of the optimisers step \"hidden.weight_too\""));
  CHECK_THROWS_WITH((JointOptimizer<float>({&training.muon, nullptr})), contains("an optimiser is null"));
  CHECK_THROWS_WITH(JointOptimizer<float>(std::vector<Optimizer<float>*>()), contains("there are no optimisers"));
}
