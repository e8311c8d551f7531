// SPDX-License-Identifier: MIT
#include <heed/kernels/appended_keys.hpp>

#include "catch.hpp"
#include "reference/attention_reference.hpp"
#include "reference/random_tensor.hpp"

using namespace heed;
using reference::largest_difference;
using reference::random_tensor;

namespace {

constexpr Index kBatches = 2, kHeads = 4, kKvHeads = 2, kQueries = 3, kKeys = 5, kWidth = 3, kValueWidth = 2;

/// A problem with every operand it may have, and the same with the appended columns written out by plain loops.
template <class T>
struct Problems {
  Tensor<T, 4> q = random_tensor<T, 4>({kBatches, kHeads, kQueries, kWidth}, 1);
  Tensor<T, 3> k = random_tensor<T, 3>({kBatches, kKeys, kKvHeads*kWidth}, 2),
               v = random_tensor<T, 3>({kBatches, kKeys, kKvHeads*kValueWidth}, 3);
  Tensor<T, 4> dy = random_tensor<T, 4>({kBatches, kHeads, kQueries, kValueWidth}, 4);
  Tensor<T, 1> last_key = random_tensor<T, 1>({kKvHeads * kWidth}, 5), last_value = random_tensor<T, 1>({kKvHeads * kValueWidth}, 6);
  Tensor<T, 2> bias = random_tensor<T, 2>({kHeads, kKeys}, 7);  // the same for all sequences and queries
  Tensor<bool, 2> mask = Tensor<bool, 2>({kQueries, kKeys}), key_mask = Tensor<bool, 2>({kBatches, kKeys});
  Tensor<T, 3> k_all, v_all;
  Tensor<bool, 4> attend_all;
  Tensor<T, 4> bias_all;
  kernels::Attention<T> before, after;

  Problems(bool learned, bool zeros, bool causal, bool masks, bool with_bias) {
    for (Index i = 0; i < mask.size(); ++i) mask[i] = i % 4 != 1;
    for (Index i = 0; i < key_mask.size(); ++i) key_mask[i] = i != 4 && i < 7;
    kernels::Attention<T> a;
    a.batches = kBatches, a.heads = kHeads, a.kv_heads = kKvHeads, a.queries = kQueries, a.width = kWidth, a.value_width = kValueWidth;
    a.scale = 0.7;
    a.q = {q.data(), kHeads * kQueries * kWidth, kQueries * kWidth, kWidth};
    before = after = a;
    before.keys = kKeys, before.causal = causal;
    before.k = {k.data(), kKeys * k.features(), kWidth, k.features()},
    before.v = {v.data(), kKeys * v.features(), kValueWidth, v.features()};
    if (masks) before.mask = {mask.data(), 0, 0, kKeys, 1}, before.key_mask = {key_mask.data(), kKeys, 0, 0, 1};
    if (with_bias) before.bias = {bias.data(), 0, kKeys, 0, 1};

    const Index all = after.keys = kKeys + learned + zeros;
    k_all = Tensor<T, 3>({kBatches, all, k.features()}), v_all = Tensor<T, 3>({kBatches, all, v.features()});
    attend_all.resize({kBatches, kHeads, kQueries, all}), bias_all = Tensor<T, 4>(attend_all.shape());
    for (Index b = 0; b < kBatches; ++b)
      for (Index j = 0; j < all; ++j) {
        for (Index d = 0; d < k.features(); ++d) k_all(b, j, d) = j < kKeys ? k(b, j, d) : learned && j == kKeys ? last_key[d] : T(0);
        for (Index d = 0; d < v.features(); ++d) v_all(b, j, d) = j < kKeys ? v(b, j, d) : learned && j == kKeys ? last_value[d] : T(0);
        for (Index h = 0; h < kHeads; ++h)
          for (Index i = 0; i < kQueries; ++i) {
            attend_all(b, h, i, j) = j >= kKeys || ((!causal || j <= i) && (!masks || (mask(i, j) && key_mask(b, j))));
            if (with_bias && j < kKeys) bias_all(b, h, i, j) = bias(h, j);
          }
      }
    after.k = {k_all.data(), all * k.features(), kWidth, k.features()},
    after.v = {v_all.data(), all * v.features(), kValueWidth, v.features()};
    after.mask = {attend_all.data(), kHeads * kQueries * all, kQueries * all, all, 1};
    after.bias = {bias_all.data(), kHeads * kQueries * all, kQueries * all, all, 1};
  }
};

TensorView<const double, 1> tensor(const std::vector<double>& x) { return wrap<1>(x.data(), {static_cast<Index>(x.size())}); }

}  // namespace

TEMPLATE_TEST_CASE("Appended keys: the problem written out, forward and backward", "", float, double) {
  using T = TestType;
  const double tolerance = sizeof(T) == 4 ? 1e-5 : 1e-13;
  for (int kind = 0; kind < 32; ++kind) {
    const bool learned = kind & 1, zeros = kind & 2, causal = kind & 4, masks = kind & 8, with_bias = kind & 16;
    if (!learned && !zeros) continue;
    INFO("learned " << learned << ", zeros " << zeros << ", causal " << causal << ", masks " << masks << ", bias " << with_bias);
    const Problems<T> p(learned, zeros, causal, masks, with_bias);
    const Index appended = learned + zeros, all = kKeys + appended;
    kernels::Attention<T> a = p.before;
    kernels::AppendedKeys<T> keys;
    keys.extend(a, learned ? p.last_key.data() : nullptr, learned ? p.last_value.data() : nullptr, zeros);
    CHECK(a.keys == all);
    const kernels::HeadRows<const T> dy{p.dy.data(), kHeads * kQueries * kValueWidth, kQueries * kValueWidth, kValueWidth};
    const AttentionReference expected = attention_reference(p.after, &dy);

    Tensor<T, 4> y(p.dy.shape());
    Tensor<T, 3> log_sum({kBatches, kHeads, kQueries});
    kernels::attention_forward<T>(a, {y.data(), dy.batch, dy.head, dy.row}, log_sum.data());
    CHECK(largest_difference(y, tensor(expected.y)) < tolerance);

    Tensor<T, 4> dq(p.q.shape());
    Tensor<T, 3> dk(p.k.shape()), dv(p.v.shape());
    Tensor<T, 2> d_bias(p.bias.shape());
    Tensor<T, 1> d_last_key({p.last_key.size()}), d_last_value({p.last_value.size()});
    d_bias.fill(T(1)), d_last_key.fill(T(1)), d_last_value.fill(T(1));  // gradients are added
    kernels::AttentionGradients<T> g;
    g.y = {y.data(), dy.batch, dy.head, dy.row}, g.dy = dy, g.log_sum = log_sum.data();
    g.dq = {dq.data(), kHeads * kQueries * kWidth, kQueries * kWidth, kWidth};
    g.dk = {dk.data(), kKeys * dk.features(), kWidth, dk.features()}, g.dv = {dv.data(), kKeys * dv.features(), kValueWidth, dv.features()};
    if (with_bias) g.d_bias = {d_bias.data(), 0, kKeys, 0, 1};
    keys.backward(a, g, appended, learned ? d_last_key.data() : nullptr, learned ? d_last_value.data() : nullptr);

    CHECK(largest_difference(dq, tensor(expected.dq)) < tolerance);
    std::vector<double> dk_expected, dv_expected, last_key(d_last_key.span().size(), 1), last_value(d_last_value.span().size(), 1);
    std::vector<double> bias_expected(d_bias.span().size(), 1);
    const auto part = [&](const std::vector<double>& from, Index width, std::vector<double>& rows, std::vector<double>& last) {
      for (Index b = 0; b < kBatches; ++b)
        for (Index j = 0; j <= kKeys; ++j)
          for (Index h = 0; h < kKvHeads; ++h)
            for (Index d = 0; d < width; ++d) {
              if (j == kKeys && !learned) continue;
              const double x = from[static_cast<std::size_t>(((b * kKvHeads + h) * all + j) * width + d)];
              if (j < kKeys)
                rows.push_back(x);
              else
                last[static_cast<std::size_t>(h * width + d)] += x;
            }
    };
    part(expected.dk, kWidth, dk_expected, last_key), part(expected.dv, kValueWidth, dv_expected, last_value);
    for (Index row = 0; row < kBatches * kHeads * kQueries && with_bias; ++row)
      for (Index j = 0; j < kKeys; ++j)
        bias_expected[static_cast<std::size_t>(row / kQueries % kHeads * kKeys + j)] +=
            expected.d_bias[static_cast<std::size_t>(row * all + j)];
    CHECK(largest_difference(dk, tensor(dk_expected)) < tolerance);
    CHECK(largest_difference(dv, tensor(dv_expected)) < tolerance);
    CHECK(largest_difference(d_last_key, tensor(last_key)) < tolerance);
    CHECK(largest_difference(d_last_value, tensor(last_value)) < tolerance);
    CHECK(largest_difference(d_bias, tensor(bias_expected)) < tolerance);
  }
}

TEST_CASE("Appended keys escape lengths, distances, a past and masks that end early") {
  Problems<double> p(true, false, true, true, true);
  const std::vector<Index> lengths{5, 2};
  const std::vector<double> slopes{0.5, 0.25, 0.125, 1};
  const Index limit = 4, past = 1, all = kKeys + 1;
  kernels::Attention<double> a = p.before;
  a.key_lengths = lengths.data(), a.slopes = slopes.data(), a.key_limit = limit, a.causal_offset = past;
  for (Index b = 0; b < kBatches; ++b)
    for (Index h = 0; h < kHeads; ++h)
      for (Index i = 0; i < kQueries; ++i)
        for (Index j = 0; j < kKeys; ++j) {
          p.bias_all(b, h, i, j) -= slopes[static_cast<std::size_t>(h)] * static_cast<double>(std::abs(i + past - j));
          p.attend_all(b, h, i, j) =
              j <= i + past && j < limit && j < lengths[static_cast<std::size_t>(b)] && p.mask(i, j) && p.key_mask(b, j);
        }
  kernels::AppendedKeys<double> keys;
  keys.extend(a, p.last_key.data(), p.last_value.data(), false);
  const kernels::HeadRows<const double> dy{p.dy.data(), kHeads * kQueries * kValueWidth, kQueries * kValueWidth, kValueWidth};
  const AttentionReference expected = attention_reference(p.after, &dy);
  Tensor<double, 4> y(p.dy.shape()), dq(p.q.shape());
  Tensor<double, 3> log_sum({kBatches, kHeads, kQueries}), dk(p.k.shape()), dv(p.v.shape());
  kernels::attention_forward<double>(a, {y.data(), dy.batch, dy.head, dy.row}, log_sum.data());
  CHECK(largest_difference(y, tensor(expected.y)) < 1e-13);

  Tensor<double, 2> d_bias({kHeads, kKeys});
  d_bias.fill(1);
  kernels::AttentionGradients<double> g;
  g.y = {y.data(), dy.batch, dy.head, dy.row}, g.dy = dy, g.log_sum = log_sum.data();
  g.dq = {dq.data(), kHeads * kQueries * kWidth, kQueries * kWidth, kWidth};
  g.dk = {dk.data(), kKeys * dk.features(), kWidth, dk.features()}, g.dv = {dv.data(), kKeys * dv.features(), kValueWidth, dv.features()};
  g.d_bias = {d_bias.data(), 0, kKeys, 0, 1};
  keys.backward(a, g, 1, nullptr, nullptr);
  CHECK(largest_difference(dq, tensor(expected.dq)) < 1e-13);
  std::vector<double> sums(d_bias.span().size(), 1);
  for (Index row = 0; row < kBatches * kHeads * kQueries; ++row)
    for (Index j = 0; j < limit; ++j)
      sums[static_cast<std::size_t>(row / kQueries % kHeads * kKeys + j)] += expected.d_bias[static_cast<std::size_t>(row * all + j)];
  CHECK(largest_difference(d_bias, tensor(sums)) < 1e-13);
}

TEST_CASE("Appended keys copy a mask or a bias once where it is the same for batches, heads or queries") {
  const Problems<float> p(true, false, false, false, false);
  const bool seen[kQueries * kKeys] = {};
  const float bias[kHeads * kKeys] = {};
  const Index all = kKeys + 1;
  {
    kernels::Attention<float> a = p.before;
    a.causal = true;
    kernels::AppendedKeys<float> keys;
    keys.extend(a, p.last_key.data(), p.last_value.data(), false);
    CHECK((a.mask.batch == 0 && a.mask.head == 0 && a.mask.query == all));
    CHECK_FALSE(a.bias);
  }
  {
    kernels::Attention<float> a = p.before;
    a.mask = {seen, 0, 0, kKeys, 1}, a.bias = {bias, 0, kKeys, 0, 1};
    kernels::AppendedKeys<float> keys;
    keys.extend(a, p.last_key.data(), p.last_value.data(), false);
    CHECK((a.mask.batch == 0 && a.mask.head == 0 && a.mask.query == all));
    CHECK((a.bias.batch == 0 && a.bias.head == all && a.bias.query == 0));
  }
}

TEST_CASE("Appended keys keep a mask for each batch where lengths differ") {
  const Problems<float> p(true, false, false, false, false);
  const std::vector<Index> lengths{kKeys, 2};
  kernels::Attention<float> a = p.before;
  a.key_lengths = lengths.data();
  kernels::AppendedKeys<float> keys;
  keys.extend(a, p.last_key.data(), p.last_value.data(), false);
  REQUIRE(kBatches == 2);
  for (Index b = 0; b < kBatches; ++b)
    for (Index h = 0; h < kHeads; ++h)
      for (Index i = 0; i < kQueries; ++i)
        for (Index j = 0; j <= kKeys; ++j)
          CHECK(a.mask.row(b, h, i)[j * a.mask.key] == (j == kKeys || j < lengths[static_cast<std::size_t>(b)]));
}
