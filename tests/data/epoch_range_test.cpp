// SPDX-License-Identifier: MIT
#include <algorithm>
#include <iterator>
#include <vector>

#include <heed/data/epoch_range.hpp>

#include "catch.hpp"

namespace {
struct Numbers {
  int last = 0, number = 0;
  const int* next() { return number == last ? nullptr : &++number; }
};
}  // namespace

TEST_CASE("a range goes over what its source gives, once") {
  Numbers three{3};
  const heed::EpochRange<Numbers> range(three);
  using iterator = decltype(range.begin());
  STATIC_REQUIRE(std::input_iterator<iterator>);
  STATIC_REQUIRE(std::is_same_v<std::iter_value_t<iterator>, int>);
  std::vector<int> seen;
  for (const int& n : range) seen.push_back(n);
  CHECK(seen == std::vector<int>{1, 2, 3});
  CHECK(range.begin() == range.end());  // nothing is left

  Numbers five{5};
  auto i = heed::EpochRange<Numbers>(five).begin();
  CHECK(*i == 1);
  i++;
  CHECK(*i == 2);
  CHECK(*i.operator->() == 2);

  Numbers none;
  for ([[maybe_unused]] int n : heed::EpochRange<Numbers>(none)) FAIL();
}

TEST_CASE("a range whose source has begun another epoch meanwhile does not go on as if nothing were") {
  struct Counted : Numbers {
    heed::Index begun = 0;
    heed::Index passes() const { return begun; }
  };
  Counted source;
  source.last = 3;
  int seen = 0;
  const auto walk = [&] {
    for ([[maybe_unused]] int n : heed::EpochRange<Counted>(source))
      if (++seen == 2) ++source.begun;
  };
  CHECK_THROWS_WITH(walk(), contains("the batches of another epoch were asked for before this one was at its end"));
  CHECK(seen == 2);
}
