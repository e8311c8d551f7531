// SPDX-License-Identifier: MIT
#include <benchmark/benchmark.h>

#include <heed/layers/batch_norm2d.hpp>

#include "wall_clock.hpp"

namespace {

using namespace heed;

Tensor<float, 4> counted() {
  Tensor<float, 4> x({64, 32, 32, 64});
  for (Index i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i * 37 % 101) / 50 - 1;
  return x;
}

/// 8 operations an element forward, three times as many with backward (the peer's count).
void count_flops(benchmark::State& state, const WallClock& clock, double passes) {
  state.counters["GFLOPS"] = clock.rate(state, 1e-9 * 8 * passes * 64 * 64 * 1024);
}

void batch_norm_forward(benchmark::State& state) {  // with the batch's statistics, as the peer's
  const BatchNorm2d<float> layer({.num_features = 64});
  BatchNorm2d<float>::Cache cache;
  const auto x = counted();
  const WallClock clock;
  for (auto _ : state) benchmark::DoNotOptimize(layer.forward(x, cache).data());
  count_flops(state, clock, 1);
}
BENCHMARK(batch_norm_forward)->Name("batch_norm/64x32x32x64/forward")->Unit(benchmark::kMillisecond);

void batch_norm_forward_backward(benchmark::State& state) {
  BatchNorm2d<float> layer({.num_features = 64});
  BatchNorm2d<float>::Cache cache;
  const auto x = counted();
  const WallClock clock;
  for (auto _ : state) {
    const auto y = layer.forward(x, cache);
    benchmark::DoNotOptimize(layer.backward(y, cache).data());
  }
  count_flops(state, clock, 3);
}
BENCHMARK(batch_norm_forward_backward)->Name("batch_norm/64x32x32x64/forward_backward")->Unit(benchmark::kMillisecond);

}  // namespace
