// SPDX-License-Identifier: MIT
#include <vector>

#include <heed/kernels/channel_sweep.hpp>

#include "catch.hpp"

using heed::Index;

namespace {

/// Counts how often each channel is visited.
template <class T>
struct Count {
  Index begin, end;
  T* visits;

  template <class P>
  HEED_INLINE void at(Index channel) const {
    (P::load(visits + channel) + P::broadcast(T(1))).store(visits + channel);
  }
  template <class Isa>
  HEED_INLINE static void run(const Count* count) {
    heed::kernels::sweep_channels<Isa, T>(count->begin, count->end, *count);
  }
};

}  // namespace

TEMPLATE_TEST_CASE("a sweep visits every channel once and no other", "", float, double, long double) {
  for (Index begin = 0; begin < 3; ++begin)
    for (Index end = begin; end < 70; ++end) {
      std::vector<TestType> visits(80);
      const Count<TestType> count{begin, end, visits.data()};
      heed::dispatch<Count<TestType>, TestType>(&count);
      for (Index c = 0; c < 80; ++c) REQUIRE(visits[static_cast<std::size_t>(c)] == (c >= begin && c < end ? 1 : 0));
    }
}
