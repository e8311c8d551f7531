// SPDX-License-Identifier: MIT
// adamw/10000000: one step over ten million floats, named and counted as in PyTorch's peer script: 12 operations a number.
#include <vector>

#include <benchmark/benchmark.h>

#include <heed/core/parameter.hpp>
#include <heed/core/random.hpp>
#include <heed/optim/adam.hpp>

#include "wall_clock.hpp"

namespace {

using namespace heed;

void adamw(benchmark::State& state) {
  constexpr Index kCount = 10'000'000;
  Parameter<float> parameter({kCount});
  float* gradient = parameter.gradient();
  const CounterRandom random({1});
  for (Index i = 0; i < kCount; ++i) {
    const auto draw = static_cast<std::uint64_t>(i);
    parameter.value()[i] = static_cast<float>(random.uniform(2 * draw, -1.7, 1.7));  // deviation 1
    gradient[i] = static_cast<float>(random.uniform(2 * draw + 1, -1.7, 1.7));
  }
  AdamW<float> optimizer({{"weight", &parameter}}, {.learning_rate = 1e-3});
  optimizer.step();  // makes the state
  const WallClock clock;
  for (auto _ : state) {
    optimizer.step();
    benchmark::ClobberMemory();
  }
  state.counters["GFLOPS"] = clock.rate(state, 12e-9 * static_cast<double>(kCount));
}
BENCHMARK(adamw)->Name("adamw/10000000")->Unit(benchmark::kMillisecond);

}  // namespace
