// SPDX-License-Identifier: MIT
#include <cstring>

#include <heed/kernels/attention.hpp>

#include "catch.hpp"
#include "reference/attention_reference.hpp"
#include "reference/poison_pool.hpp"

using namespace heed;
using kernels::Attention;
using kernels::AttentionGradients;
using kernels::HeadRows;

namespace {

/// Forward and backward of a problem, all results dense.
template <class T>
struct Gradients {
  std::vector<T> y, log_sum, weights, dq, dk, dv, d_bias, d_slopes;

  /// A bias of `bias_size` numbers gets a gradient.
  Gradients(const Attention<T>& a, const HeadRows<const T>& dy, std::size_t bias_size = 0, Index bias_first = 0,
      const kernels::MaskRef<const T>& d_weights = {}) {
    const auto dense = [&](std::vector<T>& x, Index heads, Index tokens, Index width) {
      x.assign(static_cast<std::size_t>(a.batches * heads * tokens * width), T(77));
      return HeadRows<T>{x.data(), heads * tokens * width, tokens * width, width};
    };
    const HeadRows<T> y_rows = dense(y, a.heads, a.queries, a.value_width);
    log_sum.resize(static_cast<std::size_t>(a.batches * a.heads * a.queries));
    weights.resize(log_sum.size() * static_cast<std::size_t>(a.keys));
    kernels::attention_forward(a, y_rows, log_sum.data(), d_weights ? weights.data() : nullptr);
    AttentionGradients<T> g;
    g.y = {y.data(), y_rows.batch, y_rows.head, y_rows.row};
    g.dy = dy, g.log_sum = log_sum.data(), g.weights = weights.data(), g.d_weights = d_weights;
    g.dq = dense(dq, a.heads, a.queries, a.width), g.dk = dense(dk, a.kv_heads, a.keys, a.width);
    g.dv = dense(dv, a.kv_heads, a.keys, a.value_width);
    if (bias_size > 0) {
      d_bias.assign(bias_size, T(0));
      g.d_bias = {d_bias.data() + bias_first, a.bias.batch, a.bias.head, a.bias.query, a.bias.key};
    }
    d_slopes.assign(static_cast<std::size_t>(a.slopes ? a.heads : 0), T(0));
    if (a.slopes) g.d_slopes = d_slopes.data();
    kernels::attention_backward(a, g);
  }
};

template <class T>
double largest_error(const std::vector<T>& given, const std::vector<double>& exact) {
  REQUIRE(given.size() == exact.size());
  double worst = 0;
  for (std::size_t i = 0; i < given.size(); ++i) {
    const double error = std::abs(static_cast<double>(given[i]) - exact[i]) / std::max(1.0, std::abs(exact[i]));
    worst = std::isnan(error) ? HUGE_VAL : std::max(worst, error);
  }
  return worst;
}

template <class T>
constexpr double kTolerance = sizeof(T) == 4 ? 2e-5 : 1e-13;

/// The reference's dS summed over the repeated axes of the bias, in the bias' own memory.
template <class T>
std::vector<double> summed_bias(const Attention<T>& a, const std::vector<double>& ds, std::size_t size, Index first) {
  std::vector<double> sums(size);
  std::size_t n = 0;
  for (Index b = 0; b < a.batches; ++b)
    for (Index h = 0; h < a.heads; ++h)
      for (Index i = 0; i < a.queries; ++i)
        for (Index j = 0; j < a.keys; ++j, ++n)
          if (j < a.key_limit)
            sums[static_cast<std::size_t>(first + b * a.bias.batch + h * a.bias.head + i * a.bias.query + j * a.bias.key)] += ds[n];
  return sums;
}

template <class T>
bool same_bits(const std::vector<T>& a, const std::vector<T>& b) {
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0);
}

}  // namespace

TEMPLATE_TEST_CASE("attention_backward: random problems agree with the reference", "[attention_backward]", float, double) {
  int biases = 0, slopes = 0;
  for (std::uint64_t seed = 1000; seed < 1250; ++seed) {
    reference::poison_pool(1 << 18);
    RandomAttention<TestType> random(seed, {});
    const Attention<TestType>& a = random.problem;
    const bool with_weights = random.draw(4) == 0;
    std::vector<TestType> d_weights(static_cast<std::size_t>(a.batches * a.heads * a.queries * a.keys));
    for (TestType& x : d_weights) x = TestType(random.uniform(-1, 1));
    kernels::MaskRef<const TestType> d_weights_ref;
    if (with_weights) d_weights_ref = {d_weights.data(), a.heads * a.queries * a.keys, random.draw(2) ? 0 : a.queries * a.keys, a.keys, 1};
    const AttentionReference exact = attention_reference(a, &random.dy_rows, with_weights ? &d_weights_ref : nullptr);
    const Gradients<TestType> given(a, random.dy_rows, random.bias.size(), random.bias_first, d_weights_ref);
    INFO("seed " << seed << ": " << a.batches << " x " << a.heads << "/" << a.kv_heads << " heads, " << a.queries << " x " << a.keys
                 << ", widths " << a.width << ", " << a.value_width << ", causal " << a.causal << " " << a.causal_offset << ", mask "
                 << bool(a.mask) << ", key mask " << bool(a.key_mask) << ", bias " << bool(a.bias) << ", soft cap " << a.softcap
                 << ", dropout " << a.dropout.p << ", weights " << with_weights << ", lengths " << (a.key_lengths != nullptr)
                 << ", end aligned " << a.end_aligned << ", limit " << a.key_limit << ", slopes " << (a.slopes != nullptr)
                 << ", bias strides " << a.bias.batch << " " << a.bias.head << " " << a.bias.query << " " << a.bias.key);
    const double tolerance = kTolerance<TestType> * (a.dropout.active() ? a.dropout.scale() : 1);
    REQUIRE(largest_error(given.dv, exact.dv) < tolerance);
    REQUIRE(largest_error(given.dq, exact.dq) < tolerance);
    REQUIRE(largest_error(given.dk, exact.dk) < tolerance);
    if (a.bias) {
      ++biases;
      REQUIRE(largest_error(given.d_bias, summed_bias(a, exact.d_bias, random.bias.size(), random.bias_first)) < tolerance);
    }
    if (a.slopes) {
      ++slopes;
      REQUIRE(largest_error(given.d_slopes, exact.d_slopes) < tolerance * static_cast<double>(a.keys));
    }
  }
  CHECK((biases > 30 && slopes > 30));
}

TEMPLATE_TEST_CASE(
    "attention_backward: a soft cap under a causal mask reads nothing that was not written", "[attention_backward]", float, double) {
  for (Index tokens : {2, 7, 16, 17, 65, 130}) {
    RandomAttention<TestType> random(1000, {});  // for its generator
    std::vector<TestType> x(static_cast<std::size_t>(4 * tokens * 8));
    for (TestType& element : x) element = TestType(random.uniform(-2, 2));
    Attention<TestType> a;
    a.batches = a.heads = a.kv_heads = 1, a.queries = a.keys = tokens, a.width = a.value_width = 8, a.causal = true, a.softcap = 2;
    a.q = {x.data(), 0, 0, 8}, a.k = {x.data() + tokens * 8, 0, 0, 8}, a.v = {x.data() + 2 * tokens * 8, 0, 0, 8};
    const HeadRows<const TestType> dy{x.data() + 3 * tokens * 8, 0, 0, 8};
    const AttentionReference exact = attention_reference(a, &dy);
    reference::poison_pool();
    const Gradients<TestType> given(a, dy);
    INFO(tokens << " tokens");
    CHECK(largest_error(given.dq, exact.dq) < kTolerance<TestType>);
    CHECK(largest_error(given.dk, exact.dk) < kTolerance<TestType>);
    CHECK(largest_error(given.dv, exact.dv) < kTolerance<TestType>);
  }
}

TEMPLATE_TEST_CASE(
    "attention_backward: several chunks of keys, the same bits for any number of threads", "[attention_backward]", float, double) {
  using T = TestType;
  const Index queries = 340, keys = 3 * kernels::kBackwardKeys + 21, width = 8;
  const std::vector<Index> lengths{keys - 30, kernels::kBackwardKeys + 9};
  std::vector<T> q(queries * width), k(static_cast<std::size_t>(keys * width)), v(k.size()), dy(q.size()),
      bias(static_cast<std::size_t>(queries + keys - 1));
  const T slope = T(0.01);
  const CounterRandom random({3});
  for (std::size_t i = 0; i < k.size(); ++i) k[i] = T(random.uniform(i, -2, 2)), v[i] = T(random.uniform(i + 100000, -1, 1));
  for (std::size_t i = 0; i < q.size(); ++i) q[i] = T(random.uniform(i + 200000, -2, 2)), dy[i] = T(random.uniform(i + 300000, -1, 1));
  Attention<T> a;
  a.batches = a.heads = a.kv_heads = 1, a.queries = queries, a.keys = keys, a.width = a.value_width = width, a.scale = 0.5;
  a.q = {q.data(), 0, 0, width}, a.k = {k.data(), 0, 0, width}, a.v = {v.data(), 0, 0, width};
  const HeadRows<const T> dy_rows{dy.data(), 0, 0, width};
  SECTION("all keys") {}
  SECTION("causal") { a.causal = true, a.causal_offset = 2 * kernels::kBackwardKeys - 50; }
  SECTION("causal with a soft cap") { a.causal = true, a.softcap = 2, a.causal_offset = 2 * kernels::kBackwardKeys - 50; }
  SECTION("bias and dropout") {
    bias.resize(static_cast<std::size_t>(keys));
    a.bias = {bias.data(), 0, 0, 0, 1};
    a.dropout = {4, 0.2};
  }
  SECTION("a number for each score, more than L2 holds") {
    bias.resize(static_cast<std::size_t>(queries * keys));
    a.bias = {bias.data(), 0, 0, keys, 1};
    REQUIRE(kernels::fetching_pays<T>(queries * keys));
  }
  SECTION("a table of relative positions") { a.bias = {bias.data() + queries - 1, 0, 0, -1, 1}; }
  SECTION("a table of sums of positions") { a.bias = {bias.data(), 0, 0, 1, 1}; }
  SECTION("distances and lengths") {
    a.batches = 2;  // of the same numbers
    a.slopes = &slope, a.key_lengths = lengths.data();
    a.causal = a.end_aligned = true;
  }
  for (std::size_t i = 0; i < bias.size(); ++i) bias[i] = T(random.uniform(i + 400000, -1, 1));
  const AttentionReference exact = attention_reference(a, &dy_rows);
  std::unique_ptr<Gradients<T>> first;
  for (int threads : {1, 2, 3, 8}) {
    reference::poison_pool();
    ThreadScope scope(threads);
    auto given = std::make_unique<Gradients<T>>(a, dy_rows, a.bias ? bias.size() : 0, a.bias.query < 0 ? queries - 1 : 0);
    if (!first)
      first = std::move(given);
    else {
      CHECK(same_bits(first->dq, given->dq));
      CHECK(same_bits(first->dk, given->dk));
      CHECK(same_bits(first->dv, given->dv));
      CHECK(same_bits(first->d_bias, given->d_bias));
      CHECK(same_bits(first->d_slopes, given->d_slopes));
    }
  }
  CHECK(largest_error(first->dq, exact.dq) < kTolerance<T>);
  CHECK(largest_error(first->dk, exact.dk) < kTolerance<T>);
  CHECK(largest_error(first->dv, exact.dv) < kTolerance<T>);
  if (a.bias)
    CHECK(largest_error(first->d_bias, summed_bias(a, exact.d_bias, bias.size(), a.bias.query < 0 ? queries - 1 : 0)) < kTolerance<T>);
  if (a.slopes) CHECK(largest_error(first->d_slopes, exact.d_slopes) < 100 * kTolerance<T>);
}

TEMPLATE_TEST_CASE(
    "attention_backward: random problems give the same bits for any number of threads", "[attention_backward]", float, double) {
  for (std::uint64_t seed = 2000; seed < 2060; ++seed) {
    const RandomAttention<TestType> random(seed, {});
    const auto run = [&](int threads) {
      ThreadScope scope(threads);
      return Gradients<TestType>(random.problem, random.dy_rows, random.bias.size(), random.bias_first);
    };
    const auto one = run(1), three = run(3);
    INFO("seed " << seed);
    REQUIRE(same_bits(one.dq, three.dq));
    REQUIRE(same_bits(one.dk, three.dk));
    REQUIRE(same_bits(one.dv, three.dv));
    REQUIRE(same_bits(one.d_bias, three.d_bias));
    REQUIRE(same_bits(one.d_slopes, three.d_slopes));
  }
}

TEST_CASE(
    "attention_backward: heads beyond L2, whose operands are asked for ahead, have the bits of a batch alone", "[attention_backward]") {
  const Index batches = 45, heads = 4, tokens = 19, width = 40;  // 2.2 MB forward
  std::vector<float> x(static_cast<std::size_t>(4 * batches * heads * tokens * width));
  const CounterRandom random({5});
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(random.uniform(i, -1, 1));
  const bool interleaved = GENERATE(false, true);
  const auto rows = [&](Index operand) {
    const float* data = x.data() + operand * batches * heads * tokens * width;
    const Index row = interleaved ? heads * width : width, head = interleaved ? width : tokens * width;
    return HeadRows<const float>{data, heads * tokens * width, head, row};
  };
  Attention<float> a;
  a.batches = batches, a.heads = a.kv_heads = heads, a.queries = a.keys = tokens, a.width = a.value_width = width, a.scale = 0.3;
  a.q = rows(0), a.k = rows(1), a.v = rows(2);
  const Gradients<float> together(a, rows(3));
  a.batches = 1;
  for (const Index b : {0, 1, 44}) {
    HeadRows<const float> dy = rows(3);
    for (HeadRows<const float>* operand : {&a.q, &a.k, &a.v, &dy}) operand->data += b * operand->batch;
    const Gradients<float> alone(a, dy);
    const auto same = [](const std::vector<float>& all, const std::vector<float>& part, Index from) {
      return std::memcmp(all.data() + from * static_cast<Index>(part.size()), part.data(), part.size() * sizeof(float)) == 0;
    };
    CHECK((same(together.y, alone.y, b) && same(together.dq, alone.dq, b) && same(together.dk, alone.dk, b) &&
           same(together.dv, alone.dv, b)));
    for (HeadRows<const float>* operand : {&a.q, &a.k, &a.v}) operand->data -= b * operand->batch;
  }
}

TEMPLATE_TEST_CASE(
    "attention_backward: keys and values that nobody attends may be NaN and change no bit", "[attention_backward]", float, double) {
  int tried = 0;
  for (std::uint64_t seed = 3000; seed < 3100; ++seed) {
    RandomAttention<TestType> random(seed, {});
    const Attention<TestType>& a = random.problem;
    const Gradients<TestType> before(a, random.dy_rows);
    std::vector<unsigned char> flag(1);
    for (Index b = 0; b < a.batches; ++b)
      for (Index kv = 0; kv < a.kv_heads; ++kv)
        for (Index j = 0; j < a.keys; ++j) {
          flag[0] = 0;
          for (Index h = kv * (a.heads / a.kv_heads); h < (kv + 1) * (a.heads / a.kv_heads); ++h)
            for (Index i = 0; i < a.queries; ++i) kernels::detail::add_attended(a, b, h, i, j, j + 1, flag.data() - j);
          if (flag[0]) continue;
          ++tried;
          for (Index d = 0; d < a.width; ++d) random.k[static_cast<std::size_t>(a.k.at(b, kv, j) + d - a.k.data)] = TestType(NAN);
          for (Index d = 0; d < a.value_width; ++d)
            random.v[static_cast<std::size_t>(a.v.at(b, kv, j) + d - a.v.data)] = TestType(HUGE_VAL);
        }
    const Gradients<TestType> after(a, random.dy_rows);
    INFO("seed " << seed);
    REQUIRE(same_bits(before.dq, after.dq));
    REQUIRE(same_bits(before.dk, after.dk));
    REQUIRE(same_bits(before.dv, after.dv));
  }
  CHECK(tried > 300);
}

TEMPLATE_TEST_CASE("attention_backward: weights add up to 1 however large the scores are", "[attention_backward]", float, double) {
  // Five equal keys have a fifth each, and the gradient of their values is a fifth of dy. Every head has a score of its own, some of them negative.
  constexpr Index heads = 64, keys = 5;
  std::vector<TestType> q(heads), k(heads * keys, TestType(23)), v(heads * keys, TestType(1)), dy(heads, TestType(1));
  for (std::size_t h = 0; h < heads; ++h) q[h] = TestType(1.37 * static_cast<double>(h) - 40);
  const auto rows = [](const std::vector<TestType>& x, Index tokens) {
    return HeadRows<const TestType>{x.data(), heads * tokens, tokens, 1};
  };
  const Attention<TestType> a{.batches = 1,
      .heads = heads,
      .kv_heads = heads,
      .queries = 1,
      .keys = keys,
      .width = 1,
      .value_width = 1,
      .q = rows(q, 1),
      .k = rows(k, keys),
      .v = rows(v, keys)};
  const Gradients<TestType> given(a, rows(dy, 1));
  // The logarithm of a row's sum is 1500 here, and its rounding alone changes the weights by 250 epsilon.
  const TestType tolerance = 20 * std::numeric_limits<TestType>::epsilon();
  for (TestType dv : given.dv) REQUIRE(std::abs(5 * dv - 1) < tolerance);
}

TEMPLATE_TEST_CASE("attention_backward: extreme scores, against the reference", "[attention_backward]", float, double) {
  const Index width = GENERATE(1, 7, 16, 64);
  for (Index keys : {1, 2, 5, 17, 70}) {
    INFO(keys << " keys of " << width << " features");
    const ExtremeAttention<TestType> extreme(keys, width);
    const AttentionReference exact = attention_reference(extreme.problem, &extreme.dy);
    const Gradients<TestType> given(extreme.problem, extreme.dy);
    CHECK(largest_error(given.dk, exact.dk) < kTolerance<TestType>);
    CHECK(largest_error(given.dv, exact.dv) < kTolerance<TestType>);
    // A sum of products with the keys, which are as large as the scores.
    for (std::size_t i = 0; i < given.dq.size(); ++i)
      REQUIRE(std::abs(static_cast<double>(given.dq[i]) - exact.dq[i]) <= kTolerance<TestType> * extreme.largest_key(i));
  }
}
