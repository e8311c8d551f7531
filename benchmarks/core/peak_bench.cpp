// SPDX-License-Identifier: MIT
// The two ceilings, measured in the process that measures everything else: multiply-adds from registers, and bytes from memory.
#include <vector>

#include <benchmark/benchmark.h>

#include <heed/core/parallel.hpp>
#include <heed/core/simd.hpp>

#include "wall_clock.hpp"

namespace {

using namespace heed;

struct FmaChains {
  static constexpr int kChains = 12;  // enough to hide a latency of 4 at two multiply-adds a cycle

  template <class Isa>
  HEED_INLINE static void run(Index rounds, float factor, float addend, float* result, Index* lanes) {
    using P = Packet<Isa, float>;
    P chain[kChains];
    for (int i = 0; i < kChains; ++i) chain[i] = P::broadcast(static_cast<float>(i));
    const P f = P::broadcast(factor), a = P::broadcast(addend);
    for (Index r = 0; r < rounds; ++r)
#pragma GCC unroll 12
      for (int i = 0; i < kChains; ++i) chain[i] = P::fma(chain[i], f, a);
    P total = P::zero();
    for (int i = 0; i < kChains; ++i) total = total + chain[i];
    *result = total.sum();
    *lanes = P::lanes;
  }
};

void peak_fma(benchmark::State& state) {
  const Index rounds = 2'000'000, threads = thread_count();
  std::vector<float> results(static_cast<std::size_t>(threads));
  std::vector<Index> lanes(static_cast<std::size_t>(threads));
  const WallClock clock;
  for (auto _ : state) {
    parallel_for(threads, 1, [&](Index begin, Index) {
      const auto i = static_cast<std::size_t>(begin);
      dispatch<FmaChains, float>(rounds, 0.999f, 0.001f, &results[i], &lanes[i]);
    });
    benchmark::DoNotOptimize(results.data());
  }
  state.counters["GFLOPS"] = clock.rate(state, 2e-9 * static_cast<double>(FmaChains::kChains * lanes[0] * rounds * threads));
}
BENCHMARK(peak_fma)->Name("peak/fma")->Unit(benchmark::kMillisecond);

/// a[i] = b[i] + s c[i] over arrays far larger than the caches; three streams (a fourth, the read for ownership of a, is not counted).
void peak_bandwidth(benchmark::State& state) {
  const Index count = Index{1} << 24;
  Tensor<float, 1> a({count}), b({count}), c({count});
  b.fill(1), c.fill(2);
  const WallClock clock;
  for (auto _ : state) {
    parallel_for(count, count / 64, [&](Index begin, Index end) {
      float* x = a.data();
      const float *y = b.data(), *z = c.data();
      for (Index i = begin; i < end; ++i) x[i] = y[i] + 0.5f * z[i];
    });
    benchmark::ClobberMemory();
  }
  state.counters["GBps"] = clock.rate(state, 1e-9 * 3 * sizeof(float) * static_cast<double>(count));
}
BENCHMARK(peak_bandwidth)->Name("peak/bandwidth")->Unit(benchmark::kMillisecond);

}  // namespace
