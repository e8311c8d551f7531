// SPDX-License-Identifier: MIT
#include <vector>

#include <heed/kernels/attention_mask.hpp>

#include "catch.hpp"
#include "every_isa.hpp"
#include "reference/attention_reference.hpp"

using namespace heed;
using namespace heed::kernels;

namespace {

template <class T>
struct KeepRow {
  template <class Isa>
  HEED_INLINE static void run(const Attention<T>* a, Index b, Index h, Index i, T* kept) {
    using P = Packet<Isa, T>;
    const kernels::detail::RowDropout<Isa, T> dropout(*a, b, h, i);
    for (Index j = 0; j < a->keys; j += P::lanes) dropout.keep(j, P::broadcast(T(1))).store(kept + j);
  }
};

template <class T>
Attention<T> sized(Index batches, Index heads, Index queries, Index keys) {
  Attention<T> a;
  a.batches = batches, a.heads = a.kv_heads = heads, a.queries = queries, a.keys = keys;
  return a;
}

}  // namespace

TEMPLATE_TEST_CASE("attention_mask: dropout draws the same numbers on every instruction set", "[attention_mask]", float, double) {
  auto a = sized<TestType>(3, 4, 5, 64);
  a.dropout = {123, 0.4};
  std::vector<TestType> kept(64), first;
  for_every_isa<KeepRow<TestType>, TestType>(
      [&](const char* isa) {
        INFO(isa);
        if (first.empty()) first = kept;
        CHECK(kept == first);
      },
      &a, Index(2), Index(1), Index(4), kept.data());
  auto as_double = sized<double>(3, 4, 5, 64);
  as_double.dropout = a.dropout;
  for (Index j = 0; j < 64; ++j) CHECK((first[static_cast<std::size_t>(j)] > 0) == keeps_weight(as_double, 2, 1, 4, j));
}

TEST_CASE("attention_mask: dropout keeps its share, independently of neighbours in every direction", "[attention_mask]") {
  for (double p : {0.1, 0.5, 0.9}) {
    auto a = sized<float>(4, 4, 64, 64);
    a.dropout = {7, p};
    auto other = a;
    other.dropout.key = 8;
    double kept = 0, count = 0, pairs[5] = {};
    const auto x = [&](const Attention<float>& from, Index b, Index h, Index i, Index j) {
      return keeps_weight(from, b, h, i, j) ? p : p - 1;
    };
    for (Index b = 0; b < 3; ++b)
      for (Index h = 0; h < 3; ++h)
        for (Index i = 0; i < 63; ++i)
          for (Index j = 0; j < 63; ++j) {
            const double here = x(a, b, h, i, j);
            kept += here > 0, count += 1;
            pairs[0] += here * x(a, b, h, i, j + 1), pairs[1] += here * x(a, b, h, i + 1, j), pairs[2] += here * x(a, b, h + 1, i, j);
            pairs[3] += here * x(a, b + 1, h, i, j), pairs[4] += here * x(other, b, h, i, j);
          }
    // Standard errors of the mean and of a covariance of independent draws; 5 of them.
    CHECK(std::abs(kept / count - (1 - p)) < 5 * std::sqrt(p * (1 - p) / count));
    for (double pair : pairs) CHECK(std::abs(pair / count) < 5 * p * (1 - p) / std::sqrt(count));
  }
  auto all = sized<float>(1, 1, 1, 4096);
  all.dropout = {7, 1.0};
  CHECK(all.dropout.scale() == 0);  // the few that a 32-bit threshold lets through count nothing
}

TEST_CASE("attention_mask: the attended keys of random masks are those that some query attends", "[attention_mask]") {
  for (std::uint64_t seed = 0; seed < 300; ++seed) {
    const RandomAttention<float> random(seed, {.dropout = false});
    const Attention<float>& a = random.problem;
    std::vector<unsigned char> flags(static_cast<std::size_t>(a.keys)), one(flags.size());
    for (Index b = 0; b < a.batches; ++b)
      for (Index h = 0; h < a.heads; ++h) {
        const AttendedKeys found = attended_keys(a, b, h, 0, a.queries, 0, a.keys, flags.data());
        std::fill(one.begin(), one.end(), static_cast<unsigned char>(0));
        for (Index i = 0; i < a.queries; ++i)
          for (Index j = 0; j < a.keys; ++j) {
            bool attends = j < a.visible_keys(b, i);
            if (a.mask) attends = attends && a.mask.row(b, h, i)[j * a.mask.key];
            if (a.key_mask) attends = attends && a.key_mask.row(b, h, i)[j];
            if (a.bias) attends = attends && a.bias.row(b, h, i)[j * a.bias.key] > -1e29f;
            if (attends) one[static_cast<std::size_t>(j)] = 1;
          }
        INFO("seed " << seed);
        if (!found.empty()) REQUIRE((one[static_cast<std::size_t>(found.begin)] && one[static_cast<std::size_t>(found.end - 1)]));
        for (Index j = 0; j < a.keys; ++j) {
          const bool inside = j >= found.begin && j < found.end;
          const bool attended = inside && (!found.flags || found.flags[j - found.begin]);
          REQUIRE(attended == (one[static_cast<std::size_t>(j)] != 0));
        }
      }
  }
}

TEMPLATE_TEST_CASE("attention_mask: masked scores, and NaN that stays NaN", "[attention_mask]", float, double) {
  using T = TestType;
  auto a = sized<T>(1, 1, 2, 37);
  std::vector<T> bias(37);
  for (std::size_t j = 0; j < 37; ++j) bias[j] = T(0.25) * T(j);
  bias[3] = T(-HUGE_VAL), bias[4] = T(NAN), bias[5] = T(-3e38);
  std::vector<unsigned char> mask(37, 1);
  mask[7] = mask[36] = 0;
  a.bias = {bias.data(), 0, 0, 0, 1};
  a.mask = {reinterpret_cast<const bool*>(mask.data()), 0, 0, 0, 1};
  a.causal = true, a.causal_offset = 34;
  std::vector<T> s(2 * 64, T(2));
  s[8] = T(NAN);
  mask_scores<T>({&a, 0, 0, 0, 2, 0, 37, 64, s.data(), 64});
  for (Index i = 0; i < 2; ++i)
    for (Index j = 0; j < 64; ++j) {
      const T x = s[static_cast<std::size_t>(i * 64 + j)];
      INFO(i << ", " << j);
      if (j == 3 || j == 5 || j == 7 || j >= 35 + i)
        CHECK(x == T(kMaskedScore));
      else if (j == 4 || (j == 8 && i == 0))
        CHECK(std::isnan(x));
      else
        CHECK(static_cast<double>(x) == Approx(2 + 0.25 * static_cast<double>(j) * 1.4426950408889634));
    }
}

TEMPLATE_TEST_CASE("attention_mask: padding alone, behind a sequence's keys in a later chunk", "[attention_mask]", float, double) {
  auto a = sized<TestType>(2, 1, 3, 100);
  const Index lengths[] = {100, 75};
  a.key_lengths = lengths;
  for (const Index b : {0, 1})
    for (const Index keys : {36, 30, 11, 1}) {  // of the chunk from key 64 on
      std::vector<TestType> s(3 * 64, TestType(2));
      mask_scores<TestType>({&a, b, 0, 0, 3, 64, keys, 64, s.data(), 64});
      for (Index i = 0; i < 3 * 64; ++i)
        REQUIRE(s[static_cast<std::size_t>(i)] == TestType(i % 64 < std::min(keys, lengths[b] - 64) ? 2 : kMaskedScore));
    }
}
