// SPDX-License-Identifier: MIT
#include <benchmark/benchmark.h>

#include <heed/layers/linear.hpp>

#include "wall_clock.hpp"

namespace {

using namespace heed;

void count_flops(benchmark::State& state, const WallClock& clock, double multiply_adds) {
  state.counters["GFLOPS"] = clock.rate(state, 2e-9 * multiply_adds);
}

constexpr Index kRows = 4096, kIn = 256, kOut = 1024;
constexpr double kProducts = static_cast<double>(kRows * kIn * kOut);

Tensor<float, 2> counted(Index rows, Index cols) {
  Tensor<float, 2> x({rows, cols});
  for (Index i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i % 101) / 50 - 1;
  return x;
}

void linear_forward(benchmark::State& state) {
  const Linear<float> layer({.in_features = kIn, .out_features = kOut});
  const auto x = counted(kRows, kIn);
  const WallClock clock;
  for (auto _ : state) benchmark::DoNotOptimize(layer.forward(x).data());
  count_flops(state, clock, kProducts);
}
BENCHMARK(linear_forward)->Name("linear/4096x256->1024/forward")->Unit(benchmark::kMillisecond);

void linear_forward_backward(benchmark::State& state) {
  Linear<float> layer({.in_features = kIn, .out_features = kOut});
  Linear<float>::Cache cache;
  const auto x = counted(kRows, kIn);
  const WallClock clock;
  for (auto _ : state) {
    const auto y = layer.forward(x, cache);
    benchmark::DoNotOptimize(layer.backward(y, cache).data());
  }
  count_flops(state, clock, 3 * kProducts);
}
BENCHMARK(linear_forward_backward)->Name("linear/4096x256->1024/forward_backward")->Unit(benchmark::kMillisecond);

/// C = A B of square matrices.
void gemm(benchmark::State& state) {
  const Index n = state.range(0);
  const auto a = counted(n, n), b = counted(n, n);
  Tensor<float, 2> c({n, n});
  const WallClock clock;
  for (auto _ : state) {
    kernels::gemm<float>(n, n, n, {a.data(), n}, {b.data(), n}, c.data(), n);
    benchmark::DoNotOptimize(c.data());
  }
  count_flops(state, clock, static_cast<double>(n * n * n));
}
BENCHMARK(gemm)->Name("gemm")->Arg(64)->Arg(256)->Arg(512)->Arg(1024)->Arg(2048)->Unit(benchmark::kMillisecond);

}  // namespace
