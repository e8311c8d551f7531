// SPDX-License-Identifier: MIT
#include "catch.hpp"

#include <array>

#include <heed/distributed/communicator.hpp>

#include "thread_ranks.hpp"

using namespace heed;

TEST_CASE("what the ranks say comes to all in the order of the ranks") {
  SingleProcess alone;
  const std::array<double, 3> words{1, 2, 3};
  const auto mine = gather(alone, words);
  CHECK(mine.shape() == Shape{1, 3});
  CHECK(mine(0, 2) == 3);
  CHECK_FALSE(any_rank(alone, false));
  CHECK(any_rank(alone, true));
  CHECK(all_ranks_say(alone, "word"));
  CHECK(first_words(alone, "") == "");
  CHECK(first_words(alone, "body.norm: inf") == "body.norm: inf");
  CHECK(first_words(alone, std::string(2000, 'x')) == std::string(1024, 'x'));

  for (int size : {2, 3, 5}) {
    std::vector<Tensor<double, 2>> heard(static_cast<std::size_t>(size));
    std::vector<std::string> said(heard.size());
    std::vector<int> any(heard.size()), none(heard.size()), equal(heard.size()), other_word(heard.size());
    ThreadRanks::run(size, [&](Communicator& ranks) {
      const double rank = ranks.rank();
      const std::array<double, 2> own{rank, 10 * rank};
      const auto r = static_cast<std::size_t>(ranks.rank());
      heard[r] = gather(ranks, own);
      any[r] = any_rank(ranks, ranks.rank() == size - 1);
      none[r] = any_rank(ranks, false);
      said[r] = first_words(ranks, ranks.rank() == 0 ? "" : text("rank ", ranks.rank()));
      equal[r] = all_ranks_say(ranks, "weights");
      other_word[r] = all_ranks_say(ranks, ranks.rank() == size - 1 ? "weights of 17" : "weights of 16");
    });
    for (int r = 0; r < size; ++r) {
      const auto at = static_cast<std::size_t>(r);
      CHECK(any[at] == 1);
      CHECK(none[at] == 0);
      CHECK(said[at] == "rank 1");
      CHECK(equal[at] == 1);
      CHECK(other_word[at] == 0);
      for (int other = 0; other < size; ++other) CHECK((heard[at](other, 0) == other && heard[at](other, 1) == 10 * other));
    }
  }
}

TEST_CASE("one process exchanges with itself alone") {
  SingleProcess alone;
  const std::array<char, 4> from{'a', 'b', 'c', 'd'};
  std::array<char, 4> to{};
  const std::array<Communicator::Part, 1> send{{{1, 2}}}, receive{{{2, 2}}}, more{{{0, 3}}};
  alone.exchange(from.data(), send, to.data(), receive);
  CHECK(to == std::array<char, 4>{0, 0, 'b', 'c'});
  CHECK_THROWS_AS(alone.exchange(from.data(), send, to.data(), more), std::invalid_argument);
  const std::array<Communicator::Part, 2> two{{{1, 2}, {0, 1}}};
  CHECK_THROWS_AS(alone.exchange(from.data(), send, to.data(), two), std::invalid_argument);
  CHECK_THROWS_AS(alone.exchange(from.data(), two, to.data(), receive), std::invalid_argument);
}
