// SPDX-License-Identifier: MIT
// peak/fma and peak/bandwidth: the two ceilings, each in a loop as long as a benchmark's.
#include "timed_case.hpp"

namespace {

using namespace bench;

struct PeakWorkload {
  std::string kind = "fma";

  template <class Self, class V>
  static void walk(Self& self, V& v) {
    v.word({"fma", "bandwidth"}, self.kind);
  }

  void add(const std::string& name) const {
    const bool fma = kind == "fma";
    const auto run = [fma](benchmark::State& state) {
      if (fma) {
        FmaChains chains;
        count(state, "GFLOPS", chains);
      } else {
        Triad triad(200e6);  // far larger than the caches
        count(state, "GBps", triad);
      }
    };
    benchmark::RegisterBenchmark(name.c_str(), run)->Unit(benchmark::kMillisecond);
  }

 private:
  template <class Ceiling>
  static void count(benchmark::State& state, const char* counter, Ceiling& ceiling) {
    double amount = 0;
    ceiling.run();
    const WallClock clock;
    for (auto _ : state) amount += ceiling.run();
    state.counters[counter] = 1e-9 * amount / clock.seconds();
  }
};

[[maybe_unused]] const bool known = family<PeakWorkload>("peak", {"fma", "bandwidth"});

}  // namespace
