// SPDX-License-Identifier: MIT
#include <cstring>

#include <heed/core/dual.hpp>
#include <heed/kernels/attention.hpp>

#include "catch.hpp"
#include "reference/attention_reference.hpp"
#include "reference/poison_pool.hpp"
#include "reference/random_tensor.hpp"

using namespace heed;
using kernels::Attention;
using kernels::HeadRows;

namespace {

template <class T>
struct Result {
  std::vector<T> y, log_sum, weights;

  explicit Result(const Attention<T>& a, bool with_weights = true)
      : y(static_cast<std::size_t>(a.batches * a.heads * a.queries * a.value_width), T(77)),
        log_sum(static_cast<std::size_t>(a.batches * a.heads * a.queries)),
        weights(static_cast<std::size_t>(a.batches * a.heads * a.queries * a.keys)) {
    const HeadRows<T> rows{y.data(), a.heads * a.queries * a.value_width, a.queries * a.value_width, a.value_width};
    kernels::attention_forward(a, rows, log_sum.data(), with_weights ? weights.data() : nullptr);
  }
};

template <class T>
double largest_error(const std::vector<T>& given, const std::vector<double>& exact) {
  REQUIRE(given.size() == exact.size());
  double worst = 0;
  for (std::size_t i = 0; i < given.size(); ++i) {
    if (static_cast<double>(given[i]) == exact[i]) continue;  // infinities
    const double error = std::abs(static_cast<double>(given[i]) - exact[i]) / std::max(1.0, std::abs(exact[i]));
    worst = std::isnan(error) ? HUGE_VAL : std::max(worst, error);
  }
  return worst;
}

/// Rounding of a score of size some units, times its effect on weights below 1 and values below 2.
template <class T>
constexpr double kTolerance = sizeof(T) == 4 ? 4e-6 : 1e-14;

/// A plain problem over dense q, k, v with every element `scale` times a number in +-1.
template <class T>
struct Dense {
  std::vector<T> q, k, v;
  Attention<T> a;

  Dense(Index batches, Index heads, Index queries, Index keys, Index width, Index value_width, double size = 1) {
    a.batches = batches, a.heads = a.kv_heads = heads, a.queries = queries, a.keys = keys, a.width = width, a.value_width = value_width;
    a.scale = 1 / std::sqrt(double(width));
    a.q = fill(q, queries, width, size, 1), a.k = fill(k, keys, width, size, 2), a.v = fill(v, keys, value_width, 1, 3);
  }
  HeadRows<const T> fill(std::vector<T>& x, Index tokens, Index width, double size, std::uint64_t seed) {
    x.resize(static_cast<std::size_t>(a.batches * a.heads * tokens * width));
    const CounterRandom random({seed});
    for (std::size_t i = 0; i < x.size(); ++i) x[i] = T(random.uniform(i, -size, size));
    return {x.data(), a.heads * tokens * width, tokens * width, width};
  }
};

}  // namespace

TEMPLATE_TEST_CASE("attention: random problems agree with the reference", "[attention]", float, double) {
  for (std::uint64_t seed = 0; seed < 250; ++seed) {
    reference::poison_pool(1 << 18);
    const RandomAttention<TestType> random(seed, {});
    const AttentionReference exact = attention_reference(random.problem);
    const Attention<TestType>& a = random.problem;
    const Result<TestType> result(a);
    INFO("seed " << seed << ": " << a.batches << " x " << a.heads << "/" << a.kv_heads << " heads, " << a.queries << " x " << a.keys
                 << ", widths " << a.width << ", " << a.value_width << ", causal " << a.causal << " " << a.causal_offset << ", mask "
                 << bool(a.mask) << ", key mask " << bool(a.key_mask) << ", bias " << bool(a.bias) << ", soft cap " << a.softcap
                 << ", dropout " << a.dropout.p << ", lengths " << (a.key_lengths != nullptr) << ", end aligned " << a.end_aligned
                 << ", limit " << a.key_limit << ", slopes " << (a.slopes != nullptr));
    const double grow = a.dropout.active() ? a.dropout.scale() : 1;
    REQUIRE(largest_error(result.y, exact.y) < kTolerance<TestType> * grow);
    REQUIRE(largest_error(result.weights, exact.weights) < kTolerance<TestType> * grow);
    REQUIRE(largest_error(result.log_sum, exact.log_sum) < kTolerance<TestType>);

    std::vector<TestType> scores(exact.weights.size(), TestType(77));
    const auto stage = [&](kernels::ScoreStage wanted) -> const std::vector<TestType>& {
      kernels::attention_scores(a, wanted, scores.data());
      return scores;
    };
    REQUIRE(largest_error(stage(kernels::ScoreStage::scaled), exact.scaled) < kTolerance<TestType>);
    REQUIRE(largest_error(stage(kernels::ScoreStage::capped), exact.capped) < kTolerance<TestType>);
    REQUIRE(largest_error(stage(kernels::ScoreStage::masked), exact.masked) < kTolerance<TestType>);
  }
}

TEMPLATE_TEST_CASE("attention: one-token, one-key and empty problems", "[attention]", float, double) {
  const Dense<TestType> one(2, 1, 1, 1, 3, 3);
  CHECK(Result<TestType>(one.a).y == one.v);  // a weight of exactly 1
  Dense<TestType> none(2, 1, 3, 1, 3, 2);
  none.a.keys = 0;
  for (TestType y : Result<TestType>(none.a).y) CHECK(y == 0);
  none.a.queries = 0;
  CHECK(Result<TestType>(none.a).y.empty());
}

TEMPLATE_TEST_CASE("attention: more keys than a chunk run with a rescaled sum", "[attention]", float, double) {
  const Index keys = 2 * kernels::kForwardKeys + 37;
  Dense<TestType> dense(1, 1, 17, keys, 5, 3, 6);
  SECTION("all keys") {}
  SECTION("causal, some rows end in the first chunk") { dense.a.causal = true, dense.a.causal_offset = kernels::kForwardKeys - 8; }
  SECTION("causal, most rows see nothing") { dense.a.causal = true, dense.a.causal_offset = -9; }
  std::vector<unsigned char> padding(static_cast<std::size_t>(keys), 1);
  SECTION("padding that masks the first chunk") {
    std::fill_n(padding.begin(), kernels::kForwardKeys + 5, static_cast<unsigned char>(0));
    dense.a.key_mask = {reinterpret_cast<const bool*>(padding.data()), keys, 0, 0, 1};
  }
  const AttentionReference exact = attention_reference(dense.a);
  reference::poison_pool();
  const Result<TestType> chunked(dense.a, false);
  CHECK(largest_error(chunked.y, exact.y) < kTolerance<TestType>);
  CHECK(largest_error(chunked.log_sum, exact.log_sum) < kTolerance<TestType>);
  const Result<TestType> observed(dense.a);
  CHECK(largest_error(observed.weights, exact.weights) < kTolerance<TestType>);
  CHECK(std::memcmp(observed.y.data(), chunked.y.data(), chunked.y.size() * sizeof(TestType)) ==
        0);  // asking for the weights changes nothing
  CHECK(std::memcmp(observed.log_sum.data(), chunked.log_sum.data(), chunked.log_sum.size() * sizeof(TestType)) == 0);
}

TEMPLATE_TEST_CASE("attention: extreme scores, against the reference", "[attention]", float, double) {
  const Index width = GENERATE(1, 7, 16, 64);
  for (Index keys : {Index{1}, Index{2}, Index{5}, Index{17}, kernels::kForwardKeys + 3}) {
    INFO(keys << " keys of " << width << " features");
    const ExtremeAttention<TestType> extreme(keys, width);
    const AttentionReference exact = attention_reference(extreme.problem);
    const Result<TestType> result(extreme.problem);
    CHECK(largest_error(result.y, exact.y) < 4 * kTolerance<TestType>);
    CHECK(largest_error(result.weights, exact.weights) < 4 * kTolerance<TestType>);
    CHECK(largest_error(result.log_sum, exact.log_sum) < kTolerance<TestType>);
  }
}

TEMPLATE_TEST_CASE("attention: the same bits for any number of threads, any batch and any position", "[attention]", float, double) {
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    const RandomAttention<TestType> random(seed, {.dropout = false});
    Attention<TestType> a = random.problem;
    const Result<TestType> together = [&] {
      ThreadScope threads(1);
      return Result<TestType>(a);
    }();
    for (int threads : {2, 3, 7}) {
      ThreadScope scope(threads);
      const Result<TestType> other(a);
      REQUIRE(std::memcmp(other.y.data(), together.y.data(), other.y.size() * sizeof(TestType)) == 0);
    }
    const Index last = a.batches - 1;  // the last sequence alone
    a.q.data += last * a.q.batch, a.k.data += last * a.k.batch, a.v.data += last * a.v.batch;
    if (a.mask) a.mask.data += last * a.mask.batch;
    if (a.key_mask) a.key_mask.data += last * a.key_mask.batch;
    if (a.key_lengths) a.key_lengths += last;
    if (a.bias) a.bias.data += last * a.bias.batch;
    a.batches = 1;
    const Result<TestType> alone(a);
    const std::size_t offset = together.y.size() - alone.y.size();
    REQUIRE(std::memcmp(alone.y.data(), together.y.data() + offset, alone.y.size() * sizeof(TestType)) == 0);
  }
  // Long enough to be cut into ranges of queries, with a window that makes the attended keys of each range differ.
  Dense<TestType> dense(1, 1, 700, 700, 8, 8);
  std::vector<unsigned char> window(700 * 700);
  for (Index i = 0; i < 700; ++i)
    for (Index j = 0; j < 700; ++j) window[static_cast<std::size_t>(i * 700 + j)] = std::abs(i - j) < 50;
  dense.a.mask = {reinterpret_cast<const bool*>(window.data()), 0, 0, 700, 1};
  std::vector<TestType> first;
  for (int threads : {1, 2, 3, 8}) {
    ThreadScope scope(threads);
    const Result<TestType> result(dense.a, false);
    if (first.empty()) first = result.y;
    CHECK(std::memcmp(first.data(), result.y.data(), first.size() * sizeof(TestType)) == 0);
  }
  for (Index i : {50, 61, 72, 333, 699}) {  // alone, a query's range of keys starts at another key
    Attention<TestType> one = dense.a;
    one.queries = 1, one.q.data += i * one.q.row, one.mask.data += i * one.mask.query;
    const Result<TestType> alone(one, false);
    CHECK(std::memcmp(first.data() + i * 8, alone.y.data(), alone.y.size() * sizeof(TestType)) == 0);
  }
}

TEMPLATE_TEST_CASE("attention: one query of heads that share keys has the bits of each head alone", "[attention]", float, double) {
  const Index heads = 6, keys = 530;
  Dense<TestType> dense(2, heads, 1, keys, 20, 9);
  const auto bias = reference::random_tensor<TestType, 2>({2, keys}, 4);
  Tensor<bool, 2> some({2, keys});
  for (Index i = 0; i < some.size(); ++i) some[i] = i % 3 != 0 && i % keys > 7;
  const std::vector<Index> lengths{411, keys};
  for (int variant = 0; variant < 10; ++variant) {
    Attention<TestType> a = dense.a;
    a.kv_heads = 2;
    if (variant == 1) a.causal = true, a.causal_offset = 300;
    if (variant == 2) a.causal = true, a.causal_offset = 2 * keys, a.key_limit = 520;
    if (variant == 3) a.causal = a.end_aligned = true, a.key_lengths = lengths.data();
    if (variant == 4) a.mask = {some.data(), keys, 0, 7, 1};  // a stride between queries is never used
    if (variant == 5) a.key_mask = {some.data(), keys, 0, 0, 1}, a.softcap = 2;
    if (variant == 6) a.bias = {bias.data(), keys, 0, 5, 1};
    if (variant == 7) a.causal = true, a.causal_offset = -1;  // sees no key
    if (variant == 8) a.bias = {bias.data(), 10, 30, 5, 1};   // of each head: these are not joined
    if (variant == 9) a.mask = {some.data(), 10, 30, 7, 1};
    const Result<TestType> together(a);
    for (Index b = 0; b < 2; ++b)
      for (Index h = 0; h < heads; ++h) {
        Attention<TestType> one = a;
        one.batches = one.heads = one.kv_heads = 1;
        one.q.data += b * a.q.batch + h * a.q.head, one.k.data += b * a.k.batch + h / 3 * a.k.head,
            one.v.data += b * a.v.batch + h / 3 * a.v.head;
        if (a.key_lengths) one.key_lengths += b;
        if (a.mask) one.mask.data += b * a.mask.batch + h * a.mask.head;
        if (a.key_mask) one.key_mask.data += b * keys;
        if (a.bias) one.bias.data += b * a.bias.batch + h * a.bias.head;
        const Result<TestType> alone(one);
        const auto same = [&](const std::vector<TestType>& all, const std::vector<TestType>& part) {
          return std::memcmp(
                     all.data() + static_cast<std::size_t>(b * heads + h) * part.size(), part.data(), part.size() * sizeof(TestType)) == 0;
        };
        INFO("variant " << variant << ", sequence " << b << ", head " << h);
        REQUIRE(same(together.y, alone.y));
        REQUIRE(same(together.log_sum, alone.log_sum));
        REQUIRE(same(together.weights, alone.weights));
      }
  }
}

TEMPLATE_TEST_CASE("attention: keys and values that nobody attends may be NaN and change no bit", "[attention]", float, double) {
  int tried = 0;
  for (std::uint64_t seed = 0; seed < 150; ++seed) {
    RandomAttention<TestType> random(seed, {});
    const Attention<TestType>& a = random.problem;
    const Result<TestType> before(a);
    std::vector<unsigned char> flags(static_cast<std::size_t>(a.keys));
    for (Index b = 0; b < a.batches; ++b)
      for (Index kv = 0; kv < a.kv_heads; ++kv)
        for (Index j = 0; j < a.keys; ++j) {
          unsigned char attended = 0;
          for (Index h = kv * (a.heads / a.kv_heads); h < (kv + 1) * (a.heads / a.kv_heads); ++h)
            for (Index i = 0; i < a.queries; ++i) {
              kernels::detail::add_attended(a, b, h, i, j, j + 1, flags.data());
              attended |= flags[static_cast<std::size_t>(j)], flags[static_cast<std::size_t>(j)] = 0;
            }
          if (attended) continue;
          ++tried;
          const TestType poison = random.draw(2) ? TestType(NAN) : TestType(HUGE_VAL);
          for (Index d = 0; d < a.width; ++d) random.k[static_cast<std::size_t>(a.k.at(b, kv, j) + d - a.k.data)] = poison;
          for (Index d = 0; d < a.value_width; ++d) random.v[static_cast<std::size_t>(a.v.at(b, kv, j) + d - a.v.data)] = poison;
        }
    const Result<TestType> after(a);
    INFO("seed " << seed);
    REQUIRE(std::memcmp(before.y.data(), after.y.data(), before.y.size() * sizeof(TestType)) == 0);
    REQUIRE(std::memcmp(before.weights.data(), after.weights.data(), before.weights.size() * sizeof(TestType)) == 0);
    REQUIRE(std::memcmp(before.log_sum.data(), after.log_sum.data(), before.log_sum.size() * sizeof(TestType)) == 0);
  }
  CHECK(tried > 500);
}

TEST_CASE(
    "attention: a head that is cut among threads has the bits of a whole one, where a bias hides keys from all of it", "[attention]") {
  for (Index hidden : {0, 30}) {  // at the end, and one in between
    Dense<float> p(1, 2, 300, 120, 8, 8);
    std::vector<float> bias(2 * 300 * 120);
    for (Index row = 0; row < 600; ++row)
      for (Index j = 0; j < 120; ++j)
        bias[static_cast<std::size_t>(row * 120 + j)] = hidden && (j >= 120 - hidden || j == 50) ? -HUGE_VALF : float(row + j) / 600;
    for (Index h = 0; h < 2 && hidden; ++h)
      for (Index d = 0; d < 8; ++d)
        p.k[static_cast<std::size_t>((h * 120 + 50) * 8 + d)] = p.v[static_cast<std::size_t>((h * 120 + 119) * 8 + d)] = NAN;
    p.a.bias = {bias.data(), 2 * 300 * 120, 300 * 120, 120, 1};
    std::vector<float> y[2];
    for (int threads : {1, 4}) {
      const ThreadScope scope(threads);
      y[threads / 4] = Result<float>(p.a).y;
    }
    for (float number : y[0]) REQUIRE(std::isfinite(number));
    CHECK(y[0] == y[1]);
  }
}

TEST_CASE("attention: a NaN that is attended is not swallowed", "[attention]") {
  Dense<float> dense(1, 1, 3, 40, 8, 8);
  dense.q[8] = NAN;  // the second query
  dense.a.causal = true;
  const Result<float> result(dense.a);
  CHECK(!std::isnan(result.y[0]));
  CHECK(std::isnan(result.y[8]));
  CHECK(!std::isnan(result.y[16]));
}

TEST_CASE("attention: NaN is not swallowed, whatever its payload", "[attention]") {
  for (std::uint32_t bits : {0x7fc00000u, 0x7fc00001u, 0x7fc000ffu, 0x7fc001ffu, 0x7f800001u, 0x7fffffffu, 0xffc00001u, 0xffffffffu})
    for (double softcap : {0.0, 2.0}) {
      INFO(std::hex << bits << ", soft cap " << softcap);
      float nan;
      std::memcpy(&nan, &bits, sizeof nan);
      Dense<float> query(1, 1, 3, 40, 8, 8), key(1, 1, 3, 40, 8, 8), value(1, 1, 3, 40, 8, 8);
      query.q[8 + 3] = nan, key.k[17 * 8] = nan, value.v[17 * 8 + 5] = nan;
      query.a.softcap = key.a.softcap = softcap;
      const Result<float> of_query(query.a), of_key(key.a), of_value(value.a);
      for (std::size_t i = 0; i < of_query.y.size(); ++i) {
        CHECK(std::isnan(of_query.y[i]) == (i / 8 == 1));
        CHECK(std::isnan(of_key.y[i]));
        CHECK(std::isnan(of_value.y[i]) == (i % 8 == 5));
      }
      CHECK(std::isnan(of_key.log_sum[0]));
    }
}

TEST_CASE("attention: a packed projection is read in place", "[attention]") {
  const Index batches = 2, tokens = 19, heads = 3, width = 8, features = heads * width;
  std::vector<float> packed(static_cast<std::size_t>(batches * tokens * 3 * features)), dense_q, dense_k, dense_v;
  const CounterRandom random({5});
  for (std::size_t i = 0; i < packed.size(); ++i) packed[i] = static_cast<float>(random.uniform(i, -1, 1));
  Attention<float> a;
  a.batches = batches, a.heads = a.kv_heads = heads, a.queries = a.keys = tokens, a.width = a.value_width = width, a.scale = 0.3;
  const HeadRows<const float> rows{packed.data(), tokens * 3 * features, width, 3 * features};
  a.q = a.k = a.v = rows;
  a.k.data += features, a.v.data += 2 * features;
  CHECK(largest_error(Result<float>(a).y, attention_reference(a).y) < kTolerance<float>);
}

TEST_CASE("attention: dual numbers run the same code", "[attention]") {
  using D = Dual<1>;
  Dense<D> dense(1, 2, 5, 7, 3, 4);
  dense.a.causal = true, dense.a.causal_offset = 2;
  dense.q[1].tangent[0] = 1;
  const Result<D> result(dense.a);
  Dense<double> moved(1, 2, 5, 7, 3, 4);
  moved.a.causal = true, moved.a.causal_offset = 2;
  const Result<double> base(moved.a);
  moved.q[1] += 1e-6;
  const Result<double> shifted(moved.a);
  for (std::size_t i = 0; i < base.y.size(); ++i) {
    CHECK(result.y[i].value == Approx(base.y[i]).epsilon(1e-13));
    CHECK(result.y[i].tangent[0] == Approx((shifted.y[i] - base.y[i]) / 1e-6).margin(1e-6));
  }
}
