// SPDX-License-Identifier: MIT
#pragma once

#include <exception>
#include <string>

#include <benchmark/benchmark.h>

#include "family.hpp"
#include "peak.hpp"

namespace bench {

/// What an iteration has to do at least. Where `bytes` are given, the memory is the ceiling, else the multiply-adds.
struct Work {
  double flops = 0;
  double bytes = 0;             ///< that a pass which fuses what can be fused must read and write
  double footprint = 0;         ///< bytes of memory that it touches, some of them twice
  double items = 0;             ///< images or tokens, if somebody counts them
  const char* items_name = "";  ///< "images_per_second"

  bool on_memory() const { return bytes > 0; }
};

/// How many cases were wrong or threw: the exit code of the program.
inline int& failed_cases() {
  static int count = 0;
  return count;
}

namespace detail {

/// The counters `GFLOPS` or `GBps`, and `peak_fraction` against a ceiling that was measured right before and after: the larger counts.
template <class Subject, class Ceiling>
void time_against(Ceiling& ceiling, benchmark::State& state, const Work& work, Subject& subject) {
  subject.run();  // memory comes from the system once
  const double before = best_rate(ceiling);
  const WallClock clock;
  for (auto _ : state) subject.run();
  const double runs_per_second = static_cast<double>(state.iterations()) / clock.seconds();
  const double peak = std::max(before, best_rate(ceiling));
  const double rate = 1e-9 * (work.on_memory() ? work.bytes : work.flops) * runs_per_second;
  state.counters[work.on_memory() ? "GBps" : "GFLOPS"] = rate;
  state.counters["peak_fraction"] = rate / peak;
  if (work.items > 0) state.counters[work.items_name] = work.items * runs_per_second;
}

template <class Make>
void run_case(benchmark::State& state, const Work& work, const Make& make, bool& verified) {
  auto subject = make();
  if (!verified) {
    const std::string fault = subject.check();
    require<std::runtime_error>(fault.empty(), "wrong result: ", fault);
    verified = true;
  }
  if (work.on_memory()) {
    Triad triad(work.footprint);
    time_against(triad, state, work, subject);
  } else {
    FmaChains chains;
    time_against(chains, state, work, subject);
  }
}

}  // namespace detail

/// Registers a benchmark. `make()` gives its subject, which has `run()`, one iteration, and `check()`, which compares what it computes with a
/// plain reference and returns an empty string or what is wrong; it is called once, before anything is timed.
template <class Make>
void add_case(const std::string& name, const Work& work, const Make& make) {
  const auto run = [work, make, verified = false](benchmark::State& state) mutable {
    try {
      detail::run_case(state, work, make, verified);
    } catch (const std::exception& error) {
      ++failed_cases();
      state.SkipWithError(error.what());
    }
  };
  benchmark::RegisterBenchmark(name.c_str(), run)->Unit(benchmark::kMillisecond);
}

}  // namespace bench
