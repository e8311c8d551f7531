// SPDX-License-Identifier: MIT
#include "catch.hpp"

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <limits>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include <heed/core/random.hpp>

#include "every_backend.hpp"

using namespace heed;

namespace {

/// Values whose sum depends on the order of additions: large ones that cancel, and small ones.
std::vector<float> awkward_values(Index count) {
  const CounterRandom random({42});
  std::vector<float> values(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(random.uniform(i, -1, 1) * (i % 7 == 0 ? 1e6 : 1e-3));
  return values;
}

/// Column sums of `values` seen as rows of `width`.
std::vector<float> column_sums(const std::vector<float>& values, Index width, Index grain) {
  std::vector<float> sums(static_cast<std::size_t>(width), 0.5f);  // the sum is added
  parallel_sum(static_cast<Index>(values.size()) / width, grain, width, sums.data(), [&](Index begin, Index end, float* partial) {
    for (Index row = begin; row < end; ++row)
      for (Index c = 0; c < width; ++c) partial[c] += values[static_cast<std::size_t>(row * width + c)];
  });
  return sums;
}

/// Every element of [0, count) is visited once, in the ranges that count and grain give.
bool covers(Index count, Index grain) {
  std::vector<std::atomic<int>> visits(static_cast<std::size_t>(count));
  std::atomic<bool> ranges_fit{true};
  const Index step = grain < 1 ? 1 : grain;
  parallel_for(count, grain, [&](Index begin, Index end) {
    if (begin % step != 0 || end != std::min(count, begin + step)) ranges_fit = false;
    for (Index i = begin; i < end; ++i) ++visits[static_cast<std::size_t>(i)];
  });
  for (auto& v : visits)
    if (v != 1) return false;
  return ranges_fit;
}

}  // namespace

TEST_CASE("parallel_for covers the range once, in fixed pieces") {
  for_every_backend([](Backend backend) {
    for (int threads : {1, 2, 3, 7}) {
      ThreadScope scope(threads);
      for (Index count : {0, 1, 2, 15, 16, 17, 1000})
        for (Index grain : {0, 1, 3, 16, 5000}) {
          INFO(backend_name(backend) << ", " << threads << " threads, " << count << " elements, grain " << grain);
          CHECK(covers(count, grain));
        }
    }
  });
}

TEST_CASE("the one loop runs every chunk, whatever number of workers it is told") {
  for_every_backend([](Backend) {
    for (int workers : {0, 1, 2, 3}) {
      std::atomic<int> visits{0}, strangers{0};
      detail::run_chunks(10, workers, [&](Index, int worker) { ++visits, strangers += worker < 0 || worker >= std::max(workers, 1); });
      CHECK(visits == 10);
      CHECK(strangers == 0);
    }
  });
}

TEST_CASE("a loop gets no more workers than chunks, and one where chunks are more than can be shared") {
  const heed::ThreadScope scope(4);
  CHECK(heed::detail::worker_count(0) == 0);
  CHECK(heed::detail::worker_count(3) <= 3);
  if (heed::detail::ChunkShares::kMostChunks < std::numeric_limits<heed::Index>::max())
    CHECK(heed::detail::worker_count(heed::detail::ChunkShares::kMostChunks + 1) == 1);
}

TEST_CASE("a wrong HEED_ISA is an exception for the caller of a loop that asks for it", "[wrong_isa]") {
  const char* asked = std::getenv("HEED_ISA");
  if (!asked || std::string(asked) != "wrong") return;  // core/parallel/wrong_isa sets it
  const ThreadScope scope(2);
  CHECK_THROWS_WITH(parallel_for(8, 1, [](Index, Index) { (void)isa_level(); }), contains("HEED_ISA is 'wrong'"));
}

TEST_CASE("ThreadScope bounds the threads at work") {
  for_every_backend([](Backend) {
    std::mutex mutex;
    for (int threads : {1, 2, 3}) {
      ThreadScope scope(threads);
      CHECK(thread_count() <= threads);
      std::set<std::thread::id> seen;
      parallel_for(100, 1, [&](Index, Index) {
        std::lock_guard lock(mutex);
        seen.insert(std::this_thread::get_id());
      });
      CHECK(seen.size() <= static_cast<std::size_t>(threads));
    }
  });
}

TEST_CASE("two threads are at work at the same time, on each back end that has threads") {
  for_every_backend([](Backend backend) {
    ThreadScope scope(2);
    CHECK(thread_count() == (backend == Backend::serial ? 1 : 2));
    if (backend == Backend::serial) return;
    std::atomic<int> arrived{0}, met{0};
    const auto patience = std::chrono::steady_clock::now() + std::chrono::seconds(20);  // a busy machine starts threads late
    parallel_for(2, 1, [&](Index, Index) {
      ++arrived;
      while (arrived < 2 && std::chrono::steady_clock::now() < patience) std::this_thread::yield();
      if (arrived == 2) ++met;
    });
    CHECK(met == 2);
  });
}

TEST_CASE("a back end is chosen for a scope, and only one that the program has") {
  const Backend first = backend();
  CHECK(first != Backend::automatic);
  for_every_backend([&](Backend chosen) {
    CHECK(backend() == chosen);
    {
      const BackendScope inner(Backend::serial);
      CHECK(backend() == Backend::serial);
      const BackendScope as_before(Backend::automatic);
      CHECK(backend() == first);
    }
    CHECK(backend() == chosen);
    std::atomic<int> others{0};
    std::thread([&] { others += backend() != first; }).join();  // a choice of one thread is no other's
    CHECK(others == 0);
  });
  CHECK(backend() == first);
  for (Backend missing : {Backend::openmp, Backend::std_thread})
    if (!has_backend(missing)) CHECK_THROWS_WITH(BackendScope(missing), contains("was built without"));
}

TEST_CASE("a loop inside a loop runs on its caller's thread") {
  for_every_backend([](Backend) {
    ThreadScope scope(4);
    std::atomic<int> visits{0}, wide{0};
    parallel_for(8, 1, [&](Index, Index) {
      if (thread_count() > 1) ++wide;
      parallel_for(8, 1, [&](Index, Index) { ++visits; });
    });
    CHECK(visits == 64);
    CHECK(wide == 0);
  });
}

TEST_CASE("parallel_sum gives the same bits with any number of threads") {
  for (Index width : {1, 3, 64})
    for (Index rows : {1, 2, 31, 32, 33, 1000, 4099}) {
      const auto values = awkward_values(rows * width);
      std::vector<float> first;
      for_every_backend([&](Backend) {
        for (int threads : {1, 2, 3, 4, 7, 16}) {
          ThreadScope scope(threads);
          const auto sums = column_sums(values, width, 10);
          if (first.empty()) first = sums;
          CHECK(sums == first);
        }
      });
    }
}

TEST_CASE("parallel_sum is the sum, added to what was there") {
  const Index rows = 777, width = 5;
  const auto values = awkward_values(rows * width);
  const auto sums = column_sums(values, width, 16);
  for (Index c = 0; c < width; ++c) {
    double exact = 0.5, absolute = 0;
    for (Index row = 0; row < rows; ++row) {
      exact += values[static_cast<std::size_t>(row * width + c)];
      absolute += std::abs(values[static_cast<std::size_t>(row * width + c)]);
    }
    // Each of the additions of a shard and of the fold rounds by half a unit of 2^-23 at most.
    CHECK(std::abs(sums[static_cast<std::size_t>(c)] - exact) <= absolute * 0x1p-23);
  }
  float untouched = 7;
  parallel_sum(Index(0), Index(1), Index(1), &untouched, [](Index, Index, float* partial) { *partial += 1; });
  CHECK(untouched == 7);
}

TEST_CASE("shards depend on rows and grain alone, and there are at most kMaxShards, and not much fewer where rows allow it") {
  for (Index count : {1, 2, 31, 32, 33, 100, 12345})
    for (Index grain : {0, 1, 10, 1000}) {
      const Index rows = shard_rows(count, grain);
      CHECK(rows >= 1);
      CHECK((count + rows - 1) / rows <= kMaxShards);
      CHECK(rows >= std::min(count, grain));
      CHECK(rows < 2 * std::max({grain, Index{1}, (count + kMaxShards - 1) / kMaxShards}));
    }
}

#if defined(_OPENMP)
TEST_CASE("inside a caller's OpenMP region, each of its threads gets whole results") {
  const auto values = awkward_values(3000);
  const auto expected = column_sums(values, 3, 10);
  std::atomic<int> wrong{0}, wide{0};
#pragma omp parallel num_threads(3)
  {
    for_every_backend([&](Backend) {
      if (thread_count() != 1) ++wide;
      for (int round = 0; round < 20; ++round) {
        if (column_sums(values, 3, 10) != expected) ++wrong;
        if (!covers(100, 7)) ++wrong;
      }
    });
  }
  CHECK(wrong == 0);
  CHECK(wide == 0);
}
#endif

TEST_CASE("several std::threads may run loops at once, each with its own limit") {
  const auto values = awkward_values(3000);
  const auto expected = column_sums(values, 3, 10);
  std::atomic<int> wrong{0};
  std::vector<std::thread> callers;
  for (int t = 1; t <= 4; ++t)
    callers.emplace_back([&, t] {
      ThreadScope scope(t);
      for (int round = 0; round < 20; ++round) {
        if (thread_count() > t) ++wrong;
        if (column_sums(values, 3, 10) != expected) ++wrong;
        if (!covers(100, 7)) ++wrong;
      }
    });
  for (auto& caller : callers) caller.join();
  CHECK(wrong == 0);
}

TEST_CASE("the grain of few long jobs gives each thread as many chunks, and never fewer of them or more than twice as many") {
  const auto grain = [](int threads, Index count, Index wanted) {
    const ThreadScope scope(threads);
    return even_grain(count, wanted);
  };
  CHECK(grain(1, 8, 3) == 3);
  if (const ThreadScope scope(2); thread_count() == 1) return;  // loops compiled for one thread
  CHECK(grain(2, 8, 3) == 2);                                   // 3 chunks -> 4
  CHECK(grain(2, 12, 4) == 3);                                  // 3 -> 4
  CHECK(grain(2, 3, 1) == 1);                                   // there are no more jobs
  CHECK(grain(2, 8, 8) == 8);                                   // one chunk: not worth two threads
  CHECK(grain(64, 8, 3) == 3);                                  // 8 chunks would be more than twice as many
  CHECK(grain(4, 16, 4) == 4);
  CHECK(grain(3, 0, 5) == 5);
}
