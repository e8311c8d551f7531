// SPDX-License-Identifier: MIT
#include <atomic>
#include <thread>
#include <vector>

#include "catch.hpp"

#include <heed/core/chunk_shares.hpp>

using heed::Index;
using heed::detail::ChunkShares;

TEST_CASE("chunk shares: a worker takes its own chunks in order, then the last ones of the fullest share", "[parallel]") {
  ChunkShares shares(11, 3);  // 0 to 2, 3 to 6, 7 to 10
  CHECK(shares.take(1) == 3);
  CHECK(shares.take(0) == 0);
  CHECK(shares.take(0) == 1);
  CHECK(shares.take(0) == 2);
  CHECK(shares.take(0) == 10);  // 7 to 10 is the fullest
  CHECK(shares.take(1) == 4);
  CHECK(shares.take(0) == 9);
  CHECK(shares.take(0) == 6);  // as many left in two: the first
  CHECK(shares.take(0) == 8);
  CHECK(shares.take(2) == 7);
  CHECK(shares.take(2) == 5);
  for (const int worker : {0, 1, 2, 2, 1, 0}) CHECK(shares.take(worker) < 0);
}

TEST_CASE("chunk shares: one worker takes all, if no other comes", "[parallel]") {
  for (const Index chunks : {0, 1, 2, 3, 100})
    for (const int workers : {1, 2, 7, 256}) {
      ChunkShares shares(chunks, workers);
      std::vector<int> taken(static_cast<std::size_t>(chunks));
      for (Index chunk = shares.take(workers - 1); chunk >= 0; chunk = shares.take(workers - 1))
        ++taken.at(static_cast<std::size_t>(chunk));
      CHECK(taken == std::vector<int>(taken.size(), 1));
    }
}

TEST_CASE("chunk shares: workers at the same time take each chunk once", "[parallel]") {
  for (int round = 0; round < 20; ++round) {
    constexpr Index chunks = 5000;
    constexpr int workers = 4;
    ChunkShares shares(chunks, workers);
    std::vector<std::atomic<int>> taken(chunks);
    std::atomic<int> waiting{workers};
    const auto work = [&](int worker) {
      --waiting;
      while (waiting > 0) std::this_thread::yield();
      for (Index chunk = shares.take(worker); chunk >= 0; chunk = shares.take(worker)) ++taken[static_cast<std::size_t>(chunk)];
    };
    std::vector<std::thread> threads;
    for (int w = 1; w < workers; ++w) threads.emplace_back(work, w);
    work(0);
    for (std::thread& thread : threads) thread.join();
    bool once = true;
    for (const auto& count : taken) once = once && count == 1;
    CHECK(once);
  }
}
