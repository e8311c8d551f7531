// SPDX-License-Identifier: MIT
#include "catch.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <mutex>
#include <string>
#include <vector>

#include <heed/distributed/sharded_gradients.hpp>

#include "thread_ranks.hpp"

using namespace heed;

namespace {

/// A "model" of two parameters, one name more for the first, a frozen one, one that gets no gradient, and a buffer.
struct Parts {
  Parameter<float> a{Shape{100}}, b{Shape{3, 7}}, frozen{Shape{5}}, unused{Shape{4}};
  Tensor<float, 1> mean{Shape{9}}, constant{Shape{2}};

  Parts() {
    frozen.freeze();
    mean.fill(2);
    constant.fill(0.1f);
    a.gradient(), b.gradient();
  }
  std::vector<NamedParameter<float>> parameters() {
    return {{"a", &a}, {"b", &b}, {"again", &a}, {"frozen", &frozen}, {"unused", &unused}};
  }
  std::vector<NamedBuffer<float>> buffers() { return {{"mean", &mean}, {"constant", &constant}}; }
  /// What a shard of images [begin, end) adds: numbers that round otherwise in each order.
  ShardReport pass(Index begin, Index end) {
    ShardReport report;
    for (Index image = begin; image < end; ++image) {
      for (Index i = 0; i < a.size(); ++i) a.gradient()[i] += std::sin(static_cast<float>(image * 100 + i));
      for (Index i = 0; i < b.size(); ++i) b.gradient()[i] += std::cos(static_cast<float>(image * 21 + i));
      report.loss += std::sqrt(static_cast<double>(image)) / 12;
      report.correct += image % 3 == 0;
    }
    for (Index i = 0; i < mean.size(); ++i)
      mean[i] = 0.9f * mean[i] + 0.1f * static_cast<float>(begin + i);  // in place: starts from 2 in each shard
    return report;
  }
  std::vector<float> bits() const {
    std::vector<float> all;
    const auto add = [&](const float* p, Index n) { all.insert(all.end(), p, p + n); };
    add(std::as_const(a).gradient(), a.size()), add(std::as_const(b).gradient(), b.size()), add(mean.data(), mean.size());
    add(constant.data(), constant.size());
    return all;
  }
};

struct Outcome {
  std::vector<float> bits;
  double loss;
  Index correct;
  bool clean;  ///< each shard found no gradients, and the buffers of the step's start; what has no gradient got none
  friend bool operator==(const Outcome&, const Outcome&) = default;
};

Outcome outcome(Index images, Index shards, Communicator& ranks, std::vector<Index>* ran = nullptr) {
  Parts parts;
  ShardedGradients<float> sharded(parts.parameters(), parts.buffers(), shards, ranks);
  bool clean = true;
  const ShardReport report = sharded(images, false, [&](Index shard, Index begin, Index end) {
    if (ran) ran->push_back(shard);
    clean = clean && parts.mean[0] == 2 && std::as_const(parts.a).gradient()[0] == 0;
    return parts.pass(begin, end);
  });
  return {parts.bits(), report.loss, report.correct, clean && !report.stop && !parts.unused.has_gradient()};
}

}  // namespace

TEST_CASE("the shards' gradients add up, and the buffers' changes are averaged") {
  SingleProcess alone;
  for (Index images : {8, 11}) {
    Parts whole;
    const ShardReport expected = whole.pass(0, images);
    const Outcome four = outcome(images, 4, alone);
    CHECK(four.clean);
    CHECK(four.correct == expected.correct);
    CHECK(four.loss == Approx(expected.loss));
    for (Index i = 0; i < 121; ++i)
      CHECK(four.bits[static_cast<std::size_t>(i)] == Approx(whole.bits()[static_cast<std::size_t>(i)]).margin(1e-5));
    for (Index i = 0; i < 9; ++i) {
      double mean = 0;
      for (Index shard = 0; shard < 4; ++shard) {
        const Index begin = shard * images / 4, end = (shard + 1) * images / 4;
        mean += static_cast<double>(end - begin) / static_cast<double>(images) * (0.9 * 2 + 0.1 * static_cast<double>(begin + i));
      }
      CHECK(four.bits[static_cast<std::size_t>(121 + i)] == Approx(mean));
    }
    CHECK(four.bits[130] == 0.1f);
  }
}

TEST_CASE("any number of ranks gives the bits of one process") {
  for (Index shards : {1, 2, 3, 4, 6, 7, 16})
    for (Index images : {1, 3, 7, 16, 45}) {  // 1 and 3: ranks without a shard
      SingleProcess alone;
      const Outcome expected = outcome(images, shards, alone);
      for (int ranks : {1, 2, 3, 4, 5}) {
        if (ranks > shards) continue;
        std::mutex mutex;
        std::vector<Index> ran;
        ThreadRanks::run(ranks, [&](Communicator& communicator) {
          std::vector<Index> own;
          const Outcome mine = outcome(images, shards, communicator, &own);
          const std::lock_guard lock(mutex);
          CHECK(mine == expected);
          ran.insert(ran.end(), own.begin(), own.end());
        });
        std::sort(ran.begin(), ran.end());
        CHECK(static_cast<Index>(ran.size()) == std::min(shards, images));
        for (std::size_t i = 0; i < ran.size(); ++i) CHECK(ran[i] == static_cast<Index>(i));
      }
    }
}

TEST_CASE("a parameter whose first gradient comes from a later shard, or from another rank's") {
  // The middle one is used by the shards from `first` on alone, as a layer does that leaves out a part of itself now and then.
  const auto bits = [](Index first, bool from_the_start, Communicator& ranks) {
    Parameter<float> a{Shape{30}}, b{Shape{20}}, c{Shape{10}};
    Tensor<float, 1> mean{Shape{9}};
    if (from_the_start) a.gradient(), b.gradient(), c.gradient();
    ShardedGradients<float> sharded({{"a", &a}, {"b", &b}, {"c", &c}}, {{"mean", &mean}}, 4, ranks);
    std::vector<float> all;
    for (int step = 0; step < 2; ++step) {
      for (Parameter<float>* p : {&a, &b, &c}) p->zero_gradient();
      sharded(8, false, [&](Index shard, Index begin, Index) {
        for (Parameter<float>* p : {&a, &b, &c})
          if (p != &b || shard >= first)
            for (Index i = 0; i < p->size(); ++i) p->gradient()[i] += std::sin(static_cast<float>(begin * 31 + i));
        mean[0] += static_cast<float>(shard);
        return ShardReport{.loss = 1};
      });
      for (const Parameter<float>* p : {&a, &b, &c}) all.insert(all.end(), p->gradient(), p->gradient() + p->size());
      all.push_back(mean[0]);
    }
    return all;
  };
  for (Index first : {0, 1, 2, 3}) {
    SingleProcess alone;
    const std::vector<float> expected = bits(first, true, alone);
    CHECK(bits(first, false, alone) == expected);
    for (int ranks : {2, 3, 4})
      ThreadRanks::run(ranks, [&](Communicator& communicator) {
        const bool same = bits(first, false, communicator) == expected;
        static std::mutex mutex;
        const std::lock_guard lock(mutex);
        INFO("used from shard " << first << " on, " << ranks << " ranks");
        CHECK(same);
      });
  }
}

TEST_CASE("one rank's wish to stop, and one shard's loss that is no number, reach all") {
  ThreadRanks::run(3, [&](Communicator& ranks) {
    Parts parts;
    ShardedGradients<float> sharded(parts.parameters(), parts.buffers(), 6, ranks);
    const auto pass = [&](Index, Index begin, Index end) { return parts.pass(begin, end); };
    const bool first = sharded(12, ranks.rank() == 1, pass).stop, second = sharded(12, false, pass).stop;
    parts.a.zero_gradient(), parts.b.zero_gradient();
    const std::vector<float> before = parts.bits();
    const double loss = sharded(12, false, [&](Index shard, Index begin, Index end) {
      ShardReport report = parts.pass(begin, end);
      if (shard == 4) report.loss = std::numeric_limits<double>::quiet_NaN();
      return report;
    }).loss;
    const bool unchanged = parts.bits() == before;
    static std::mutex mutex;
    const std::lock_guard lock(mutex);
    CHECK(first);
    CHECK_FALSE(second);
    CHECK(std::isnan(loss));
    CHECK(unchanged);
  });
}

TEST_CASE("more ranks than shards, and a batch without images, get a sentence") {
  Parts parts;
  CHECK_THROWS_WITH(
      ThreadRanks::run(2, [&](Communicator& ranks) { ShardedGradients<float>(parts.parameters(), parts.buffers(), 1, ranks); }),
      Catch::Matchers::StartsWith("sharded training: 1 shards of a batch cannot be shared by 2 ranks"));
  CHECK_THROWS_WITH(ThreadRanks::run(2,
                        [&](Communicator& ranks) {
                          Parts own;
                          ShardedGradients<float> sharded(own.parameters(), own.buffers(), 4, ranks);
                          sharded(0, false, [](Index, Index, Index) { return ShardReport(); });
                        }),
      Catch::Matchers::StartsWith("sharded training: a batch of 0 images, expected at least one"));
}

TEST_CASE("a buffer or a parameter under two names counts once") {
  SingleProcess alone;
  Parts parts;
  auto buffers = parts.buffers();
  buffers.push_back({"mean again", &parts.mean});
  ShardedGradients<float> sharded(parts.parameters(), buffers, 4, alone);
  sharded(8, false, [&](Index, Index begin, Index end) { return parts.pass(begin, end); });
  CHECK(parts.bits() == outcome(8, 4, alone).bits);
}
