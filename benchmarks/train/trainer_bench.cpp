// SPDX-License-Identifier: MIT
// One training step (forward, cross-entropy, backward, AdamW) and one inference pass of the example's nets, batch 256, on random images.
#include <string>
#include <vector>

#include <benchmark/benchmark.h>

#include <heed/core/random.hpp>
#include <heed/optim/adam.hpp>
#include <heed/train/trainer.hpp>

#include "nets.hpp"

#include "wall_clock.hpp"

namespace {

using namespace heed;

constexpr Index kBatch = 256;

Tensor<float, 4> random_images() {
  Tensor<float, 4> x(image_shape(kBatch, 32, 32, 3));
  const CounterRandom random({1});
  for (Index i = 0; i < x.size(); ++i) x[i] = static_cast<float>(random.normal(static_cast<std::uint64_t>(i)));
  return x;
}

/// Images a second, and the arithmetic of matrix products and convolutions alone (docs/cifar10.md), as the peers count it.
void report(benchmark::State& state, const WallClock& clock, double mflop_per_image) {
  state.counters["images"] = clock.rate(state, static_cast<double>(kBatch));
  state.counters["GFLOPS"] = clock.rate(state, 1e-3 * mflop_per_image * static_cast<double>(kBatch));
}

void train_step(benchmark::State& state, const char* net, double mflop) {
  const SeedScope seed(1);
  auto model = cifar10::make_net<float>({.net = net});
  AdamW<float> optimizer(named_parameters(model), {.learning_rate = 1e-3});
  Trainer trainer(model, CrossEntropyLoss<float>(), optimizer);
  const auto x = random_images();
  std::vector<int> labels(static_cast<std::size_t>(kBatch));
  for (std::size_t i = 0; i < labels.size(); ++i) labels[i] = static_cast<int>(i % 10);
  trainer.step(x, labels);
  const WallClock clock;
  for (auto _ : state) benchmark::DoNotOptimize(trainer.step(x, labels).loss);
  report(state, clock, mflop);
}

void predict(benchmark::State& state, const char* net, double mflop) {
  const SeedScope seed(1);
  const auto model = cifar10::make_net<float>({.net = net});
  const auto x = random_images();
  model.forward(x);
  const WallClock clock;
  for (auto _ : state) benchmark::DoNotOptimize(model.forward(x).data());
  report(state, clock, mflop / 3);
}

[[maybe_unused]] const bool registered = [] {
  for (const auto& [net, mflop] : {std::pair{"demo", 85.6}, std::pair{"small", 212.0}, std::pair{"large", 785.0}}) {
    benchmark::RegisterBenchmark(("train_step/" + std::string(net)).c_str(), train_step, net, mflop)->Unit(benchmark::kMillisecond);
    benchmark::RegisterBenchmark(("predict/" + std::string(net)).c_str(), predict, net, mflop)->Unit(benchmark::kMillisecond);
  }
  return true;
}();

}  // namespace
