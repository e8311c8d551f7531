// SPDX-License-Identifier: MIT
#include "catch.hpp"

#include <heed/kernels/attention_bias_shards.hpp>

using namespace heed;
using kernels::MaskRef;

namespace {

/// A problem of some batches, heads, queries and keys, without operands.
kernels::Attention<double> problem(Index batches, Index heads, Index queries, Index keys) {
  kernels::Attention<double> a;
  a.batches = batches, a.heads = a.kv_heads = heads, a.queries = queries, a.keys = keys;
  return a;
}

/// Puts 10^s into every number of shard s, and folds.
void fill_and_fold(kernels::detail::BiasShards<double>& shards) {
  double value = 1;
  for (Index s = 0; s < shards.shards; ++s, value *= 10) std::fill_n(shards.sums.data() + s * shards.size, shards.size, value);
  shards.fold();
}

}  // namespace

TEST_CASE("the gradient of a bias that batches share is the sum of its shards, in whatever layout") {
  for (int threads : {1, 3}) {
    const ThreadScope scope(threads);
    const auto a = problem(3, 2, 4, 5);
    for (bool heads : {false, true})
      for (bool rows : {false, true}) {
        Tensor<double, 1> bias({2 * 4 * 7});  // rows of seven, of which five are keys
        bias.fill(0.5);
        kernels::detail::BiasShards<double> shards(a, {bias.data(), 0, heads ? 28 : 0, rows ? 7 : 0, 1});
        CHECK(shards.shards == 3);
        CHECK(shards.size == (heads ? 2 : 1) * (rows ? 4 : 1) * 5);
        fill_and_fold(shards);
        for (Index h = 0; h < 2; ++h)
          for (Index i = 0; i < 4; ++i)
            for (Index j = 0; j < 7; ++j) {
              const bool folded = j < 5 && (heads || h == 0) && (rows || i == 0);
              CHECK(bias[(h * 4 + i) * 7 + j] == (folded ? 111.5 : 0.5));
            }
      }
  }
}

TEST_CASE("a table of distances, whose rows overlap, is folded once a number") {
  const auto a = problem(2, 1, 4, 5);
  Tensor<double, 1> table({8});  // key - query from -3 to 4
  const MaskRef<double> bias{table.data() + 3, 0, 0, -1, 1};
  CHECK(kernels::detail::rows_overlap(a, bias));
  CHECK_FALSE(kernels::detail::rows_overlap(a, {table.data(), 0, 0, 5, 1}));
  kernels::detail::BiasShards<double> shards(a, bias);
  CHECK(shards.size == 8);
  CHECK(shards.copy.row(0, 0, 3) == shards.sums.data());  // the last query's first key
  fill_and_fold(shards);
  for (Index i = 0; i < 8; ++i) CHECK(table[i] == 11);
}

TEST_CASE("rows that overlap otherwise are folded by one thread") {
  const auto a = problem(8, 1, 128, 128);
  for (int round = 0; round < 300; ++round) {
    const ThreadScope scope(4);
    Tensor<double, 1> table({2 * 127 + 128});
    table.fill(0);
    kernels::detail::BiasShards<double> shards(a, {table.data(), 0, 0, 2, 1});
    shards.sums.fill(1);
    shards.fold();
    double sum = 0;
    for (Index i = 0; i < table.size(); ++i) sum += table[i];
    REQUIRE(sum == 8 * 128 * 128);  // no addition is lost
  }
}

TEST_CASE("a bias of each batch, or of one batch, needs no copies") {
  double number = 0;
  CHECK(kernels::detail::BiasShards<double>(problem(3, 1, 1, 1), {&number, 1, 0, 0, 0}).size == 0);
  CHECK(kernels::detail::BiasShards<double>(problem(1, 1, 1, 1), {&number, 0, 0, 0, 0}).size == 0);
  CHECK(kernels::detail::BiasShards<double>(problem(3, 1, 1, 1), {nullptr, 0, 0, 0, 0}).size == 0);
  CHECK(kernels::detail::BiasShards<double>(problem(20, 1, 1, 1), {&number, 0, 0, 0, 0}).shards == kernels::kBiasShards);
}
