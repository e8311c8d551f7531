// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <chrono>
#include <vector>

#include <heed/core/parallel.hpp>
#include <heed/core/simd.hpp>

// The two ceilings: multiply-adds from registers, and bytes to and from memory.
namespace bench {

using namespace heed;  // NOLINT: the benchmarks are about nothing else

/// Since when, by the clock on the wall. (Google Benchmark's own rates divide by the processor time of the calling thread.)
class WallClock {
 public:
  double seconds() const { return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count(); }

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

/// Chains of multiply-adds on every thread that may be used.
class FmaChains {
 public:
  /// Enough to hide a latency of 4 at two multiply-adds a cycle, with the factor and the addend in 16 registers; ARM has 32 of them, and cores of four a cycle.
#if defined(__aarch64__)
  static constexpr int kChains = 16;
#else
  static constexpr int kChains = 12;
#endif
  static constexpr Index kRounds = 1'000'000;  // two milliseconds, beside which the start of the threads is nothing

  FmaChains() : results_(static_cast<std::size_t>(thread_count())), lanes_(results_.size()) {}

  /// Runs them and returns the operations that were done, two for a multiply-add.
  double run() {
    const auto threads = static_cast<Index>(results_.size());
    parallel_for(threads, 1, [&](Index begin, Index) {
      const auto i = static_cast<std::size_t>(begin);
      dispatch<Kernel, float>(kRounds, 0.999f, 0.001f, &results_[i], &lanes_[i]);
    });
    return 2.0 * static_cast<double>(kChains * lanes_[0] * kRounds * threads);
  }

 private:
  struct Kernel {
    template <class Isa>
    HEED_INLINE static void run(Index rounds, float factor, float addend, float* result, Index* lanes) {
      using P = Packet<Isa, float>;
      P chain[kChains];
      for (int i = 0; i < kChains; ++i) chain[i] = P::broadcast(static_cast<float>(i));
      const P f = P::broadcast(factor), a = P::broadcast(addend);
      for (Index r = 0; r < rounds; ++r)
#pragma GCC unroll 16
        for (int i = 0; i < kChains; ++i) chain[i] = P::fma(chain[i], f, a);
      P total = P::zero();
      for (int i = 0; i < kChains; ++i) total = total + chain[i];
      *result = total.sum();
      *lanes = P::lanes;
    }
  };

  std::vector<float> results_;
  std::vector<Index> lanes_;
};

/// a = b + s c over three arrays of `bytes` bytes together: two streams are read and one is written (its read for ownership is not counted).
class Triad {
 public:
  explicit Triad(double bytes) : count_(std::clamp<Index>(static_cast<Index>(bytes / 12), 1024, kMost)), arrays_({3, count_}) {}

  /// Runs it and returns the bytes that were moved.
  double run() {
    float* a = arrays_.data();
    const Index chunks = 4 * thread_count(), grain = std::max<Index>((count_ + chunks - 1) / chunks, 4096);
    parallel_for(count_, grain,
        [&](Index begin, Index end) { dispatch<Kernel, float>(end - begin, a + count_ + begin, a + 2 * count_ + begin, a + begin); });
    return 3.0 * sizeof(float) * static_cast<double>(count_);
  }

 private:
  static constexpr Index kMost = Index{1} << 24;  // 200 MB are larger than any cache

  struct Kernel {
    template <class Isa>
    HEED_INLINE static void run(Index count, const float* b, const float* c, float* a) {
      using P = Packet<Isa, float>;
      const P s = P::broadcast(0.5f);
      Index i = 0;
      for (; i + P::lanes <= count; i += P::lanes) P::fma(P::load(c + i), s, P::load(b + i)).store(a + i);
      for (; i < count; ++i) a[i] = b[i] + 0.5f * c[i];
    }
  };

  Index count_;
  Tensor<float, 2> arrays_;
};

/// The best rate of `ceiling.run()`, in units of 1e9 a second, over a few milliseconds: groups of runs, of which the fastest counts.
template <class Ceiling>
double best_rate(Ceiling& ceiling) {
  constexpr double kGroup = 0.5e-3, kAll = 4e-3;  // seconds: a group is long for the clock, the whole short for everybody
  ceiling.run();
  double best = 0;
  const WallClock all;
  for (int groups = 0; groups < 3 || all.seconds() < kAll; ++groups) {
    double amount = 0;
    const WallClock group;
    do amount += ceiling.run();
    while (group.seconds() < kGroup);
    best = std::max(best, 1e-9 * amount / group.seconds());
  }
  return best;
}

}  // namespace bench
