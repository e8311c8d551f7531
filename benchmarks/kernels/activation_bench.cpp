// SPDX-License-Identifier: MIT
#include <benchmark/benchmark.h>

#include <heed/layers/gelu.hpp>

#include "wall_clock.hpp"

namespace {

using namespace heed;

constexpr Index kRows = 8192, kWidth = 1024;

Tensor<float, 2> counted() {
  Tensor<float, 2> x({kRows, kWidth});
  for (Index i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i % 101) / 25 - 2;
  return x;
}

/// 10 operations an element forward, three times as many with backward (the peer's count).
void count_flops(benchmark::State& state, const WallClock& clock, double passes) {
  state.counters["GFLOPS"] = clock.rate(state, 1e-9 * 10 * passes * static_cast<double>(kRows * kWidth));
}

void gelu_forward(benchmark::State& state, GeluApproximation approximate) {
  const Gelu<float> layer({approximate});
  const auto x = counted();
  const WallClock clock;
  for (auto _ : state) benchmark::DoNotOptimize(layer.forward(x).data());
  count_flops(state, clock, 1);
}
BENCHMARK_CAPTURE(gelu_forward, exact, GeluApproximation::none)->Name("gelu/8192x1024/forward")->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(gelu_forward, tanh, GeluApproximation::tanh)->Name("gelu/8192x1024/tanh/forward")->Unit(benchmark::kMillisecond);

void gelu_forward_backward(benchmark::State& state) {
  Gelu<float> layer;
  Gelu<float>::Cache cache;
  const auto x = counted();
  const WallClock clock;
  for (auto _ : state) {
    const auto y = layer.forward(x, cache);
    benchmark::DoNotOptimize(layer.backward(y, cache).data());
  }
  count_flops(state, clock, 3);
}
BENCHMARK(gelu_forward_backward)->Name("gelu/8192x1024/forward_backward")->Unit(benchmark::kMillisecond);

}  // namespace
