// SPDX-License-Identifier: MIT
#include <vector>

#include <heed/optim/pieces.hpp>

#include "catch.hpp"

using namespace heed;

namespace {

/// How often each element is visited when the line is cut at multiples of `grain`.
std::vector<std::vector<int>> visits(const std::vector<Index>& sizes, Index grain) {
  std::vector<std::vector<int>> count;
  for (Index size : sizes) count.emplace_back(static_cast<std::size_t>(size), 0);
  const auto size_of = [&](std::size_t k) { return sizes.at(k); };
  const Index length = line_length(sizes.size(), size_of);
  for (Index begin = 0; begin < length; begin += grain)
    for_each_piece(sizes.size(), size_of, begin, begin + grain, [&](std::size_t k, Index from, Index to, Index place) {
      CHECK(from < to);
      CHECK((place >= begin && place + to - from <= begin + grain));
      for (Index i = from; i < to; ++i) ++count[k][static_cast<std::size_t>(i)];
    });
  return count;
}

}  // namespace

TEST_CASE("pieces cover every element of every array once, however the line is cut") {
  const std::vector<Index> sizes = {1, 0, 63, 64, 65, 0, 200, 2};
  for (Index grain : {1, 2, 63, 64, 65, 128, 500, 100000})
    for (const auto& array : visits(sizes, grain))
      for (int times : array) CHECK(times == 1);
}

TEST_CASE("arrays start at multiples of 64, and pieces of 64 stay aligned in them") {
  const std::vector<Index> sizes = {1, 64, 65, 10};
  const auto size_of = [&](std::size_t k) { return sizes[k]; };
  CHECK(line_length(sizes.size(), size_of) == 64 + 64 + 128 + 64);
  CHECK(kPieceElements % 64 == 0);
  std::vector<Index> starts;
  for_each_piece(sizes.size(), size_of, 64, 192, [&](std::size_t k, Index from, Index to, Index place) {
    starts.push_back(static_cast<Index>(k));
    starts.push_back(from);
    starts.push_back(to);
    starts.push_back(place);
  });
  CHECK(starts == std::vector<Index>{1, 0, 64, 64, 2, 0, 64, 128});
}

TEST_CASE("no arrays and empty arrays have an empty line") {
  const auto none = [](std::size_t) { return Index{0}; };
  CHECK(line_length(0, none) == 0);
  CHECK(line_length(3, none) == 0);
  for_each_piece(3, none, 0, 100, [](std::size_t, Index, Index, Index) { FAIL("there is nothing to visit"); });
}
