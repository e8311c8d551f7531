// SPDX-License-Identifier: MIT
#include <benchmark/benchmark.h>

#include <heed/layers/layer_norm.hpp>

#include "wall_clock.hpp"

namespace {

using namespace heed;

constexpr Index kRows = 8192, kWidth = 256;

Tensor<float, 2> counted() {
  Tensor<float, 2> x({kRows, kWidth});
  for (Index i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i % 101) / 50 - 1;
  return x;
}

/// 8 operations an element forward, three times as many with backward (the peer's count).
void count_flops(benchmark::State& state, const WallClock& clock, double passes) {
  state.counters["GFLOPS"] = clock.rate(state, 1e-9 * 8 * passes * static_cast<double>(kRows * kWidth));
}

void layer_norm_forward(benchmark::State& state) {
  const LayerNorm<float> layer({.normalized_shape = {kWidth}});
  const auto x = counted();
  const WallClock clock;
  for (auto _ : state) benchmark::DoNotOptimize(layer.forward(x).data());
  count_flops(state, clock, 1);
}
BENCHMARK(layer_norm_forward)->Name("layer_norm/8192x256/forward")->Unit(benchmark::kMillisecond);

void layer_norm_forward_backward(benchmark::State& state) {
  LayerNorm<float> layer({.normalized_shape = {kWidth}});
  LayerNorm<float>::Cache cache;
  const auto x = counted();
  const WallClock clock;
  for (auto _ : state) {
    const auto y = layer.forward(x, cache);
    benchmark::DoNotOptimize(layer.backward(y, cache).data());
  }
  count_flops(state, clock, 3);
}
BENCHMARK(layer_norm_forward_backward)->Name("layer_norm/8192x256/forward_backward")->Unit(benchmark::kMillisecond);

}  // namespace
