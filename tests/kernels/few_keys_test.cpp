// SPDX-License-Identifier: MIT
#include <cstring>
#include <limits>
#include <vector>

#include <heed/core/dual.hpp>
#include <heed/kernels/attention.hpp>

#include "catch.hpp"
#include "reference/layer_rules.hpp"

using namespace heed;
using namespace heed::kernels;

namespace {

/// A problem whose rows lie `gap` numbers apart, which nobody may read.
template <class T>
struct Problem {
  Attention<T> a;
  Index gap;
  Tensor<T, 4> q, k, v, dy;
  std::vector<Index> lengths;
  Tensor<T, 1> d_weights;  ///< of all heads and queries, if not empty

  Problem(Index heads, Index kv_heads, Index queries, Index keys, Index width, Index value_width, Index between = 0, Index batches = 3)
      : gap(between) {
    a.batches = batches, a.heads = heads, a.kv_heads = kv_heads, a.queries = queries, a.keys = keys;
    a.width = width, a.value_width = value_width, a.scale = 0.37;
    q = rows_of(heads, queries, width, 1), k = rows_of(kv_heads, keys, width, 2);
    v = rows_of(kv_heads, keys, value_width, 3), dy = rows_of(heads, queries, value_width, 4);
  }
  Tensor<T, 4> rows_of(Index heads, Index tokens, Index width, std::uint64_t seed) const {
    auto x = reference::random_tensor<T, 4>({a.batches, heads, tokens, width + gap}, seed);
    for (Index i = 0; i < x.size(); ++i)
      if (i % (width + gap) >= width) x[i] = std::numeric_limits<T>::quiet_NaN();
    return x;
  }
  template <class Elements>
  static HeadRows<Elements> rows(Elements* data, const Tensor<T, 4>& x) {
    return {data, x.size(1) * x.size(2) * x.size(3), x.size(2) * x.size(3), x.size(3)};
  }
  void point() {
    a.q = rows<const T>(q.data(), q), a.k = rows<const T>(k.data(), k), a.v = rows<const T>(v.data(), v);
    a.key_lengths = lengths.empty() ? nullptr : lengths.data();
  }
};

template <class T>
struct Results {
  Tensor<T, 4> y, dq, dk, dv;
  Tensor<T, 3> log_sum;
};

/// Both passes; `general` asks for what only the general path gives: the weights, and the gradient of a bias.
template <class T>
Results<T> run(Problem<T>& x, bool general) {
  x.point();
  const Attention<T>& a = x.a;
  Results<T> r{Tensor<T, 4>(x.dy.shape()), Tensor<T, 4>(x.q.shape()), Tensor<T, 4>(x.k.shape()), Tensor<T, 4>(x.v.shape()),
      Tensor<T, 3>({a.batches, a.heads, a.queries})};
  for (auto* t : {&r.y, &r.dq, &r.dk, &r.dv}) t->fill(T(77));
  Tensor<T, 4> weights({a.batches, a.heads, a.queries, a.keys}), d_bias(weights.shape());
  attention_forward(a, Problem<T>::rows(r.y.data(), r.y), r.log_sum.data(), general || x.d_weights.size() > 0 ? weights.data() : nullptr);
  AttentionGradients<T> g;
  g.y = Problem<T>::template rows<const T>(r.y.data(), r.y), g.dy = Problem<T>::template rows<const T>(x.dy.data(), x.dy);
  g.log_sum = r.log_sum.data();
  g.dq = Problem<T>::rows(r.dq.data(), r.dq), g.dk = Problem<T>::rows(r.dk.data(), r.dk), g.dv = Problem<T>::rows(r.dv.data(), r.dv);
  if (general) g.d_bias = {d_bias.data(), a.heads * a.queries * a.keys, a.queries * a.keys, a.keys, 1};
  if (x.d_weights.size() > 0) g.weights = weights.data(), g.d_weights = {x.d_weights.data(), 0, 0, 0, 1};
  attention_backward(a, g);
  double sum = 0;
  for (Index i = 0; i < d_bias.size(); ++i) sum += std::abs(static_cast<double>(d_bias[i]));
  REQUIRE((!general || a.keys <= 1 || a.causal || a.key_lengths || x.dy.size() == 0 || x.q.size() == 0 || sum > 0));
  return r;
}

/// Number of elements whose bits differ.
template <class T, int Rank>
Index different(const Tensor<T, Rank>& a, const Tensor<T, Rank>& b) {
  Index count = 0;
  for (Index i = 0; i < a.size(); ++i) count += std::memcmp(&a[i], &b[i], sizeof(T)) != 0;
  return count;
}

template <class T>
void check(Problem<T>& x) {
  const Attention<T>& a = x.a;
  INFO("heads " << a.heads << " on " << a.kv_heads << ", " << a.queries << " queries, " << a.keys << " keys, " << a.width << " and "
                << a.value_width << " features, causal " << a.causal << ", offset " << a.causal_offset << ", end aligned " << a.end_aligned
                << ", lengths " << !x.lengths.empty());
  const Results<T> few = run(x, false), all = run(x, true);
  REQUIRE(different(few.y, all.y) == 0);
  REQUIRE(different(few.log_sum, all.log_sum) == 0);
  REQUIRE(different(few.dq, all.dq) == 0);
  REQUIRE(different(few.dk, all.dk) == 0);
  REQUIRE(different(few.dv, all.dv) == 0);
  for (const auto* result : {&few.y, &few.dq, &few.dk, &few.dv}) {  // written where they should be, and numbers
    Index wrong = 0;
    const Index row = result->size(3);
    for (Index i = 0; i < result->size(); ++i)
      wrong += i % row < row - x.gap ? (*result)[i] == T(77) || (*result)[i] != (*result)[i] : (*result)[i] != T(77);
    REQUIRE(wrong == 0);
  }
}

}  // namespace

TEMPLATE_TEST_CASE("few keys: the bits of the general path, forward and backward", "", float, double) {
  using T = TestType;
  const Index lanes = TileSizes<T>().lanes;
  for (const Index queries : {Index(1), Index(2), Index(4), Index(5), lanes, lanes + 3})
    for (const Index keys : {Index(1), Index(2), Index(3), lanes - 1, lanes, lanes + 1})
      for (const Index width : {1, 3, 4, 7, 16, 128, 129})
        for (const Index value_width : {1, 5, 16, 150})
          if (keys > 0) {
            Problem<T> x(4, 2, queries, keys, width, value_width);
            check(x);
          }
}

TEMPLATE_TEST_CASE("few keys: rows with gaps between them", "", float, double) {
  const Index lanes = TileSizes<TestType>().lanes;
  for (const Index keys : {Index(1), std::max<Index>(1, lanes - 1), lanes})
    for (const Index width : {1, 3, 5, 16, 33}) {
      Problem<TestType> x(4, 2, keys, keys, width, width + 2, 3);
      check(x);
    }
}

TEMPLATE_TEST_CASE("few keys: nothing of some kind", "", float, double) {
  using T = TestType;
  for (int none = 0; none < 6; ++none) {
    Problem<T> x(none == 0 ? 0 : 2, 2, none == 1 ? 0 : 2, none == 2 ? 0 : 1, none == 3 ? 0 : 3, none == 4 ? 0 : 3, 0, none == 5 ? 0 : 3);
    check(x);
  }
}

TEST_CASE("few keys: number-like elements, one key") {
  Problem<Dual<1>> x(2, 1, 3, 1, 5, 4);
  const auto few = run(x, false), all = run(x, true);
  for (Index i = 0; i < few.y.size(); ++i) REQUIRE(few.y[i].value == all.y[i].value);
  for (Index i = 0; i < few.dv.size(); ++i) REQUIRE(few.dv[i].value == all.dv[i].value);
  for (Index i = 0; i < few.dk.size(); ++i) REQUIRE(few.dk[i].value == 0);
}

TEMPLATE_TEST_CASE("few keys: causal, lengths, pasts", "", float, double) {
  using T = TestType;
  const Index lanes = TileSizes<T>().lanes;
  for (const Index queries : {Index(1), Index(3), lanes})
    for (const Index keys : {Index(1), std::max<Index>(1, lanes - 1), lanes})
      for (const bool causal : {false, true})
        for (const Index offset : {0, 2, -1})
          for (const bool end_aligned : {false, true})
            for (const bool lengths : {false, true}) {
              Problem<T> x(2, 1, queries, keys, 6, 9);
              x.a.causal = causal, x.a.causal_offset = offset, x.a.end_aligned = end_aligned;
              if (lengths) x.lengths = {keys, 0, (keys + 1) / 2};
              check(x);
            }
}

TEMPLATE_TEST_CASE("few keys: weights of rows with large scores add up to 1", "", float, double) {
  using T = TestType;
  const Index lanes = TileSizes<T>().lanes;
  Problem<T> x(2, 2, lanes, lanes, 16, 8);
  for (Index i = 0; i < x.q.size(); ++i) x.q[i] = T(2) + x.q[i] * T(0.01);
  for (Index i = 0; i < x.k.size(); ++i) x.k[i] = T(2) + x.k[i] * T(0.01);
  x.a.scale = 9;
  check(x);
}

TEMPLATE_TEST_CASE("few keys: every option takes the general path", "", float, double) {
  using T = TestType;
  const Index lanes = TileSizes<T>().lanes;
  if (lanes < 4) return;
  const auto bias = reference::random_tensor<T, 2>({lanes, lanes}, 5);
  const auto slopes = reference::random_tensor<T, 1>({2}, 6);
  Tensor<bool, 2> mask({lanes, lanes});
  for (Index i = 0; i < mask.size(); ++i) mask[i] = i % 3 != 1;
  const char* const names[] = {"soft cap", "slopes", "bias", "mask", "key mask", "dropout"};
  for (int option = 0; option < 6; ++option) {
    Problem<T> x(2, 1, lanes, lanes, 8, 8);
    if (option == 0) x.a.softcap = 0.5;
    if (option == 1) x.a.slopes = slopes.data();
    if (option == 2) x.a.bias = {bias.data(), 0, 0, lanes, 1};
    if (option == 3) x.a.mask = {mask.data(), 0, 0, lanes, 1};
    if (option == 4) x.a.key_mask = {mask.data(), 0, 0, 0, 1};
    if (option == 5) x.a.dropout.p = 0.5, x.a.dropout.key = 7;
    INFO(names[option]);
    check(x);
    Problem<T> plain(2, 1, lanes, lanes, 8, 8);
    REQUIRE(different(run(x, false).y, run(plain, false).y) > 0);
  }
  Problem<T> x(2, 1, lanes, lanes, 8, 8), plain(2, 1, lanes, lanes, 8, 8);
  x.d_weights = reference::random_tensor<T, 1>({lanes}, 8);
  REQUIRE(different(run(x, false).dq, run(plain, false).dq) > 0);
}

TEMPLATE_TEST_CASE("few keys: what no query attends, and queries that attend nothing, may hold NaN", "", float, double) {
  using T = TestType;
  const Index lanes = TileSizes<T>().lanes;
  const T nan = std::numeric_limits<T>::quiet_NaN();
  if (lanes < 4) return;
  Problem<T> x(2, 2, 3, 4, 8, 8);
  x.lengths = {2, 0, 4};
  for (Index h = 0; h < 2; ++h)
    for (Index d = 0; d < 8; ++d) {
      for (const Index j : {2, 3}) x.k(0, h, j, d) = x.v(0, h, j, d) = nan;
      for (Index i = 0; i < 3; ++i) x.q(1, h, i, d) = x.dy(1, h, i, d) = nan;
    }
  check(x);
  Problem<T> y(2, 2, 3, 4, 8, 8);
  y.a.causal = true, y.a.causal_offset = -1;  // the first query attends nothing
  for (Index d = 0; d < 8; ++d) y.q(0, 0, 0, d) = y.dy(0, 0, 0, d) = y.k(0, 0, 3, d) = y.v(0, 0, 2, d) = nan;
  check(y);
}
