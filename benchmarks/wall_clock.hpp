// SPDX-License-Identifier: MIT
#pragma once

#include <chrono>

#include <benchmark/benchmark.h>

/// Started right before the loop of a benchmark, gives rates by the clock on the wall. Google Benchmark's own rates divide by the processor
/// time of the calling thread, unless the benchmark is one of UseRealTime(), whose name then ends in "/real_time": names are shared with peers.
class WallClock {
 public:
  /// What `amount` an iteration is a second.
  double rate(const benchmark::State& state, double amount) const {
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start_;
    return amount * static_cast<double>(state.iterations()) / seconds.count();
  }

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};
