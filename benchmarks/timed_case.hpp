// SPDX-License-Identifier: MIT
#pragma once

#include <exception>
#include <string>
#include <utility>
#include <vector>

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

/// What --heed_naive asks for and finds: cases are held against plain loops, too, and named where these are faster.
struct AgainstNaive {
  bool asked = false;
  int cases = 0;
  std::vector<std::pair<std::string, double>> slower;  ///< name, over_naive
};
inline AgainstNaive& against_naive() {
  static AgainstNaive all;
  return all;
}

namespace detail {

/// Seconds of one run: of `count` of them, which is doubled until they are long for the clock.
template <class Run>
double seconds_of(const Run& run, Index& count) {
  constexpr double kGroup = 1e-3;
  for (;; count *= 2) {
    const WallClock clock;
    for (Index i = 0; i < count; ++i) run();
    const double seconds = clock.seconds();
    if (seconds >= kGroup) return seconds / static_cast<double>(count);
  }
}

/// How many times as long as the subject its plain loops take. Both run by turns, and of each the fastest turn counts.
template <class Subject>
double over_naive(Subject& subject) {
  constexpr int kTurns = 7;
  constexpr double kAll = 2;  // seconds, behind which no other turn begins: plain loops may take long
  double best = HUGE_VAL, best_naive = HUGE_VAL;
  Index count = 1, naive_count = 1;
  const WallClock all;
  for (int turn = 0; turn < kTurns && (turn == 0 || all.seconds() < kAll); ++turn) {
    best = std::min(best, seconds_of([&] { subject.run(); }, count));
    best_naive = std::min(best_naive, seconds_of([&] { subject.run_naive(); }, naive_count));
  }
  return best_naive / best;
}

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

/// A case between the calls of Google Benchmark, which tries several numbers of iterations.
struct CaseState {
  std::string name;
  bool verified = false;
  double over_naive = 0;  ///< 0: not yet
};

template <class Make>
void run_case(benchmark::State& state, const Work& work, const Make& make, CaseState& known) {
  auto subject = make();
  if (!known.verified) {
    const std::string fault = subject.check();
    require<std::runtime_error>(fault.empty(), "wrong result: ", fault);
    known.verified = true;
  }
  if constexpr (requires { subject.run_naive(); }) {
    AgainstNaive& all = against_naive();
    if (all.asked && known.over_naive <= 0) {
      const std::string fault = subject.check_naive();
      require<std::runtime_error>(fault.empty(), "beside plain loops: ", fault);
      known.over_naive = over_naive(subject);
      ++all.cases;
      if (known.over_naive < 1) all.slower.emplace_back(known.name, known.over_naive);
    }
  }
  if (known.over_naive > 0) state.counters["over_naive"] = known.over_naive;
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
/// plain reference and returns an empty string or what is wrong; it is called once, before anything is timed. A subject that has
/// `run_naive()`, the same by the loops of naive.hpp, and `check_naive()`, which compares these results, can be held against them.
template <class Make>
void add_case(const std::string& name, const Work& work, const Make& make) {
  const auto run = [work, make, known = detail::CaseState{name}](benchmark::State& state) mutable {
    try {
      detail::run_case(state, work, make, known);
    } catch (const std::exception& error) {
      ++failed_cases();
      state.SkipWithError(error.what());
    }
  };
  benchmark::RegisterBenchmark(name.c_str(), run)->Unit(benchmark::kMillisecond);
}

}  // namespace bench
