// SPDX-License-Identifier: MIT
#pragma once

#include <cmath>
#include <tuple>

#include <heed/core/layer.hpp>
#include <heed/kernels/attention.hpp>
#include <heed/layers/attention_mask.hpp>
#include <heed/layers/attention_observer.hpp>
#include <heed/layers/dropout.hpp>

namespace heed::inline HEED_ABI {

/// Where among the keys the queries stand if there are more keys than queries, or fewer: for causal masks, and for the distances of slopes.
enum class CausalAlignment {
  top_left,      ///< query i at key i (torch's is_causal), or at key past + i of a mask that has a past
  bottom_right,  ///< the last query at the last key of its sequence: query i at key i + length - queries (queries that continue a past)
};

/// What `ScaledDotProductAttention::stage` shows of the way from scores to weights. Values are those of ONNX's qk_matmul_output_mode.
enum class AttentionStage {
  scaled = 0,   ///< scale q kᵀ
  capped = 1,   ///< after the soft cap
  masked = 2,   ///< after slopes, bias and masks: what the softmax takes, -inf where a key is masked
  weights = 3,  ///< after the softmax
};

struct ScaledDotProductAttentionOptions {
  Index num_heads = 1;                                    ///< of inputs (N, T, num_heads * width); (B, H, T, width) tells its own
  Index num_kv_heads = 0;                                 ///< heads of k and v, a divisor of num_heads (grouped queries); 0: num_heads
  double scale = 0;                                       ///< 0: 1 / sqrt(width)
  double softcap = 0;                                     ///< > 0: scores become softcap * tanh(score / softcap) before masks
  bool causal = false;                                    ///< a query attends the keys up to its own position
  CausalAlignment alignment = CausalAlignment::top_left;  ///< where a causal query stands when there are more keys than queries
  double dropout = 0;                                     ///< probability that a weight is dropped in training, 0 ... 1
};

/// y = softmax(softcap(scale q kᵀ) - slope |distance| + bias, where the masks allow it) v, for each head (Vaswani et al. 2017, eq. 1).
///
/// Shapes, in one of two forms: q (B, H, Tq, D), k (B, Hkv, Tk, D), v (B, Hkv, Tk, Dv), y (B, H, Tq, Dv), where query head h uses key head
/// h / (H / Hkv); or tokens with their heads side by side, q (N, Tq, H D), k (N, Tk, Hkv D), v (N, Tk, Hkv Dv), y (N, Tq, H Dv).
/// A query that attends no key gets y = 0 and no gradient; keys and values that no query attends may hold anything. No parameters. Masks, bias,
/// lengths, slopes and the past: AttentionMask, true = attend.
///
/// The matrix of weights is made only when it is asked for. The cache keeps views of q, k, v and masks, a copy of y and one number a
/// query; dropout is drawn again in backward.
template <class T>
class ScaledDotProductAttention : public LayerBase<ScaledDotProductAttention<T>> {
 public:
  using scalar = T;
  static constexpr int input_rank = kAnyRank;
  using Options = ScaledDotProductAttentionOptions;

  struct Cache {
    kernels::Attention<T> problem;  ///< views of q, k, v and masks, the caller's
    Shape q, k, v;                  ///< their shapes
    Tensor<T, 1> y;                 ///< a copy of the output
    Tensor<T, 3> log_sum;           ///< (B, H, Tq), log2 of the rows' sums
    Tensor<T, 4> weights;           ///< (B, H, Tq, Tk) if they were asked for
    DropoutKey dropout;
  };

  /// What else flows back, and what else is wanted.
  struct More {
    MaskView<T> d_weights = {};  ///< gradient of the returned weights (B, H, Tq, Tk); they must have been asked for in forward
    T* d_bias = nullptr;         ///< the gradient of the bias is **added** here, laid out as the bias: its element (0, 0, 0, 0)
    T* d_slopes = nullptr;       ///< (heads), the gradient of the slopes is **added** here
  };

  explicit ScaledDotProductAttention(const Options& options = {}) : options_(options) {
    require(options.num_heads > 0 && options.num_kv_heads >= 0 && options.num_heads % kv_heads() == 0,
        "ScaledDotProductAttention: num_heads (", options.num_heads, ") must be a positive multiple of num_kv_heads (",
        options.num_kv_heads, ")");
    require(std::isfinite(options.scale), "ScaledDotProductAttention: scale is ", options.scale, ", it must be a number");
    require(options.dropout >= 0 && options.dropout <= 1, "ScaledDotProductAttention: dropout is ", options.dropout,
        ", it must lie in 0 ... 1");
    require(options.softcap >= 0 && std::isfinite(options.softcap), "ScaledDotProductAttention: softcap is ", options.softcap,
        ", it must be finite and not negative; 0 is none");
  }

  /// Throws ShapeError unless the three fit.
  Shape output_shape(const Shape& q, const Shape& k, const Shape& v) const {
    const kernels::Attention<T> a = sizes(q, k, v);
    return q.rank() == 4 ? Shape{a.batches, a.heads, a.queries, a.value_width} : Shape{a.batches, a.queries, a.heads * a.value_width};
  }

  using LayerBase<ScaledDotProductAttention<T>>::forward;  // what it says to other tensors
  /// Inference. `weights`, if given, becomes (B, H, Tq, Tk).
  template <int Rank>
  Tensor<T, Rank> forward(const TensorView<const T, Rank>& q, const TensorView<const T, Rank>& k, const TensorView<const T, Rank>& v,
      const AttentionMask<T>& mask = {}, Tensor<T, 4>* weights = nullptr) const {
    const kernels::Attention<T> a = problem(q, k, v, mask);
    auto y = Tensor<T, Rank>::uninitialized(output_shape(q.shape(), k.shape(), v.shape()));
    Tensor<T, 4> seen;
    if (!weights && attention_is_observed<T>()) weights = &seen;
    if (weights) weights->resize({a.batches, a.heads, a.queries, a.keys});
    kernels::attention_forward(
        a, heads<T>(y.data(), y.shape(), a.heads, a.value_width), static_cast<T*>(nullptr), weights ? weights->data() : nullptr);
    if (weights && attention_is_observed<T>()) show_attention<T>(*weights);
    return y;
  }

  /// What the scores are on their way to weights, (B, H, Tq, Tk), in inference. Before the masks all keys are seen, padding too.
  template <int Rank>
  Tensor<T, 4> stage(AttentionStage stage, const TensorView<const T, Rank>& q, const TensorView<const T, Rank>& k,
      const AttentionMask<T>& mask = {}) const {
    kernels::Attention<T> a = problem(q, k, k, mask);
    auto result = Tensor<T, 4>::uninitialized({a.batches, a.heads, a.queries, a.keys});
    if (stage == AttentionStage::weights) {
      a.v = {}, a.value_width = 0;
      kernels::attention_forward(a, kernels::HeadRows<T>(), static_cast<T*>(nullptr), result.data());
    } else {
      kernels::attention_scores(a, static_cast<kernels::ScoreStage>(stage), result.data());
    }
    return result;
  }

  /// Training. With `keep_weights` they are in `cache.weights`, after dropout, and a gradient may flow back through them.
  template <int Rank>
  Tensor<T, Rank> forward(const TensorView<const T, Rank>& q, const TensorView<const T, Rank>& k, const TensorView<const T, Rank>& v,
      const AttentionMask<T>& mask, Cache& cache, bool keep_weights = false) const {
    kernels::Attention<T>& a = cache.problem;
    a = problem(q, k, v, mask);
    a.dropout = {cache.dropout.draw(), cache.dropout.probability(options_.dropout)};
    cache.q = q.shape(), cache.k = k.shape(), cache.v = v.shape();
    auto y = Tensor<T, Rank>::uninitialized(output_shape(q.shape(), k.shape(), v.shape()));
    cache.log_sum.resize({a.batches, a.heads, a.queries});
    if (keep_weights)
      cache.weights.resize({a.batches, a.heads, a.queries, a.keys});
    else
      cache.weights.resize({0, 0, 0, 0});
    kernels::attention_forward(
        a, heads<T>(y.data(), y.shape(), a.heads, a.value_width), cache.log_sum.data(), keep_weights ? cache.weights.data() : nullptr);
    cache.y.resize({y.size()});
    std::copy_n(y.data(), y.size(), cache.y.data());
    return y;
  }
  /// The training pass without masks.
  template <int Rank>
  Tensor<T, Rank> forward(
      const TensorView<const T, Rank>& q, const TensorView<const T, Rank>& k, const TensorView<const T, Rank>& v, Cache& cache) const {
    return forward(q, k, v, AttentionMask<T>(), cache);
  }

  template <class Q, class K, class V, class... Rest>
    requires(TemporaryTensor<Q> || TemporaryTensor<K> || TemporaryTensor<V>)
  HEED_REFUSED("the cache looks at the inputs until backward has run, and a temporary is gone by then: give them names")
  Tensor<T, std::remove_cvref_t<Q>::rank> forward(Q&& q, K&& k, V&& v, Cache& cache, const Rest&...) const;
  template <class Q, class K, class V, class... Rest>
    requires(TemporaryTensor<Q> || TemporaryTensor<K> || TemporaryTensor<V>)
  HEED_REFUSED("the cache looks at the inputs until backward has run, and a temporary is gone by then: give them names")
  Tensor<T, std::remove_cvref_t<Q>::rank> forward(Q&& q, K&& k, V&& v, const AttentionMask<T>& mask, Cache& cache, const Rest&...) const;

  /// dv = Aᵀ dy, dS = A ∘ (dy vᵀ - δ), dq = scale dS k, dk = scale dSᵀ q; derived in docs/layers/scaled_dot_product_attention.md.
  template <int Rank>
  std::tuple<Tensor<T, Rank>, Tensor<T, Rank>, Tensor<T, Rank>> backward(
      const TensorView<const T, Rank>& dy, Cache& cache, const More& more = {}) {
    const kernels::Attention<T>& a = cache.problem;
    require_filled("ScaledDotProductAttention", cache.y);
    require_gradient_shape("ScaledDotProductAttention", dy.shape(), output_shape(cache.q, cache.k, cache.v),
        cache.y.size() / std::max<Index>(dy.features(), 1));
    auto dq = Tensor<T, Rank>::uninitialized(cache.q), dk = Tensor<T, Rank>::uninitialized(cache.k),
         dv = Tensor<T, Rank>::uninitialized(cache.v);
    kernels::AttentionGradients<T> g;
    g.y = heads<const T>(cache.y.data(), dy.shape(), a.heads, a.value_width);
    g.dy = heads<const T>(dy.data(), dy.shape(), a.heads, a.value_width);
    g.log_sum = cache.log_sum.data();
    if (more.d_weights) {
      require(a.empty() || !cache.weights.empty(),
          "ScaledDotProductAttention: a gradient of the weights came back, but forward was not asked to keep them");
      g.weights = cache.weights.data();
      g.d_weights = more.d_weights.broadcast("ScaledDotProductAttention", "the gradient of the weights", cache.weights.shape());
    }
    if (more.d_bias) g.d_bias = {more.d_bias, a.bias.batch, a.bias.head, a.bias.query, a.bias.key};
    require(!more.d_slopes || a.slopes, "ScaledDotProductAttention: the gradient of slopes is asked for, but forward had none");
    g.d_slopes = more.d_slopes;
    require(!more.d_bias || a.bias || a.empty(), "ScaledDotProductAttention: the gradient of a bias is asked for, but forward had none");
    g.dq = heads<T>(dq.data(), cache.q, a.heads, a.width);
    g.dk = heads<T>(dk.data(), cache.k, a.kv_heads, a.width);
    g.dv = heads<T>(dv.data(), cache.v, a.kv_heads, a.value_width);
    show_attention_gradient(a, g);
    kernels::attention_backward(a, g);
    release(cache.y, cache.log_sum);
    return {std::move(dq), std::move(dk), std::move(dv)};
  }

  const Options& options() const { return options_; }

  /// The same layer over another scalar.
  template <class U>
  ScaledDotProductAttention<U> rebind() const {
    return ScaledDotProductAttention<U>(options_);
  }

  template <class Self, class V>
  static void describe_members(Self& self, V& visitor) {
    visitor.kind("ScaledDotProductAttention");
    visitor.option("num_heads", self.options_.num_heads);
    visitor.option("num_kv_heads", self.kv_heads());
    visitor.option("scale", self.options_.scale);
    visitor.option("softcap", self.options_.softcap);
    visitor.option("causal", self.options_.causal);
    visitor.option("alignment", self.options_.alignment == CausalAlignment::top_left ? "top_left" : "bottom_right");
    visitor.option("dropout", self.options_.dropout);
  }

 private:
  Index kv_heads() const { return options_.num_kv_heads > 0 ? options_.num_kv_heads : options_.num_heads; }

  /// The heads of (B, H, T, width) or (N, T, H width).
  template <class U>
  static kernels::HeadRows<U> heads(U* data, const Shape& shape, Index heads, Index width) {
    if (shape.rank() == 4) return {data, heads * shape[2] * width, shape[2] * width, width};
    return {data, shape[1] * heads * width, width, heads * width};
  }

  kernels::Attention<T> sizes(const Shape& q, const Shape& k, const Shape& v) const {
    const int rank = q.rank();
    require<ShapeError>((rank == 3 || rank == 4) && k.rank() == rank && v.rank() == rank, "ScaledDotProductAttention: q ", q, ", k ", k,
        " and v ", v, " must all be (B, H, T, width) or all be (N, T, heads * width)");
    kernels::Attention<T> a;
    a.batches = q[0], a.queries = q[-2], a.keys = k[-2];
    a.heads = rank == 4 ? q[1] : options_.num_heads, a.kv_heads = rank == 4 ? k[1] : kv_heads();
    const Index q_heads = rank == 4 ? 1 : a.heads, k_heads = rank == 4 ? 1 : a.kv_heads;  // inside the last axis
    require<ShapeError>(k[0] == a.batches && v[0] == a.batches && v[-2] == a.keys && (rank == 3 || v[1] == a.kv_heads),
        "ScaledDotProductAttention: k ", k, " and v ", v, " must have the batch of q ", q, " and equal heads and tokens");
    require<ShapeError>(a.kv_heads > 0 && a.heads % a.kv_heads == 0, "ScaledDotProductAttention: the heads of q ", q,
        " must be a multiple of the heads of k ", k);
    require<ShapeError>(q.features() % q_heads == 0 && k.features() % k_heads == 0 && v.features() % k_heads == 0 &&
                            q.features() / q_heads == k.features() / k_heads && q.features() > 0,
        "ScaledDotProductAttention: q ", q, " and k ", k, " must have equal head widths (", a.heads, " heads of queries, ", a.kv_heads,
        " of keys)");
    a.width = q.features() / q_heads, a.value_width = v.features() / k_heads;
    a.scale = options_.scale != 0 ? options_.scale : 1 / std::sqrt(static_cast<double>(a.width));
    a.softcap = options_.softcap;
    a.causal = options_.causal;
    a.end_aligned = options_.alignment == CausalAlignment::bottom_right;
    return a;
  }

  template <int Rank>
  kernels::Attention<T> problem(const TensorView<const T, Rank>& q, const TensorView<const T, Rank>& k, const TensorView<const T, Rank>& v,
      const AttentionMask<T>& mask) const {
    kernels::Attention<T> a = sizes(q.shape(), k.shape(), v.shape());
    a.q = heads<const T>(q.data(), q.shape(), a.heads, a.width);
    a.k = heads<const T>(k.data(), k.shape(), a.kv_heads, a.width);
    a.v = heads<const T>(v.data(), v.shape(), a.kv_heads, a.value_width);
    mask.bind("ScaledDotProductAttention", a);
    return a;
  }

  Options options_;
};

HEED_COMPILE_CLASS_ONCE(ScaledDotProductAttention);

}  // namespace heed::inline HEED_ABI
