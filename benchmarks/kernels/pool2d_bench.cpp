// SPDX-License-Identifier: MIT
#include <benchmark/benchmark.h>

#include <heed/layers/avg_pool2d.hpp>
#include <heed/layers/max_pool2d.hpp>

#include "wall_clock.hpp"

namespace {

using namespace heed;

Tensor<float, 4> counted() {
  Tensor<float, 4> x({64, 32, 32, 64});
  for (Index i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i * 37 % 101) / 50 - 1;
  return x;
}

/// One operation an input element forward, three times as many with backward (the peer's count).
void count_flops(benchmark::State& state, const WallClock& clock, double passes) {
  state.counters["GFLOPS"] = clock.rate(state, 1e-9 * passes * 64 * 64 * 1024);
}

template <class Pool>
void pool_forward(benchmark::State& state) {
  const Pool layer({.kernel_size = 2});
  const auto x = counted();
  const WallClock clock;
  for (auto _ : state) benchmark::DoNotOptimize(layer.forward(x).data());
  count_flops(state, clock, 1);
}

template <class Pool>
void pool_forward_backward(benchmark::State& state) {
  Pool layer({.kernel_size = 2});
  typename Pool::Cache cache;
  const auto x = counted();
  const WallClock clock;
  for (auto _ : state) {
    const auto y = layer.forward(x, cache);
    benchmark::DoNotOptimize(layer.backward(y, cache).data());
  }
  count_flops(state, clock, 3);
}

BENCHMARK(pool_forward<MaxPool2d<float>>)->Name("max_pool2d/64x32x32x64/forward")->Unit(benchmark::kMillisecond);
BENCHMARK(pool_forward_backward<MaxPool2d<float>>)->Name("max_pool2d/64x32x32x64/forward_backward")->Unit(benchmark::kMillisecond);
BENCHMARK(pool_forward<AvgPool2d<float>>)->Name("avg_pool2d/64x32x32x64/forward")->Unit(benchmark::kMillisecond);
BENCHMARK(pool_forward_backward<AvgPool2d<float>>)->Name("avg_pool2d/64x32x32x64/forward_backward")->Unit(benchmark::kMillisecond);

}  // namespace
