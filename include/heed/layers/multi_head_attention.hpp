// SPDX-License-Identifier: MIT
#pragma once

#include <cmath>
#include <optional>
#include <tuple>

#include <heed/core/anomaly.hpp>
#include <heed/core/initialize.hpp>
#include <heed/core/layer.hpp>
#include <heed/kernels/appended_keys.hpp>
#include <heed/kernels/attention.hpp>
#include <heed/kernels/linear.hpp>
#include <heed/layers/alibi.hpp>
#include <heed/layers/attention_mask.hpp>
#include <heed/layers/attention_observer.hpp>
#include <heed/layers/dropout.hpp>
#include <heed/layers/key_value_cache.hpp>
#include <heed/layers/linear.hpp>
#include <heed/layers/rotary_embedding.hpp>

namespace heed::inline HEED_ABI {

struct MultiHeadAttentionOptions {
  Index embed_dim = 0;  ///< features of queries and of y; must be given, a multiple of num_heads
  Index num_heads = 1;  ///< heads of the queries, each of embed_dim / num_heads features
  double dropout = 0;   ///< probability that a weight is dropped in training, 0 ... 1
  bool bias = true;
  bool add_bias_kv = false;    ///< a learned key and value after those of the sequence
  bool add_zero_attn = false;  ///< a key and value of zeros after those
  Index kdim = 0;              ///< features of keys; 0: embed_dim
  Index vdim = 0;              ///< features of values; 0: embed_dim
  bool causal = false;         ///< query i attends keys 0 ... i (and those that are appended)
  Index num_kv_heads = 0;      ///< heads of keys and values, a divisor of num_heads (grouped queries; 1: multi-query); 0: num_heads
  std::optional<RotaryEmbeddingOptions> rotary = {};  ///< turns projected queries and keys by their positions; `head_dim` may be left out
  bool alibi = false;  ///< distances to keys lower their scores, by alibi_slopes(num_heads), or by the slopes of a mask
};

/// Attention of several heads between linear projections: y = W_o [head_1; ...; head_H] + b_o with
/// head_h = attention(W_q q, W_k k, W_v v) on slice h of the features (Vaswani et al. 2017, section 3.2.2; torch.nn.MultiheadAttention, batch first).
/// With num_kv_heads, groups of query heads share a head of keys and values (Ainslie et al. 2023; of all heads one: Shazeer 2019); with rotary,
/// projected queries and keys are turned by their positions (RotaryEmbedding), token t of a sequence stands at t.
///
/// Shapes: q (N, T, embed_dim), k (N, S, kdim), v (N, S, vdim), y (N, T, embed_dim). Parameters, with G = embed_dim / num_heads * num_kv_heads, which is
/// embed_dim unless heads are shared: in_proj_weight (embed_dim + 2 G, embed_dim) with W_q over W_k over W_v, or q_proj_weight, k_proj_weight and v_proj_weight
/// where kdim or vdim differ; in_proj_bias (embed_dim + 2 G); bias_k and bias_v (1, 1, G); out_proj.weight, out_proj.bias. They start as torch's: projections
/// Xavier-uniform, biases at zero, bias_k and bias_v Xavier-normal, W_o in ±1/√embed_dim.
///
/// Masks: AttentionMask, **true = attend**; TorchAttentionMask turns torch's key_padding_mask and attn_mask, where true = masked out. Appended keys
/// are always attended. A query without any key gives y = b_o (torch: NaN). Self-attention is `forward(x)`, cross-attention
/// `forward(q, k, v)`; each has its backward. The cache keeps views of the inputs, the projected q, k and v, the context of the heads,
/// and one number a query and head; the matrix of weights is made only when asked for. `decode` continues sequences from a KeyValueCache.
template <class T>
class MultiHeadAttention : public LayerBase<MultiHeadAttention<T>> {
 public:
  using scalar = T;
  static constexpr int input_rank = 3;
  using Options = MultiHeadAttentionOptions;

  struct Cache {
    TensorView<const T, 3> q, k, v;         ///< the inputs, the caller's
    bool self = false;                      ///< one input, one packed projection
    Tensor<T, 3> projected;                 ///< (N, T, embed_dim + 2 G) of self-attention, (N, T, embed_dim) of cross-attention
    Tensor<T, 3> projected_k, projected_v;  ///< (N, S, G) of cross-attention
    kernels::AppendedKeys<T> appended;      ///< copies of keys, values and masks with the appended keys
    kernels::MaskRef<const T> bias;         ///< the caller's
    kernels::Attention<T> problem;          ///< views of all that
    Tensor<T, 3> context;                   ///< (N, T, embed_dim)
    Tensor<T, 3> log_sum;                   ///< (N, heads, T)
    Tensor<T, 4> weights;                   ///< (N, heads, T, S + appended) if they were asked for
    DropoutKey dropout;
    typename Linear<T>::Cache out;
    [[no_unique_address]] MoveOnly looks_into_itself;  ///< views of tensors beside them
  };

  explicit MultiHeadAttention(const Options& options)
      : options_(checked(options)),
        out_proj_({.in_features = options_.embed_dim, .out_features = options_.embed_dim, .bias = options_.bias}) {
    const Index e = options_.embed_dim, g = kv_features();
    if (options_.rotary) rotary_.emplace(*options_.rotary);
    if (options_.alibi) slopes_ = alibi_slopes<T>(options_.num_heads);
    if (packed()) {
      in_proj_weight_ = Parameter<T>({e + 2 * g, e});
      initialize(in_proj_weight_, Initializer::xavier_uniform);
    } else {
      q_proj_weight_ = Parameter<T>({e, e}), k_proj_weight_ = Parameter<T>({g, options_.kdim}),
      v_proj_weight_ = Parameter<T>({g, options_.vdim});
      for (Parameter<T>* weight : {&q_proj_weight_, &k_proj_weight_, &v_proj_weight_}) initialize(*weight, Initializer::xavier_uniform);
    }
    if (options_.bias) {
      in_proj_bias_ = Parameter<T>({e + 2 * g});
      initialize(out_proj_.bias(), Initializer::zeros);
    }
    if (options_.add_bias_kv)
      for (Parameter<T>* bias : {&bias_k_, &bias_v_}) {
        *bias = Parameter<T>({1, 1, g});
        initialize(*bias, Initializer::xavier_normal);
      }
  }

  Shape output_shape(const Shape& in) const { return output_shape(in, in, in); }
  /// The same for cross-attention: the shape of y for q (N, T, embed_dim), k (N, S, kdim) and v (N, S, vdim), else ShapeError.
  Shape output_shape(const Shape& q, const Shape& k, const Shape& v) const {
    require<ShapeError>(q.rank() == 3 && k.rank() == 3 && v.rank() == 3 && k[0] == q[0] && v[0] == q[0] && k[1] == v[1],
        "MultiHeadAttention: q ", q, ", k ", k, " and v ", v, " must be (N, T, features), one N, and as many tokens in k as in v");
    require<ShapeError>(q[2] == options_.embed_dim && k[2] == options_.kdim && v[2] == options_.vdim, "MultiHeadAttention: q ", q, ", k ",
        k, " and v ", v, " must have embed_dim = ", options_.embed_dim, ", kdim = ", options_.kdim, " and vdim = ", options_.vdim,
        " features");
    if (rotary_) rotary_->rotation(q[0], 1, q[1]), rotary_->rotation(k[0], 1, k[1]);
    return q;
  }
  /// Multiply-adds of scores and of weights with values, for model summaries.
  double activation_products(const Shape& in) const { return 2 * static_cast<double>(in.size()) * static_cast<double>(in[1] + appended()); }

  using LayerBase<MultiHeadAttention<T>>::forward;  // what it says to other tensors
  /// Inference of self-attention. `weights`, if given, becomes (N, heads, T, S + appended keys); `average_over_heads` makes torch's default of them.
  Tensor<T, 3> forward(const TensorView<const T, 3>& x, const AttentionMask<T>& mask = {}, Tensor<T, 4>* weights = nullptr) const {
    Cache cache;
    prepare(x, x, x, true, mask, cache);
    return infer(cache.problem, weights);
  }
  /// Inference of cross-attention.
  Tensor<T, 3> forward(const TensorView<const T, 3>& q, const TensorView<const T, 3>& k, const TensorView<const T, 3>& v,
      const AttentionMask<T>& mask = {}, Tensor<T, 4>* weights = nullptr) const {
    Cache cache;
    prepare(q, k, v, false, mask, cache);
    return infer(cache.problem, weights);
  }

  using DecodeState = KeyValueCache<T>;
  /// An empty cache for `decode`, of up to `capacity` tokens a sequence.
  KeyValueCache<T> decode_state(Index sequences, Index capacity) const { return {sequences, capacity, kv_features()}; }
  /// Inference of the tokens x (N, T, embed_dim) that follow those in `past`: their y as forward would give it for the whole sequences. Their keys
  /// and values are added to `past`. Needs `causal`, without which later tokens would change what was said before, and no appended keys. Masks
  /// are over all keys, the past ones first: (N, past + T), and have a `past` of 0. Throws std::invalid_argument when the cache is full, and leaves it.
  Tensor<T, 3> decode(const TensorView<const T, 3>& x, KeyValueCache<T>& past, const AttentionMask<T>& mask = {}) const {
    output_shape(x.shape());
    require(options_.causal && appended() == 0 && packed(),
        "MultiHeadAttention: decode needs causal = true, and neither appended keys (add_bias_kv, add_zero_attn) nor kdim or vdim");
    require<ShapeError>(past.sequences() == x.size(0) && past.features() == kv_features(), "MultiHeadAttention: the cache is for ",
        past.sequences(), " sequences with keys of ", past.features(), " features, x is ", x.shape(), " and its keys have ", kv_features());
    require(mask.past == 0, "MultiHeadAttention: decode finds the past in its cache, ", past.length(), " tokens; the mask's past is ",
        mask.past, ", it must be 0");
    past.require_room(x.size(1));
    kernels::Attention<T> a = sizes(x.size(0), x.size(1), past.length() + x.size(1));
    a.causal_offset = past.length();
    mask.bind("MultiHeadAttention", a);
    Tensor<T, 3> projected;
    project(all_rows(), in_proj_weight_, x, projected);
    turn(options_.num_heads + options_.num_kv_heads, projected, past.length());
    const auto part = [&](const Rows& rows) { return read(heads(projected.data() + rows.first, a.queries, projected.features())); };
    past.append(a.queries, part(k_rows()), part(v_rows()));
    a.q = part(q_rows()), a.k = past.keys(a.kv_heads), a.v = past.values(a.kv_heads);
    return infer(a, nullptr);
  }

  /// Training of self-attention. With `keep_weights` they are in `cache.weights`, after dropout, and a gradient may flow back through them.
  Tensor<T, 3> forward(const TensorView<const T, 3>& x, const AttentionMask<T>& mask, Cache& cache, bool keep_weights = false) const {
    return train(x, x, x, true, mask, cache, keep_weights);
  }
  Tensor<T, 3> forward(const TensorView<const T, 3>& x, Cache& cache) const { return train(x, x, x, true, {}, cache, false); }
  HEED_REFUSED("the cache looks at the input until backward has run, and a temporary is gone by then: give it a name")
  Tensor<T, 3> forward(Tensor<T, 3>&& x, Cache& cache) const;
  HEED_REFUSED("the cache looks at the input until backward has run, and a temporary is gone by then: give it a name")
  Tensor<T, 3> forward(Tensor<T, 3>&& x, const AttentionMask<T>& mask, Cache& cache, bool keep_weights = false) const;
  /// Training of cross-attention.
  Tensor<T, 3> forward(const TensorView<const T, 3>& q, const TensorView<const T, 3>& k, const TensorView<const T, 3>& v,
      const AttentionMask<T>& mask, Cache& cache, bool keep_weights = false) const {
    return train(q, k, v, false, mask, cache, keep_weights);
  }
  /// The training pass of cross-attention without masks.
  Tensor<T, 3> forward(
      const TensorView<const T, 3>& q, const TensorView<const T, 3>& k, const TensorView<const T, 3>& v, Cache& cache) const {
    return train(q, k, v, false, {}, cache, false);
  }

  template <class Q, class K, class V>
    requires(TemporaryTensor<Q> || TemporaryTensor<K> || TemporaryTensor<V>)
  HEED_REFUSED("the cache looks at the inputs until backward has run, and a temporary is gone by then: give them names")
  Tensor<T, 3> forward(Q&& q, K&& k, V&& v, Cache& cache) const;
  template <class Q, class K, class V, class... Rest>
    requires(TemporaryTensor<Q> || TemporaryTensor<K> || TemporaryTensor<V>)
  HEED_REFUSED("the cache looks at the inputs until backward has run, and a temporary is gone by then: give them names")
  Tensor<T, 3> forward(Q&& q, K&& k, V&& v, const AttentionMask<T>& mask, Cache& cache, const Rest&...) const;

  /// What else flows back, and what else is wanted.
  struct More {
    MaskView<T> d_weights =
        {};                 ///< gradient of the weights that forward was asked to keep: of each head (N, heads, T, S'), or of their average
    bool averaged = false;  ///< d_weights belongs to `average_over_heads(weights)` and is (N, T, S')
    T* d_bias = nullptr;    ///< the gradient of the mask's bias is **added** here, in the bias' own shape
    T* d_slopes = nullptr;  ///< the gradient of the mask's slopes, (heads), is **added** here; not with appended keys
  };

  /// The gradient of x after self-attention: back through W_o, the heads and [W_q; W_k; W_v] (docs/layers/multi_head_attention.md).
  Tensor<T, 3> backward(const TensorView<const T, 3>& dy, Cache& cache, const More& more = {}) {
    require_filled("MultiHeadAttention", cache.context);
    require(cache.self, "MultiHeadAttention: backward follows forward(x, cache); after forward(q, k, v, cache) it is backward_cross");
    auto d_projected = Tensor<T, 3>::uninitialized(cache.projected.shape());
    const auto part = [&](const Rows& rows) { return heads(d_projected.data() + rows.first, cache.q.size(1), d_projected.features()); };
    attend_backward(dy, cache, more, part(q_rows()), part(k_rows()), part(v_rows()));
    turn_back(options_.num_heads + options_.num_kv_heads, d_projected);
    return project_backward(all_rows(), in_proj_weight_, cache.q, d_projected);
  }
  /// The gradients of q, k and v after cross-attention.
  std::tuple<Tensor<T, 3>, Tensor<T, 3>, Tensor<T, 3>> backward_cross(
      const TensorView<const T, 3>& dy, Cache& cache, const More& more = {}) {
    require_filled("MultiHeadAttention", cache.context);
    require(!cache.self, "MultiHeadAttention: backward_cross follows forward(q, k, v, cache); after forward(x, cache) it is backward");
    auto dq = Tensor<T, 3>::uninitialized(cache.projected.shape());
    auto dk = Tensor<T, 3>::uninitialized(cache.projected_k.shape()), dv = Tensor<T, 3>::uninitialized(cache.projected_v.shape());
    const auto all = [&](Tensor<T, 3>& x) { return heads(x.data(), x.size(1), x.features()); };
    attend_backward(dy, cache, more, all(dq), all(dk), all(dv));
    turn_back(options_.num_heads, dq), turn_back(options_.num_kv_heads, dk);
    return {project_backward(q_rows(), packed() ? in_proj_weight_ : q_proj_weight_, cache.q, dq),
        project_backward(k_rows(), packed() ? in_proj_weight_ : k_proj_weight_, cache.k, dk),
        project_backward(v_rows(), packed() ? in_proj_weight_ : v_proj_weight_, cache.v, dv)};
  }

  /// The mean over the heads, (N, T, S'), of weights (N, heads, T, S'): what torch returns by default.
  static Tensor<T, 3> average_over_heads(const TensorView<const T, 4>& weights) {
    Tensor<T, 3> mean({weights.size(0), weights.size(2), weights.size(3)});
    const Index matrix = weights.size(2) * weights.size(3), heads = weights.size(1);
    for (Index n = 0; n < weights.size(0); ++n)
      for (Index h = 0; h < heads; ++h)
        for (Index i = 0; i < matrix; ++i) mean[n * matrix + i] += weights[(n * heads + h) * matrix + i] / T(static_cast<double>(heads));
    return mean;
  }

  const Options& options() const { return options_; }
  /// W_o and b_o.
  Linear<T>& out_proj() { return out_proj_; }
  const Linear<T>& out_proj() const { return out_proj_; }

  /// The same layer over another scalar.
  template <class U>
  MultiHeadAttention<U> rebind() const {
    return this->template rebound<MultiHeadAttention<U>>(options_);
  }

  template <class Self, class V>
  static void describe_members(Self& self, V& visitor) {
    const Options& o = self.options_;
    visitor.kind("MultiHeadAttention");
    visitor.option("embed_dim", o.embed_dim), visitor.option("num_heads", o.num_heads), visitor.option("dropout", o.dropout);
    visitor.option("bias", o.bias), visitor.option("add_bias_kv", o.add_bias_kv), visitor.option("add_zero_attn", o.add_zero_attn);
    visitor.option("kdim", o.kdim), visitor.option("vdim", o.vdim), visitor.option("causal", o.causal);
    visitor.option("num_kv_heads", o.num_kv_heads);
    visitor.option("alibi", o.alibi);
    if (o.alibi) visitor.constant("alibi_slopes", self.slopes_.shape(), std::as_const(self.slopes_).data());
    if (self.rotary_) visitor.child("rotary", *self.rotary_);
    if (self.packed()) {
      visitor.parameter("in_proj_weight", self.in_proj_weight_);
    } else {
      visitor.parameter("q_proj_weight", self.q_proj_weight_);
      visitor.parameter("k_proj_weight", self.k_proj_weight_);
      visitor.parameter("v_proj_weight", self.v_proj_weight_);
    }
    if (o.bias) visitor.parameter("in_proj_bias", self.in_proj_bias_);
    if (o.add_bias_kv) {
      visitor.parameter("bias_k", self.bias_k_);
      visitor.parameter("bias_v", self.bias_v_);
    }
    visitor.child("out_proj", self.out_proj_);
  }

 private:
  static Options checked(Options o) {
    require(o.embed_dim > 0 && o.num_heads > 0 && o.embed_dim % o.num_heads == 0, "MultiHeadAttention: embed_dim (", o.embed_dim,
        ") must be a positive multiple of num_heads (", o.num_heads, ")");
    require(o.num_kv_heads >= 0 && (o.num_kv_heads == 0 || o.num_heads % o.num_kv_heads == 0), "MultiHeadAttention: num_heads (",
        o.num_heads, ") must be a multiple of num_kv_heads (", o.num_kv_heads, "), or that 0 for as many");
    require(o.dropout >= 0 && o.dropout <= 1, "MultiHeadAttention: dropout is ", o.dropout, ", it must lie in 0 ... 1");
    require(
        o.kdim >= 0 && o.vdim >= 0, "MultiHeadAttention: kdim (", o.kdim, ") and vdim (", o.vdim, ") must be positive, or 0 for embed_dim");
    if (o.kdim == 0) o.kdim = o.embed_dim;
    if (o.vdim == 0) o.vdim = o.embed_dim;
    if (o.num_kv_heads == 0) o.num_kv_heads = o.num_heads;
    if (o.rotary) {
      const Index width = o.embed_dim / o.num_heads;
      require(o.rotary->head_dim == 0 || o.rotary->head_dim == width, "MultiHeadAttention: rotary.head_dim is ", o.rotary->head_dim,
          ", the heads have ", width, " features; leave it out");
      o.rotary->head_dim = width;
    }
    return o;
  }
  bool packed() const { return options_.kdim == options_.embed_dim && options_.vdim == options_.embed_dim; }
  Index appended() const { return (options_.add_bias_kv ? 1 : 0) + (options_.add_zero_attn ? 1 : 0); }
  Index head_width() const { return options_.embed_dim / options_.num_heads; }
  Index kv_features() const { return head_width() * options_.num_kv_heads; }

  /// Rows of [W_q; W_k; W_v]: the features that a part of it makes.
  struct Rows {
    Index first, count;
  };
  Rows q_rows() const { return {0, options_.embed_dim}; }
  Rows k_rows() const { return {options_.embed_dim, kv_features()}; }
  Rows v_rows() const { return {options_.embed_dim + kv_features(), kv_features()}; }
  Rows all_rows() const { return {0, options_.embed_dim + 2 * kv_features()}; }

  template <class U>
  kernels::HeadRows<U> heads(U* data, Index tokens, Index row) const {
    return {data, tokens * row, head_width(), row};
  }

  /// Turns the first `count` heads of each token by its position, where they lie, if there is a rotary embedding.
  void turn(Index count, Tensor<T, 3>& x, Index offset = 0) const {
    const auto rows = heads(x.data(), x.size(1), x.features());
    if (rotary_) kernels::rotary_forward(rotary_->rotation(x.size(0), count, x.size(1), {.offset = offset}), read(rows), rows);
  }
  /// The same for the gradient: a rotation is orthogonal.
  void turn_back(Index count, Tensor<T, 3>& d) const {
    const auto rows = heads(d.data(), d.size(1), d.features());
    if (rotary_) kernels::rotary_backward(rotary_->rotation(d.size(0), count, d.size(1)), read(rows), rows);
  }
  static kernels::HeadRows<const T> read(const kernels::HeadRows<T>& rows) { return {rows.data, rows.batch, rows.head, rows.row}; }

  /// to (N, T, rows.count) = x Wᵀ + b with these rows of the packed weight, or with the whole weight of one input.
  void project(const Rows& rows, const Parameter<T>& weight, const TensorView<const T, 3>& x, Tensor<T, 3>& to) const {
    to.resize({x.size(0), x.size(1), rows.count});
    kernels::linear_forward({x.rows(), x.features(), rows.count}, x.data(), weight.value() + (packed() ? rows.first * x.features() : 0),
        options_.bias ? in_proj_bias_.value() + rows.first : nullptr, to.data());
  }
  /// Adds to the gradients of weight and bias, and returns the gradient of x.
  Tensor<T, 3> project_backward(const Rows& rows, Parameter<T>& weight, const TensorView<const T, 3>& x, const Tensor<T, 3>& d_to) {
    const Index offset = packed() ? rows.first * x.features() : 0;
    auto dx = Tensor<T, 3>::uninitialized(x.shape());
    T *d_weight = weight.gradient_unless_frozen(), *d_bias = in_proj_bias_.gradient_unless_frozen();
    kernels::linear_backward({x.rows(), x.features(), rows.count}, x.data(), weight.value() + offset, d_to.data(), dx.data(),
        d_weight ? d_weight + offset : nullptr, d_bias ? d_bias + rows.first : nullptr);
    return dx;
  }

  /// The problem of attention without its operands and masks.
  kernels::Attention<T> sizes(Index sequences, Index queries, Index keys) const {
    kernels::Attention<T> a;
    a.batches = sequences, a.heads = options_.num_heads, a.kv_heads = options_.num_kv_heads, a.queries = queries, a.keys = keys;
    a.width = a.value_width = head_width(), a.scale = 1 / std::sqrt(static_cast<double>(head_width()));
    a.causal = options_.causal;
    if (options_.alibi) a.slopes = slopes_.data();
    return a;
  }

  /// Projects the inputs into the cache and sets up the problem, masks included.
  void prepare(const TensorView<const T, 3>& q, const TensorView<const T, 3>& k, const TensorView<const T, 3>& v, bool self,
      const AttentionMask<T>& mask, Cache& cache) const {
    output_shape(q.shape(), k.shape(), v.shape());
    kernels::Attention<T>& a = cache.problem;
    a = sizes(q.size(0), q.size(1), k.size(1));
    cache.q = q, cache.k = k, cache.v = v, cache.self = self;
    if (self) {
      project(all_rows(), in_proj_weight_, q, cache.projected);
      turn(options_.num_heads + options_.num_kv_heads, cache.projected);
      const T* data = cache.projected.data();
      const auto part = [&](const Rows& rows) { return heads(data + rows.first, a.queries, all_rows().count); };
      a.q = part(q_rows()), a.k = part(k_rows()), a.v = part(v_rows());
    } else {
      project(q_rows(), packed() ? in_proj_weight_ : q_proj_weight_, q, cache.projected);
      project(k_rows(), packed() ? in_proj_weight_ : k_proj_weight_, k, cache.projected_k);
      project(v_rows(), packed() ? in_proj_weight_ : v_proj_weight_, v, cache.projected_v);
      turn(options_.num_heads, cache.projected), turn(options_.num_kv_heads, cache.projected_k);
      const auto all = [&](const Tensor<T, 3>& x) { return heads(x.data(), x.size(1), x.features()); };
      a.q = all(cache.projected), a.k = all(cache.projected_k), a.v = all(cache.projected_v);
    }
    require(!rotary_ || mask.past == 0, "MultiHeadAttention: the rotary embedding turns queries as tokens 0, 1, ...; the mask's past is ",
        mask.past, ", it must be 0 (decode turns them by the past that is in its cache)");
    mask.bind("MultiHeadAttention", a);
    cache.bias = a.bias;
    if (appended() > 0) cache.appended.extend(a, bias_k_.value(), bias_v_.value(), options_.add_zero_attn);
  }

  Tensor<T, 3> infer(const kernels::Attention<T>& a, Tensor<T, 4>* weights) const {
    Tensor<T, 4> seen;
    if (!weights && attention_is_observed<T>()) weights = &seen;
    if (weights) weights->resize({a.batches, a.heads, a.queries, a.keys});
    auto context = Tensor<T, 3>::uninitialized({a.batches, a.queries, options_.embed_dim});
    kernels::attention_forward(
        a, heads(context.data(), a.queries, options_.embed_dim), static_cast<T*>(nullptr), weights ? weights->data() : nullptr);
    if (weights && attention_is_observed<T>()) show_attention<T>(*weights);
    detail::watch_forward(*this, context);
    return forward_part("out_proj", out_proj_, [&] { return out_proj_.forward(context); });
  }

  Tensor<T, 3> train(const TensorView<const T, 3>& q, const TensorView<const T, 3>& k, const TensorView<const T, 3>& v, bool self,
      const AttentionMask<T>& mask, Cache& cache, bool keep_weights) const {
    release(cache.context);  // until the inputs are known to be good, this is nobody's pass
    prepare(q, k, v, self, mask, cache);
    kernels::Attention<T>& a = cache.problem;
    a.dropout = {cache.dropout.draw(), cache.dropout.probability(options_.dropout)};
    cache.context.resize({a.batches, a.queries, options_.embed_dim});
    cache.log_sum.resize({a.batches, a.heads, a.queries});
    cache.weights.resize(keep_weights ? Shape{a.batches, a.heads, a.queries, a.keys} : Shape{0, 0, 0, 0});
    kernels::attention_forward(
        a, heads(cache.context.data(), a.queries, options_.embed_dim), cache.log_sum.data(), keep_weights ? cache.weights.data() : nullptr);
    detail::watch_forward(*this, cache.context);
    return forward_part("out_proj", out_proj_, [&] { return out_proj_.forward(cache.context, cache.out); });
  }

  void attend_backward(const TensorView<const T, 3>& dy, Cache& cache, const More& more, const kernels::HeadRows<T>& dq,
      const kernels::HeadRows<T>& dk, const kernels::HeadRows<T>& dv) {
    const kernels::Attention<T>& a = cache.problem;
    const Index e = options_.embed_dim;
    require_own_cache("MultiHeadAttention", cache.q.features(), e);
    require(a.heads == options_.num_heads && a.kv_heads == options_.num_kv_heads, "MultiHeadAttention: the cache is of a layer of ",
        a.heads, " heads (", a.kv_heads, " of keys), this one has ", options_.num_heads, " (", options_.num_kv_heads, ")");
    require_gradient_shape("MultiHeadAttention", dy.shape(), cache.q.shape(), cache.context.rows());
    kernels::AttentionGradients<T> g;
    g.y = heads<const T>(cache.context.data(), a.queries, e), g.log_sum = cache.log_sum.data();
    g.dq = dq, g.dk = dk, g.dv = dv;
    if (more.d_weights) {
      require(a.empty() || !cache.weights.empty(),
          "MultiHeadAttention: a gradient of the weights came back, but forward was not asked to keep them");
      g.weights = cache.weights.data();
      if (more.averaged) {
        const Shape expected{a.batches, a.queries, a.keys};
        require<ShapeError>(more.d_weights.shape() == expected, "MultiHeadAttention: the gradient of the averaged weights is ",
            more.d_weights.shape(), ", it must be ", expected);
        g.d_weights = {more.d_weights.data(), a.queries * a.keys, 0, a.keys, 1};
        g.d_weights_factor = 1 / static_cast<double>(a.heads);
      } else {
        g.d_weights = more.d_weights.broadcast("MultiHeadAttention", "the gradient of the weights", cache.weights.shape());
      }
    }
    require(!more.d_bias || cache.bias || a.empty(), "MultiHeadAttention: the gradient of a bias is asked for, but forward had none");
    if (more.d_bias) g.d_bias = {more.d_bias, cache.bias.batch, cache.bias.head, cache.bias.query, cache.bias.key};
    require(!more.d_slopes || a.slopes, "MultiHeadAttention: the gradient of slopes is asked for, but forward had none, or appended keys");
    g.d_slopes = more.d_slopes;
    const auto d_context = backward_part("out_proj", out_proj_, [&] { return out_proj_.backward(dy, cache.out); });
    g.dy = heads<const T>(d_context.data(), a.queries, e);
    if (appended() == 0) {
      show_attention_gradient(a, g);
      kernels::attention_backward(a, g);
    } else {
      cache.appended.backward(a, g, appended(), bias_k_.gradient_unless_frozen(), bias_v_.gradient_unless_frozen());
    }
    release(cache.projected, cache.projected_k, cache.projected_v, cache.context, cache.log_sum);
  }

  Options options_;
  Parameter<T> in_proj_weight_, q_proj_weight_, k_proj_weight_, v_proj_weight_, in_proj_bias_, bias_k_, bias_v_;
  std::optional<RotaryEmbedding<T>> rotary_;
  Tensor<T, 1> slopes_;  ///< (num_heads) with alibi
  Linear<T> out_proj_;
};

static_assert(Layer<MultiHeadAttention<float>>);
HEED_COMPILE_CLASS_ONCE(MultiHeadAttention);

}  // namespace heed::inline HEED_ABI
