// SPDX-License-Identifier: MIT
// attention/BxHxTxD[/options]/forward, .../forward_backward and .../forward_backward/dropout (0.1 on the weights). Operations of the products:
// forward 4 B H T T D, half of it where causal, with backward (four products, and the scores again) 3.5 times that. Other masks count as none.
#include <heed/layers/alibi.hpp>
#include <heed/layers/scaled_dot_product_attention.hpp>

#include <reference/attention_reference.hpp>

#include "verify.hpp"

namespace {

using namespace bench;

struct AttentionWorkload {
  Index batches = 1, heads = 1, tokens = 1, width = 1;
  bool causal = false, mask = false, padding = false, bias = false, alibi = false;
  Index softcap = 0, kv_heads = 0, value_width = 0, keys = 0;  ///< 0: no cap; as many heads, as wide, as many keys as the queries say

  template <class Self, class V>
  static void walk(Self& self, V& v) {
    v.sizes("BxHxTxD", self.batches, self.heads, self.tokens, self.width);
    v.option("causal", self.causal);
    v.option("mask", self.mask);
    v.option("padding", self.padding);
    v.option("bias", self.bias);
    v.option("alibi", self.alibi);
    v.option("softcap", self.softcap);
    v.option("kv", self.kv_heads);
    v.option("dv", self.value_width);
    v.option("keys", self.keys);
  }
  void check() const { require(heads % kv() == 0, "the ", heads, " heads of queries are no multiple of the ", kv(), " of keys"); }
  void add(const std::string& name) const;

  Index kv() const { return kv_heads > 0 ? kv_heads : heads; }
  Index dv() const { return value_width > 0 ? value_width : width; }
  Index tk() const { return keys > 0 ? keys : tokens; }
  /// Operations of products that take `count` numbers for each pair of a query and a key, of which the causal mask leaves half.
  double products(Index count) const {
    const double q = static_cast<double>(tokens), k = static_cast<double>(tk()), corner = std::min(q, k);
    return 2.0 * static_cast<double>(batches * heads * count) * (causal ? corner * (k - corner / 2) : q * k);
  }
  ScaledDotProductAttentionOptions options(double dropout) const {
    return {.softcap = static_cast<double>(softcap), .causal = causal, .alignment = CausalAlignment::bottom_right, .dropout = dropout};
  }
};

/// The masks of a workload: a quarter of all pairs is masked out, or the last eighth, two or three eighths of the sequences are padding.
struct Masks {
  Tensor<bool, 2> attend, attend_keys;
  Tensor<float, 3> bias;
  Tensor<float, 1> slopes;
  AttentionMask<float> all;

  explicit Masks(const AttentionWorkload& w) {
    const Index keys = w.tk();
    if (w.mask) {
      attend = Tensor<bool, 2>({w.tokens, keys});
      const CounterRandom random({7});
      for (Index i = 0; i < attend.size(); ++i) attend[i] = i % keys == i / keys || random.below(static_cast<std::uint64_t>(i), 4) > 0;
      all.attend = attend;
    }
    if (w.padding) {
      attend_keys = Tensor<bool, 2>({w.batches, keys});
      for (Index i = 0; i < attend_keys.size(); ++i) attend_keys[i] = i % keys <= keys - 1 - keys * (1 + i / keys % 3) / 8;
      all.attend_keys = attend_keys;
    }
    if (w.bias) all.bias = bias = operand<3>({w.heads, w.tokens, keys}, 5);
    if (w.alibi) all.slopes = (slopes = alibi_slopes<float>(w.heads)).span();
  }
  Masks(const Masks&) = delete;
  Masks& operator=(const Masks&) = delete;
};

using Problem = kernels::Attention<float>;

/// Query i of head h of sequence b as a problem of its own. What dropout makes of the weights is in `v`: kept rows grow, the others are 0.
struct RowProblem {
  Problem problem;
  std::vector<float> v;
  std::vector<double> kept;  ///< factor of each weight

  RowProblem(const Problem& a, Index b, Index h, Index i) : problem(a) {
    Problem& r = problem;
    r.batches = r.heads = r.kv_heads = r.queries = 1;
    r.q.data = a.q.at(b, h, i), r.k.data = a.k.at(b, a.kv_head(h));
    r.causal_offset = a.position(b, i), r.end_aligned = false;
    if (a.mask) r.mask.data = a.mask.row(b, h, i);
    if (a.key_mask) r.key_mask.data = a.key_mask.row(b, h, i);
    if (a.bias) r.bias.data = a.bias.row(b, h, i);
    if (a.slopes) r.slopes = a.slopes + h;
    r.dropout = {};
    for (Index j = 0; j < a.keys; ++j) {
      kept.push_back(!keeps_weight(a, b, h, i, j) ? 0 : a.dropout.active() ? a.dropout.scale() : 1);
      for (Index d = 0; d < a.value_width; ++d) v.push_back(static_cast<float>(kept.back()) * a.v.at(b, a.kv_head(h), j)[d]);
    }
    r.v = {v.data(), 0, 0, a.value_width};
  }
};

template <bool kDropout>
struct AttentionCase {
  AttentionWorkload w;
  bool training;
  ScaledDotProductAttention<float> layer;
  Masks masks;
  Tensor<float, 4> q, k, v, dy;
  ScaledDotProductAttention<float>::Cache cache;
  Problem problem;  ///< of the plain loops
  naive::Floats naive_y;
  naive::AttentionGradients naive_d;

  AttentionCase(const AttentionWorkload& workload, bool trains)
      : w(workload),
        training(trains),
        layer(w.options(kDropout ? 0.1 : 0)),
        masks(w),
        q(operand<4>({w.batches, w.heads, w.tokens, w.width}, 1)),
        k(operand<4>({w.batches, w.kv(), w.tk(), w.width}, 2)),
        v(operand<4>({w.batches, w.kv(), w.tk(), w.dv()}, 3)),
        dy(operand<4>({w.batches, w.heads, w.tokens, w.dv()}, 4)) {}

  void run() {
    if (!training) return benchmark::DoNotOptimize(layer.forward(q, k, v, masks.all).data());
    layer.forward(q, k, v, masks.all, cache);
    benchmark::DoNotOptimize(std::get<0>(layer.backward(dy, cache)).data());
  }

  /// Some rows in full; the gradients of all keys and values, of a dy that is zero but for these rows.
  std::string check() {
    std::vector<Index> rows = samples_of(w.batches * w.heads * w.tokens, 4);
    const auto y = training ? layer.forward(q, k, v, masks.all, cache) : layer.forward(q, k, v, masks.all);
    if (!training) layer.forward(q, k, v, masks.all, cache);  // makes the problem
    const Problem a = cache.problem;
    std::vector<double> dk(static_cast<std::size_t>(k.size())), dv(static_cast<std::size_t>(v.size()));
    std::vector<AttentionReference> expected;
    std::string fault;
    for (const Index row : rows) {
      const Index b = row / (w.heads * w.tokens), h = row / w.tokens % w.heads, i = row % w.tokens;
      const RowProblem one(a, b, h, i);
      const kernels::HeadRows<const float> one_dy{dy.data() + row * w.dv()};
      const auto& r = expected.emplace_back(attention_reference(one.problem, training ? &one_dy : nullptr));
      fault = first_fault({fault, difference(text("y of row ", row), y.data() + row * w.dv(), r.y)});
      const Index first = (b * w.kv() + a.kv_head(h)) * w.tk();  // row of k and v
      for (Index e = 0; e < w.tk() * w.width; ++e) dk[static_cast<std::size_t>(first * w.width + e)] += r.dk[static_cast<std::size_t>(e)];
      for (Index e = 0; e < w.tk() * w.dv(); ++e)
        dv[static_cast<std::size_t>(first * w.dv() + e)] +=
            one.kept[static_cast<std::size_t>(e / w.dv())] * r.dv[static_cast<std::size_t>(e)];
    }
    if (!training || !fault.empty()) return fault;
    const auto flat = dy.reshaped<2>({dy.rows(), w.dv()});
    const auto sparse = scatter<2>(flat.shape(), rows, gather(flat, rows));
    const auto [dq, d_keys, d_values] = layer.backward(sparse.reshaped<4>(dy.shape()), cache);
    for (std::size_t n = 0; n < rows.size(); ++n)
      fault = first_fault({fault, difference(text("dq of row ", rows[n]), dq.data() + rows[n] * w.width, expected[n].dq)});
    return first_fault({fault, difference("dk", d_keys.data(), dk), difference("dv", d_values.data(), dv)});
  }

  void run_naive() requires(!kDropout) {
    naive_y = naive::attention(problem);
    benchmark::DoNotOptimize(naive_y.data());
    if (!training) return;
    naive_d = naive::attention_backward(problem, dy.data());
    benchmark::DoNotOptimize(naive_d.dq.data());
  }
  std::string check_naive() {
    const auto y = layer.forward(q, k, v, masks.all, cache);
    problem = cache.problem;
    run_naive();
    const std::string fault = difference("y", y.data(), naive_y);
    if (!training || !fault.empty()) return fault;
    const auto [dq, dk, dv] = layer.backward(dy, cache);
    return first_fault(
        {difference("dq", dq.data(), naive_d.dq), difference("dk", dk.data(), naive_d.dk), difference("dv", dv.data(), naive_d.dv)});
  }
};

void AttentionWorkload::add(const std::string& name) const {
  const Work forward{.flops = products(width + dv())}, both{.flops = products(4 * width + 3 * dv())};
  add_case(name + "/forward", forward, [w = *this] { return AttentionCase<false>(w, false); });
  add_case(name + "/forward_backward", both, [w = *this] { return AttentionCase<false>(w, true); });
  add_case(name + "/forward_backward/dropout", both, [w = *this] { return AttentionCase<true>(w, true); });
}

[[maybe_unused]] const bool known = family<AttentionWorkload>("attention",
    {// Vision transformers and small nets, then lengths, widths, and one head.
        "64x4x64x32", "64x8x64x64", "8x12x197x64", "1x8x1024x64", "1x8x4096x64", "1x1x2048x128", "1x8x2048x64/causal", "64x8x16x64",
        "64x8x32x64", "64x4x49x64", "256x4x49x16", "1x8x64x64", "1x8x128x64", "1x8x256x64", "1x8x512x64", "1x8x2048x64", "8x8x96x96",
        "8x8x256x32", "8x8x256x48", "8x8x256x96", "8x8x256x128", "1x8x1024x128", "1x1x2048x64", "1x8x1000x80",
        // Every option beside 1x8x1024x64.
        "1x8x1024x64/causal", "1x8x1024x64/mask", "1x8x1024x64/padding", "1x8x1024x64/bias", "1x8x1024x64/alibi", "1x8x1024x64/softcap30",
        "1x8x1024x64/kv2", "1x8x1024x64/dv128", "1x8x256x64/keys1024", "1x8x4096x64/causal"});

}  // namespace
