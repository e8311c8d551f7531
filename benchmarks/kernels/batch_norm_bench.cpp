// SPDX-License-Identifier: MIT
#include <benchmark/benchmark.h>

#include <heed/layers/batch_norm2d.hpp>

namespace {

using namespace heed;

Tensor<float, 4> counted() {
  Tensor<float, 4> x({64, 32, 32, 64});
  for (Index i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i * 37 % 101) / 50 - 1;
  return x;
}

/// 8 operations an element forward, three times as many with backward (the peer's count).
void count_flops(benchmark::State& state, double passes) {
  state.counters["GFLOPS"] = benchmark::Counter(1e-9 * 8 * passes * 64 * 64 * 1024, benchmark::Counter::kIsIterationInvariantRate);
}

void batch_norm_forward(benchmark::State& state) {  // with the batch's statistics, as the peer's
  const BatchNorm2d<float> layer({.num_features = 64});
  BatchNorm2d<float>::Cache cache;
  const auto x = counted();
  for (auto _ : state) benchmark::DoNotOptimize(layer.forward(x, cache).data());
  count_flops(state, 1);
}
BENCHMARK(batch_norm_forward)->Name("batch_norm/64x32x32x64/forward")->UseRealTime()->Unit(benchmark::kMillisecond);

void batch_norm_forward_backward(benchmark::State& state) {
  BatchNorm2d<float> layer({.num_features = 64});
  BatchNorm2d<float>::Cache cache;
  const auto x = counted();
  for (auto _ : state) {
    const auto y = layer.forward(x, cache);
    benchmark::DoNotOptimize(layer.backward(y, cache).data());
  }
  count_flops(state, 3);
}
BENCHMARK(batch_norm_forward_backward)->Name("batch_norm/64x32x32x64/forward_backward")->UseRealTime()->Unit(benchmark::kMillisecond);

}  // namespace
