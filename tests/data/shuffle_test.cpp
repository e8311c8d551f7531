// SPDX-License-Identifier: MIT
#include <algorithm>
#include <numeric>
#include <vector>

#include <heed/data/shuffle.hpp>

#include "catch.hpp"

using namespace heed;

TEST_CASE("A shuffled order is a permutation and a pure function of size, seed and epoch", "[data]") {
  for (Index count : {0, 1, 2, 3, 17, 1000}) {
    const std::vector<Index> order = shuffled(count, 7, 3);
    std::vector<Index> sorted = order, all(order.size());
    std::sort(sorted.begin(), sorted.end());
    std::iota(all.begin(), all.end(), Index{0});
    CHECK(sorted == all);
    CHECK(order == shuffled(count, 7, 3));
  }
  CHECK(shuffled(1000, 7, 3) != shuffled(1000, 7, 4));
  CHECK(shuffled(1000, 7, 3) != shuffled(1000, 8, 3));
  CHECK(shuffled(1000, 7, 3) != shuffled(1000, 3, 7));
  std::vector<Index> reused = shuffled(20, 1, 1);
  shuffle_order(reused, 7, 3);  // what lay in the memory does not matter
  CHECK(reused == shuffled(20, 7, 3));
}

TEST_CASE("All permutations are equally likely", "[data]") {
  constexpr int kRuns = 24000;
  std::vector<int> counts(24);
  for (int run = 0; run < kRuns; ++run) {
    const std::vector<Index> order = shuffled(4, 11, run);
    Index code = 0;  // rank of the permutation
    for (Index i = 0; i < 4; ++i) {
      Index smaller = 0;
      for (Index j = i + 1; j < 4; ++j) smaller += order[static_cast<std::size_t>(j)] < order[static_cast<std::size_t>(i)];
      code = code * (4 - i) + smaller;
    }
    ++counts[static_cast<std::size_t>(code)];
  }
  double chi_square = 0;
  for (int count : counts) chi_square += (count - kRuns / 24.0) * (count - kRuns / 24.0) / (kRuns / 24.0);
  CHECK(chi_square < 49.7);  // 23 degrees of freedom: exceeded with probability 0.001
}
