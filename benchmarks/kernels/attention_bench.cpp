// SPDX-License-Identifier: MIT
// attention/BxHxTxD[/causal]/forward and .../forward_backward[/dropout], named and counted as in PyTorch's peer script: a multiply-add is two
// operations, forward 4 B H T² D (half of it when causal), backward 2.5 times that.
#include <functional>
#include <string>

#include <benchmark/benchmark.h>

#include <heed/core/random.hpp>
#include <heed/layers/scaled_dot_product_attention.hpp>

#include "wall_clock.hpp"

namespace {

using namespace heed;

struct Problem {
  Index batches, heads, tokens, width;
  bool causal;

  std::string name() const {
    return "attention/" + std::to_string(batches) + "x" + std::to_string(heads) + "x" + std::to_string(tokens) + "x" +
           std::to_string(width) + (causal ? "/causal" : "");
  }
  Tensor<float, 4> operand(std::uint64_t seed) const {
    Tensor<float, 4> x({batches, heads, tokens, width});
    const CounterRandom random({seed});
    for (Index i = 0; i < x.size(); ++i)
      x[i] = static_cast<float>(random.uniform(static_cast<std::uint64_t>(i), -1.7, 1.7));  // deviation 1
    return x;
  }
  void count(benchmark::State& state, const WallClock& clock, double passes) const {
    const double flops = 4.0 * static_cast<double>(batches * heads * width) * static_cast<double>(tokens * tokens) * (causal ? 0.5 : 1);
    state.counters["GFLOPS"] = clock.rate(state, 1e-9 * flops * passes);
  }
};

void forward(benchmark::State& state, const Problem& problem) {
  const ScaledDotProductAttention<float> layer({.causal = problem.causal});
  const auto q = problem.operand(1), k = problem.operand(2), v = problem.operand(3);
  const WallClock clock;
  for (auto _ : state) benchmark::DoNotOptimize(layer.forward(q, k, v).data());
  problem.count(state, clock, 1);
}

void forward_backward(benchmark::State& state, const Problem& problem, double dropout) {
  ScaledDotProductAttention<float> layer({.causal = problem.causal, .dropout = dropout});
  ScaledDotProductAttention<float>::Cache cache;
  const auto q = problem.operand(1), k = problem.operand(2), v = problem.operand(3), dy = problem.operand(4);
  const WallClock clock;
  for (auto _ : state) {
    layer.forward(q, k, v, cache);
    benchmark::DoNotOptimize(std::get<0>(layer.backward(dy, cache)).data());
  }
  problem.count(state, clock, 3.5);
}

void add(const std::string& name, const std::function<void(benchmark::State&)>& run) {
  benchmark::RegisterBenchmark(name.c_str(), run)->Unit(benchmark::kMillisecond);
}

const bool registered = [] {
  constexpr Problem problems[] = {{64, 4, 64, 32, false}, {64, 8, 64, 64, false}, {8, 12, 197, 64, false}, {1, 8, 1024, 64, false},
      {1, 8, 4096, 64, false}, {1, 1, 2048, 128, false}, {1, 8, 2048, 64, true}};
  for (const Problem& p : problems) {
    add(p.name() + "/forward", [p](benchmark::State& state) { forward(state, p); });
    add(p.name() + "/forward_backward", [p](benchmark::State& state) { forward_backward(state, p, 0); });
    if (p.batches == 8 || p.tokens == 64)
      add(p.name() + "/forward_backward/dropout", [p](benchmark::State& state) { forward_backward(state, p, 0.1); });
  }
  return true;
}();

}  // namespace
