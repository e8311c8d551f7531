// SPDX-License-Identifier: MIT
// After its first step a training step asks the system for no memory: the allocation functions are interposed and counted.
#include "catch.hpp"
#include "count_allocations.hpp"

#include <heed/compose/any_layer.hpp>
#include <heed/core/parallel.hpp>
#include <heed/optim/adam.hpp>
#include <heed/optim/muon.hpp>
#include <heed/optim/schedule.hpp>
#include <heed/train/trainer.hpp>

#include "small_net.hpp"

#if HEED_TEST_INTERPOSES

using namespace heed;

TEST_CASE("The interposed functions count") {
  REQUIRE(allocations_of([] { ::operator delete(::operator new(8)); }) > 0);
  REQUIRE(allocations_of([] { ::operator delete(::operator new(64, std::align_val_t(64)), std::align_val_t(64)); }) > 0);
  REQUIRE(allocations_of([] {}) == 0);
}

TEST_CASE("A training step after the first asks the system for no memory") {
  const ThreadScope threads(quiet_threads());
  for (const auto& [erased, shards] : {std::pair{false, 1}, {true, 1}, {false, 5}}) {
    const auto train = [&, parts = shards](auto model) {
      AdamW<float> optimizer(named_parameters(model), {});
      Trainer trainer(model, CrossEntropyLoss<float>({.label_smoothing = 0.1}), optimizer, ConstantSchedule{},
          {.max_gradient_norm = 1.0, .shards = parts});
      Tensor<float, 4> x({32, 8, 8, 3});
      std::vector<int> labels(32);
      for (Index i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i % 13) * 0.1f - 0.6f;
      for (std::size_t i = 0; i < labels.size(); ++i) labels[i] = static_cast<int>(i % 4);
      trainer.step(x, labels);
      return allocations_of([&] {
        for (int step = 0; step < 3; ++step) trainer.step(x, labels);
      });
    };
    INFO((erased ? "held by AnyLayer" : "compile-time model") << ", shards: " << shards);
    REQUIRE((erased ? train(AnyLayer<float, 4, 2>(small_net())) : train(small_net())) == 0);
  }
}

TEST_CASE("Nor does a training step with Muon, which multiplies matrices") {
  const ThreadScope threads(quiet_threads());
  auto model = small_net();
  std::vector<NamedParameter<float>> matrices;
  for (const auto& p : named_parameters(model))
    if (p.parameter->shape().rank() >= 2) matrices.push_back(p);
  Muon<float> optimizer(matrices);
  Trainer trainer(model, CrossEntropyLoss<float>(), optimizer);
  const Tensor<float, 4> x({32, 8, 8, 3});
  const std::vector<int> labels(32);
  trainer.step(x, labels);
  REQUIRE(allocations_of([&] {
    for (int step = 0; step < 3; ++step) trainer.step(x, labels);
  }) == 0);
}

TEST_CASE("Inference after the first pass asks the system for no memory") {
  const ThreadScope threads(quiet_threads());
  const auto model = small_net();
  Tensor<float, 4> x({5, 8, 8, 3});
  model.forward(x);
  REQUIRE(allocations_of([&] { model.forward(x); }) == 0);
}

#else

TEST_CASE("Allocations are counted in builds without sanitizers and with glibc alone") { SUCCEED(); }

#endif  // HEED_TEST_INTERPOSES
