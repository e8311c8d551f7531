// SPDX-License-Identifier: MIT
// encoder_block/BxTxCxH/forward and .../forward_backward: batch, tokens, width, heads; norms first, a feed-forward net of 4 C with exact GELU, no
// dropout. Named and counted as in PyTorch's peer script: matrix products alone, forward 24 B T C² + 4 B T² C, with backward three times that.
#include <string>

#include <benchmark/benchmark.h>

#include <heed/core/random.hpp>
#include <heed/layers/transformer_encoder_layer.hpp>

#include "wall_clock.hpp"

namespace {

using namespace heed;

struct Problem {
  Index batches, tokens, width, heads;

  std::string name() const {
    return "encoder_block/" + std::to_string(batches) + "x" + std::to_string(tokens) + "x" + std::to_string(width) + "x" +
           std::to_string(heads);
  }
  TransformerEncoderLayer<float> layer() const {
    return TransformerEncoderLayer<float>({.d_model = width,
        .nhead = heads,
        .dim_feedforward = 4 * width,
        .dropout = 0,
        .activation = FeedForwardActivation::gelu,
        .norm_first = true});
  }
  Tensor<float, 3> operand(std::uint64_t seed) const {
    Tensor<float, 3> x({batches, tokens, width});
    const CounterRandom random({seed});
    for (Index i = 0; i < x.size(); ++i)
      x[i] = static_cast<float>(random.uniform(static_cast<std::uint64_t>(i), -1.7, 1.7));  // deviation 1
    return x;
  }
  void count(benchmark::State& state, const WallClock& clock, double passes) const {
    const double rows = static_cast<double>(batches * tokens), c = static_cast<double>(width);
    const double flops = 24 * rows * c * c + 4 * rows * static_cast<double>(tokens) * c;
    state.counters["GFLOPS"] = clock.rate(state, 1e-9 * flops * passes);
  }
};

void forward(benchmark::State& state, const Problem& problem) {
  const auto layer = problem.layer();
  const auto x = problem.operand(1);
  const WallClock clock;
  for (auto _ : state) benchmark::DoNotOptimize(layer.forward(x).data());
  problem.count(state, clock, 1);
}

void forward_backward(benchmark::State& state, const Problem& problem) {
  auto layer = problem.layer();
  TransformerEncoderLayer<float>::Cache cache;
  const auto x = problem.operand(1), dy = problem.operand(2);
  const WallClock clock;
  for (auto _ : state) {
    layer.forward(x, cache);
    benchmark::DoNotOptimize(layer.backward(dy, cache).data());
  }
  problem.count(state, clock, 3);
}

[[maybe_unused]] const bool registered = [] {
  constexpr Problem problems[] = {{64, 64, 256, 4}, {8, 197, 768, 12}, {1, 1024, 512, 8}};
  for (const Problem& p : problems) {
    benchmark::RegisterBenchmark((p.name() + "/forward").c_str(), forward, p)->Unit(benchmark::kMillisecond);
    benchmark::RegisterBenchmark((p.name() + "/forward_backward").c_str(), forward_backward, p)->Unit(benchmark::kMillisecond);
  }
  return true;
}();

}  // namespace
