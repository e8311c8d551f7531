// SPDX-License-Identifier: MIT
#pragma once

#include <cmath>
#include <tuple>

#include <heed/core/initialize.hpp>
#include <heed/core/layer.hpp>
#include <heed/kernels/attention.hpp>
#include <heed/kernels/linear.hpp>
#include <heed/layers/attention_mask.hpp>
#include <heed/layers/attention_observer.hpp>
#include <heed/layers/dropout.hpp>
#include <heed/layers/linear.hpp>

namespace heed {

struct MultiHeadAttentionOptions {
  Index embed_dim = 0;
  Index num_heads = 1;
  double dropout = 0;  ///< probability that a weight is dropped in training, 0 ... 1
  bool bias = true;
  bool add_bias_kv = false;    ///< a learned key and value after those of the sequence
  bool add_zero_attn = false;  ///< a key and value of zeros after those
  Index kdim = 0;              ///< features of keys; 0: embed_dim
  Index vdim = 0;              ///< features of values; 0: embed_dim
  bool causal = false;         ///< query i attends keys 0 ... i (and those that are appended)
};

/// Attention of several heads between linear projections: y = W_o [head_1; ...; head_H] + b_o with
/// head_h = attention(W_q q, W_k k, W_v v) on slice h of the features (Vaswani et al. 2017, section 3.2.2; torch.nn.MultiheadAttention, batch first).
///
/// Shapes: q (N, T, embed_dim), k (N, S, kdim), v (N, S, vdim), y (N, T, embed_dim). Parameters: in_proj_weight (3 embed_dim, embed_dim) with W_q over W_k
/// over W_v, or q_proj_weight, k_proj_weight and v_proj_weight where kdim or vdim differ; in_proj_bias (3 embed_dim); bias_k and bias_v (1, 1, embed_dim);
/// out_proj.weight, out_proj.bias. They start as torch's: projections Xavier-uniform, biases at zero, bias_k and bias_v Xavier-normal, W_o in ±1/√embed_dim.
///
/// Masks: AttentionMask, **true = attend**; TorchAttentionMask turns torch's key_padding_mask and attn_mask, where true = masked out. Appended keys
/// are always attended. A query without any key gives y = b_o (torch: NaN). Self-attention is `forward(x)`, cross-attention
/// `forward(q, k, v)`; each has its backward. The cache keeps views of the inputs, the projected q, k and v, the context of the heads,
/// and one number a query and head; the matrix of weights is made only when asked for.
template <class T>
class MultiHeadAttention : public LayerBase<MultiHeadAttention<T>> {
 public:
  using scalar = T;
  static constexpr int input_rank = 3;
  using Options = MultiHeadAttentionOptions;

  struct Cache {
    TensorView<const T, 3> q, k, v;         ///< the inputs, the caller's
    bool self = false;                      ///< one input, one packed projection
    Tensor<T, 3> projected;                 ///< (N, T, 3 embed_dim) of self-attention, (N, T, embed_dim) of cross-attention
    Tensor<T, 3> projected_k, projected_v;  ///< (N, S, embed_dim) of cross-attention, or with the appended rows
    Tensor<bool, 4> attend;                 ///< masks with the columns of appended keys
    Tensor<bool, 2> attend_keys;
    Tensor<T, 4> bias;
    kernels::Attention<T> problem;  ///< views of all that
    Tensor<T, 3> context;           ///< (N, T, embed_dim)
    Tensor<T, 3> log_sum;           ///< (N, heads, T)
    Tensor<T, 4> weights;           ///< (N, heads, T, S + appended) if they were asked for
    DropoutKey dropout;
    typename Linear<T>::Cache out;
  };

  explicit MultiHeadAttention(const Options& options)
      : options_(checked(options)),
        out_proj_({.in_features = options_.embed_dim, .out_features = options_.embed_dim, .bias = options_.bias}) {
    const Index e = options_.embed_dim;
    if (packed()) {
      in_proj_weight_ = Parameter<T>({3 * e, e});
      initialize(in_proj_weight_, Initializer::xavier_uniform);
    } else {
      q_proj_weight_ = Parameter<T>({e, e}), k_proj_weight_ = Parameter<T>({e, options_.kdim}),
      v_proj_weight_ = Parameter<T>({e, options_.vdim});
      for (Parameter<T>* weight : {&q_proj_weight_, &k_proj_weight_, &v_proj_weight_}) initialize(*weight, Initializer::xavier_uniform);
    }
    if (options_.bias) {
      in_proj_bias_ = Parameter<T>({3 * e});
      initialize(out_proj_.bias(), Initializer::zeros);
    }
    if (options_.add_bias_kv)
      for (Parameter<T>* bias : {&bias_k_, &bias_v_}) {
        *bias = Parameter<T>({1, 1, e});
        initialize(*bias, Initializer::xavier_normal);
      }
  }

  Shape output_shape(const Shape& in) const { return output_shape(in, in, in); }
  Shape output_shape(const Shape& q, const Shape& k, const Shape& v) const {
    require<ShapeError>(q.rank() == 3 && k.rank() == 3 && v.rank() == 3 && k[0] == q[0] && v[0] == q[0] && k[1] == v[1],
        "MultiHeadAttention: q ", q, ", k ", k, " and v ", v,
        " must be (N, T, features), with one N, and one number of tokens for k and v");
    require<ShapeError>(q[2] == options_.embed_dim && k[2] == options_.kdim && v[2] == options_.vdim, "MultiHeadAttention: q ", q, ", k ",
        k, " and v ", v, " must have embed_dim = ", options_.embed_dim, ", kdim = ", options_.kdim, " and vdim = ", options_.vdim,
        " features");
    return q;
  }
  /// Multiply-adds of scores and of weights with values, for model summaries.
  double activation_products(const Shape& in) const { return 2 * static_cast<double>(in.size()) * static_cast<double>(in[1] + appended()); }

  /// Inference of self-attention. `weights`, if given, becomes (N, heads, T, S + appended keys); `average_over_heads` makes torch's default of them.
  Tensor<T, 3> forward(const TensorView<const T, 3>& x, const AttentionMask<T>& mask = {}, Tensor<T, 4>* weights = nullptr) const {
    return infer(x, x, x, true, mask, weights);
  }
  /// Inference of cross-attention.
  Tensor<T, 3> forward(const TensorView<const T, 3>& q, const TensorView<const T, 3>& k, const TensorView<const T, 3>& v,
      const AttentionMask<T>& mask = {}, Tensor<T, 4>* weights = nullptr) const {
    return infer(q, k, v, false, mask, weights);
  }

  /// Training of self-attention. With `keep_weights` they are in `cache.weights`, after dropout, and a gradient may flow back through them.
  Tensor<T, 3> forward(const TensorView<const T, 3>& x, const AttentionMask<T>& mask, Cache& cache, bool keep_weights = false) const {
    return train(x, x, x, true, mask, cache, keep_weights);
  }
  Tensor<T, 3> forward(const TensorView<const T, 3>& x, Cache& cache) const { return train(x, x, x, true, {}, cache, false); }
  Tensor<T, 3> forward(Tensor<T, 3>&& x, Cache& cache) const = delete;  // x must outlive the cache
  Tensor<T, 3> forward(Tensor<T, 3>&& x, const AttentionMask<T>& mask, Cache& cache, bool keep_weights = false) const = delete;
  /// Training of cross-attention.
  Tensor<T, 3> forward(const TensorView<const T, 3>& q, const TensorView<const T, 3>& k, const TensorView<const T, 3>& v,
      const AttentionMask<T>& mask, Cache& cache, bool keep_weights = false) const {
    return train(q, k, v, false, mask, cache, keep_weights);
  }
  Tensor<T, 3> forward(
      const TensorView<const T, 3>& q, const TensorView<const T, 3>& k, const TensorView<const T, 3>& v, Cache& cache) const {
    return train(q, k, v, false, {}, cache, false);
  }

  template <class Q, class K, class V>
    requires(TemporaryTensor<Q> || TemporaryTensor<K> || TemporaryTensor<V>)
  Tensor<T, 3> forward(Q&& q, K&& k, V&& v, Cache& cache)
  const = delete;  // they must outlive the cache
  template <class Q, class K, class V, class... Rest>
    requires(TemporaryTensor<Q> || TemporaryTensor<K> || TemporaryTensor<V>)
  Tensor<T, 3> forward(Q&& q, K&& k, V&& v, const AttentionMask<T>& mask, Cache& cache, const Rest&...)
  const = delete;

  /// What comes back through the weights that forward was asked to keep: of each head (N, heads, T, S'), or of their average (N, 1, T, S').
  struct More {
    MaskView<T> d_weights = {};
    bool averaged = false;  ///< d_weights belongs to `average_over_heads(weights)` and is (N, T, S')
  };

  /// The gradient of x after self-attention: back through W_o, the heads and [W_q; W_k; W_v] (docs/layers/multi_head_attention.md).
  Tensor<T, 3> backward(const TensorView<const T, 3>& dy, Cache& cache, const More& more = {}) {
    require_filled("MultiHeadAttention", cache.context);
    require(cache.self, "MultiHeadAttention: backward follows forward(x, cache); after forward(q, k, v, cache) it is backward_cross");
    const Index e = options_.embed_dim, row = 3 * e, tokens = cache.q.size(1);
    auto d_projected = Tensor<T, 3>::uninitialized(cache.projected.shape());
    attend_backward(dy, cache, more, heads(d_projected.data(), tokens, row), heads(d_projected.data() + e, tokens, row),
        heads(d_projected.data() + 2 * e, tokens, row));
    return project_backward(0, 3, in_proj_weight_, cache.q, d_projected);
  }
  /// The gradients of q, k and v after cross-attention.
  std::tuple<Tensor<T, 3>, Tensor<T, 3>, Tensor<T, 3>> backward_cross(
      const TensorView<const T, 3>& dy, Cache& cache, const More& more = {}) {
    require_filled("MultiHeadAttention", cache.context);
    require(!cache.self, "MultiHeadAttention: backward_cross follows forward(q, k, v, cache); after forward(x, cache) it is backward");
    const Index e = options_.embed_dim, queries = cache.q.size(1), keys = cache.k.size(1);
    auto dq = Tensor<T, 3>::uninitialized(cache.projected.shape());
    auto dk = Tensor<T, 3>::uninitialized({cache.k.size(0), keys, e}), dv = Tensor<T, 3>::uninitialized(dk.shape());
    attend_backward(dy, cache, more, heads(dq.data(), queries, e), heads(dk.data(), keys, e), heads(dv.data(), keys, e));
    return {project_backward(0, 1, packed() ? in_proj_weight_ : q_proj_weight_, cache.q, dq),
        project_backward(1, 1, packed() ? in_proj_weight_ : k_proj_weight_, cache.k, dk),
        project_backward(2, 1, packed() ? in_proj_weight_ : v_proj_weight_, cache.v, dv)};
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
    require(o.dropout >= 0 && o.dropout <= 1, "MultiHeadAttention: dropout is ", o.dropout, ", it must lie in 0 ... 1");
    require(
        o.kdim >= 0 && o.vdim >= 0, "MultiHeadAttention: kdim (", o.kdim, ") and vdim (", o.vdim, ") must be positive, or 0 for embed_dim");
    if (o.kdim == 0) o.kdim = o.embed_dim;
    if (o.vdim == 0) o.vdim = o.embed_dim;
    return o;
  }
  bool packed() const { return options_.kdim == options_.embed_dim && options_.vdim == options_.embed_dim; }
  Index appended() const { return (options_.add_bias_kv ? 1 : 0) + (options_.add_zero_attn ? 1 : 0); }
  Index head_width() const { return options_.embed_dim / options_.num_heads; }

  template <class U>
  kernels::HeadRows<U> heads(U* data, Index tokens, Index row) const {
    return {data, tokens * row, head_width(), row};
  }

  /// to (rows, parts * embed_dim) = x Wᵀ + b for W_q, W_k, W_v number `part` and following.
  void project(Index part, Index parts, const Parameter<T>& weight, const TensorView<const T, 3>& x, Tensor<T, 3>& to) const {
    const Index e = options_.embed_dim;
    to.resize({x.size(0), x.size(1), parts * e});
    kernels::linear_forward({x.rows(), x.features(), parts * e}, x.data(), weight.value() + (packed() ? part * e * e : 0),
        options_.bias ? in_proj_bias_.value() + part * e : nullptr, to.data());
  }
  /// Adds to the gradients of weight and bias, and returns the gradient of x.
  Tensor<T, 3> project_backward(Index part, Index parts, Parameter<T>& weight, const TensorView<const T, 3>& x, const Tensor<T, 3>& d_to) {
    const Index e = options_.embed_dim, offset = packed() ? part * e * e : 0;
    auto dx = Tensor<T, 3>::uninitialized(x.shape());
    T *d_weight = weight.gradient_unless_frozen(), *d_bias = in_proj_bias_.gradient_unless_frozen();
    kernels::linear_backward({x.rows(), x.features(), parts * e}, x.data(), weight.value() + offset, d_to.data(), dx.data(),
        d_weight ? d_weight + offset : nullptr, d_bias ? d_bias + part * e : nullptr);
    return dx;
  }

  /// Projects the inputs into the cache and sets up the problem, masks included.
  void prepare(const TensorView<const T, 3>& q, const TensorView<const T, 3>& k, const TensorView<const T, 3>& v, bool self,
      const AttentionMask<T>& mask, Cache& cache) const {
    output_shape(q.shape(), k.shape(), v.shape());
    const Index e = options_.embed_dim, keys = k.size(1);
    kernels::Attention<T>& a = cache.problem;
    a = {};
    a.batches = q.size(0), a.heads = a.kv_heads = options_.num_heads, a.queries = q.size(1), a.keys = keys;
    a.width = a.value_width = head_width(), a.scale = 1 / std::sqrt(static_cast<double>(head_width()));
    a.causal = options_.causal;
    cache.q = q, cache.k = k, cache.v = v, cache.self = self;
    if (self) {
      project(0, 3, in_proj_weight_, q, cache.projected);
      const T* data = cache.projected.data();
      a.q = heads(data, a.queries, 3 * e), a.k = heads(data + e, keys, 3 * e), a.v = heads(data + 2 * e, keys, 3 * e);
    } else {
      project(0, 1, packed() ? in_proj_weight_ : q_proj_weight_, q, cache.projected);
      project(1, 1, packed() ? in_proj_weight_ : k_proj_weight_, k, cache.projected_k);
      project(2, 1, packed() ? in_proj_weight_ : v_proj_weight_, v, cache.projected_v);
      a.q = heads<const T>(cache.projected.data(), a.queries, e);
      a.k = heads<const T>(cache.projected_k.data(), keys, e), a.v = heads<const T>(cache.projected_v.data(), keys, e);
    }
    mask.bind("MultiHeadAttention", a);
    if (appended() > 0) append(cache);
  }

  /// Copies keys, values and masks with the appended keys behind them; the causal mask becomes part of the mask, which appended keys escape.
  void append(Cache& cache) const {
    kernels::Attention<T>& a = cache.problem;
    const Index e = options_.embed_dim, keys = a.keys, all = keys + appended();
    const auto extend = [&](kernels::HeadRows<const T>& rows, const Parameter<T>& last, Tensor<T, 3>& own) {
      Tensor<T, 3> copy({a.batches, all, e});
      for (Index b = 0; b < a.batches; ++b) {
        for (Index j = 0; j < keys; ++j) std::copy_n(rows.at(b, 0, j), e, &copy(b, j, 0));
        if (options_.add_bias_kv) std::copy_n(last.value(), e, &copy(b, keys, 0));
      }
      own = std::move(copy);
      rows = heads<const T>(own.data(), all, e);
    };
    extend(a.k, bias_k_, cache.projected_k), extend(a.v, bias_v_, cache.projected_v);
    if (a.mask || a.causal) {
      cache.attend.resize({a.batches, a.heads, a.queries, all});
      cache.attend.fill(true);
      for (Index b = 0; b < a.batches; ++b)
        for (Index h = 0; h < a.heads; ++h)
          for (Index i = 0; i < a.queries; ++i)
            for (Index j = 0; j < keys; ++j)
              cache.attend(b, h, i, j) = j < a.causal_end(i) && (!a.mask || a.mask.row(b, h, i)[j * a.mask.key]);
      a.mask = MaskView<bool>(cache.attend).broadcast("", "", cache.attend.shape());
      a.causal = false;
    }
    if (a.key_mask) {
      cache.attend_keys.resize({a.batches, all});
      cache.attend_keys.fill(true);
      for (Index b = 0; b < a.batches; ++b) std::copy_n(a.key_mask.row(b, 0, 0), keys, &cache.attend_keys(b, 0));
      a.key_mask = {cache.attend_keys.data(), all, 0, 0, 1};
    }
    if (a.bias) {
      cache.bias = Tensor<T, 4>({a.batches, a.heads, a.queries, all});
      for (Index b = 0; b < a.batches; ++b)
        for (Index h = 0; h < a.heads; ++h)
          for (Index i = 0; i < a.queries; ++i)
            for (Index j = 0; j < keys; ++j) cache.bias(b, h, i, j) = a.bias.row(b, h, i)[j * a.bias.key];
      a.bias = MaskView<T>(cache.bias).broadcast("", "", cache.bias.shape());
    }
    a.keys = all;
  }

  Tensor<T, 3> infer(const TensorView<const T, 3>& q, const TensorView<const T, 3>& k, const TensorView<const T, 3>& v, bool self,
      const AttentionMask<T>& mask, Tensor<T, 4>* weights) const {
    Cache cache;
    prepare(q, k, v, self, mask, cache);
    const kernels::Attention<T>& a = cache.problem;
    Tensor<T, 4> seen;
    if (!weights && attention_is_observed<T>()) weights = &seen;
    if (weights) weights->resize({a.batches, a.heads, a.queries, a.keys});
    cache.context.resize({a.batches, a.queries, options_.embed_dim});
    kernels::attention_forward(
        a, heads(cache.context.data(), a.queries, options_.embed_dim), static_cast<T*>(nullptr), weights ? weights->data() : nullptr);
    if (weights && attention_is_observed<T>()) show_attention<T>(*weights);
    return out_proj_.forward(cache.context);
  }

  Tensor<T, 3> train(const TensorView<const T, 3>& q, const TensorView<const T, 3>& k, const TensorView<const T, 3>& v, bool self,
      const AttentionMask<T>& mask, Cache& cache, bool keep_weights) const {
    prepare(q, k, v, self, mask, cache);
    kernels::Attention<T>& a = cache.problem;
    a.dropout = {cache.dropout.draw(), options_.dropout};
    cache.context.resize({a.batches, a.queries, options_.embed_dim});
    cache.log_sum.resize({a.batches, a.heads, a.queries});
    cache.weights.resize(keep_weights ? Shape{a.batches, a.heads, a.queries, a.keys} : Shape{0, 0, 0, 0});
    kernels::attention_forward(
        a, heads(cache.context.data(), a.queries, options_.embed_dim), cache.log_sum.data(), keep_weights ? cache.weights.data() : nullptr);
    return out_proj_.forward(cache.context, cache.out);
  }

  void attend_backward(const TensorView<const T, 3>& dy, Cache& cache, const More& more, const kernels::HeadRows<T>& dq,
      const kernels::HeadRows<T>& dk, const kernels::HeadRows<T>& dv) {
    const kernels::Attention<T>& a = cache.problem;
    const Index e = options_.embed_dim;
    require_gradient_shape("MultiHeadAttention", dy.shape(), cache.q.shape(), cache.context.rows());
    const auto d_context = out_proj_.backward(dy, cache.out);
    kernels::AttentionGradients<T> g;
    g.y = heads<const T>(cache.context.data(), a.queries, e), g.dy = heads<const T>(d_context.data(), a.queries, e);
    g.log_sum = cache.log_sum.data();
    g.dq = dq, g.dk = dk, g.dv = dv;
    if (more.d_weights) {
      require(!cache.weights.empty(), "MultiHeadAttention: a gradient of the weights came back, but forward was not asked to keep them");
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
    if (appended() == 0) return kernels::attention_backward(a, g);

    Tensor<T, 3> dk_all({a.batches, a.keys, e}), dv_all({a.batches, a.keys, e});
    g.dk = heads(dk_all.data(), a.keys, e), g.dv = heads(dv_all.data(), a.keys, e);
    kernels::attention_backward(a, g);
    const Index keys = a.keys - appended();
    const auto take = [&](const Tensor<T, 3>& all, const kernels::HeadRows<T>& rows, Parameter<T>& last) {
      for (Index b = 0; b < a.batches; ++b) {
        for (Index j = 0; j < keys; ++j) std::copy_n(&all(b, j, 0), e, rows.at(b, 0, j));
        if (options_.add_bias_kv && !last.frozen())
          for (Index d = 0; d < e; ++d) last.gradient()[d] += all(b, keys, d);
      }
    };
    take(dk_all, dk, bias_k_), take(dv_all, dv, bias_v_);
  }

  Options options_;
  Parameter<T> in_proj_weight_, q_proj_weight_, k_proj_weight_, v_proj_weight_, in_proj_bias_, bias_k_, bias_v_;
  Linear<T> out_proj_;
};

static_assert(Layer<MultiHeadAttention<float>>);

}  // namespace heed
