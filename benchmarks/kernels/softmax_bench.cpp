// SPDX-License-Identifier: MIT
#include <benchmark/benchmark.h>

#include <heed/kernels/softmax.hpp>

#include "wall_clock.hpp"

namespace {

using namespace heed;

constexpr Index kRows = 8192, kWidth = 1024;

Tensor<float, 2> counted() {
  Tensor<float, 2> x({kRows, kWidth});
  for (Index i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i % 101) / 25 - 2;
  return x;
}

/// 5 operations an element forward, three times as many with backward (the peer's count).
void count_flops(benchmark::State& state, const WallClock& clock, double passes) {
  state.counters["GFLOPS"] = clock.rate(state, 1e-9 * 5 * passes * static_cast<double>(kRows * kWidth));
}

void softmax_forward(benchmark::State& state) {
  const auto x = counted();
  const WallClock clock;
  for (auto _ : state) {
    auto y = Tensor<float, 2>::uninitialized(x.shape());
    kernels::softmax_forward({kRows, kWidth}, x.data(), y.data());
    benchmark::DoNotOptimize(y.data());
  }
  count_flops(state, clock, 1);
}
BENCHMARK(softmax_forward)->Name("softmax/8192x1024/forward")->Unit(benchmark::kMillisecond);

void softmax_forward_backward(benchmark::State& state) {
  const auto x = counted();
  const WallClock clock;
  for (auto _ : state) {
    auto y = Tensor<float, 2>::uninitialized(x.shape()), dx = Tensor<float, 2>::uninitialized(x.shape());
    kernels::softmax_forward({kRows, kWidth}, x.data(), y.data());
    kernels::softmax_backward({kRows, kWidth}, y.data(), x.data(), dx.data());
    benchmark::DoNotOptimize(dx.data());
  }
  count_flops(state, clock, 3);
}
BENCHMARK(softmax_forward_backward)->Name("softmax/8192x1024/forward_backward")->Unit(benchmark::kMillisecond);

}  // namespace
