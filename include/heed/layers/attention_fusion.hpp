// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>
#include <optional>

#include <heed/core/anomaly.hpp>
#include <heed/kernels/attention.hpp>
#include <heed/kernels/elementwise.hpp>
#include <heed/kernels/token_mixing.hpp>
#include <heed/layers/attention_observer.hpp>
#include <heed/layers/dropout.hpp>
#include <heed/layers/layer_norm.hpp>
#include <heed/layers/output_projection.hpp>
#include <heed/layers/positional_encoding.hpp>
#include <heed/layers/qkv_projection.hpp>
#include <heed/layers/relative_position_bias.hpp>

namespace heed::inline HEED_ABI {

/// What stands in the place of the attention weights A: attention itself, or a control with the same parameters.
enum class AttentionKind {
  full,      ///< softmax(Q Kᵀ / √head_width)
  identity,  ///< A = I: no token sees another one
  uniform,   ///< A = 1/T: every token sees the mean
};

struct AttentionFusionOptions {
  Index features = 0;                             ///< C; must be given
  Index num_heads = 1;                            ///< a divisor of `features`
  Index height = 0, width = 0;                    ///< of the map, for two-dimensional positions
  Index tokens = 0;                               ///< or the longest sequence, for one-dimensional ones
  PositionKind position = PositionKind::sine;     ///< P
  PositionUse position_use = PositionUse::added;  ///< whether U is LN(X) + P or LN(X) ⊙ P
  AttentionKind attention = AttentionKind::full;  ///< attention, or a control in its place
  double dropout = 0;                             ///< of attention weights; the controls have none
  bool relative_bias = false;                   ///< whether scores get a learned number a head and relative position (RelativePositionBias)
  bool qkv_bias = false;                        ///< whether W_qkv has a bias
  Initializer out_weight = Initializer::zeros;  ///< how W_o starts; with zeros the block starts as the identity
  double out_weight_value = 0.02;               ///< the number that goes with it, see InitializerOptions
  double eps = 1e-5;                            ///< of the layer norm
};

/// Attention whose context is joined with its input: Y = X + W_o [C; U] + b with U = LN(X) + P, or LN(X) ⊙ P, and per head
/// C = softmax(Q Kᵀ / √head_width) V of [Q, K, V] = U W_qkvᵀ (Vaswani et al. 2017, equation 1); with `relative_bias` softmax(Q Kᵀ / √head_width + B) V. Context
/// and input meet as in OutputProjection.
///
/// Shapes: x and y (N, H, W, C) or (N, T, C); children "norm" (LayerNorm), "position" (PositionalEncoding), "qkv" (QkvProjection, weight (3C, C)),
/// "out" (OutputProjection, weight (C, 2C), its first C columns for the context), with `relative_bias` "relative" (RelativePositionBias).
/// 5 C² T + 2 T² C multiply-adds a sequence, forward.
/// The cache holds six tensors of the input's size (LN(X), U, Q, K, V, C) and one number a row and head; the T x T weights are never stored.
template <class T>
class AttentionFusion : public LayerBase<AttentionFusion<T>> {
 public:
  using scalar = T;
  static constexpr int input_rank = kAnyRank;
  static constexpr bool mixes_tokens = true;  // decode refuses it

  struct Cache {
    [[no_unique_address]] MoveOnly looks_into_itself;  ///< views of tensors beside them
    typename LayerNorm<T>::Cache norm;
    typename PositionalEncoding<T>::Cache position;
    typename QkvProjection<T>::Cache qkv;
    typename OutputProjection<T>::Cache out;
    typename RelativePositionBias<T>::Cache relative;
    DropoutKey dropout;
    Tensor<T, 3> normalized;              ///< (N, T, C), LN(X)
    Tensor<T, 3> u;                       ///< (N, T, C)
    Tensor<T, 3> projected;               ///< (N, T, 3C), Q, K and V of all heads
    Tensor<T, 3> context;                 ///< (N, T, C)
    Tensor<T, 3> log_sum;                 ///< (N, heads, T), of each row's exponentials
    kernels::MaskRef<const T> bias = {};  ///< of relative positions, in `relative`
  };

  explicit AttentionFusion(const AttentionFusionOptions& options)
      : options_(checked(options)),
        norm_({.normalized_shape = {options.features}, .eps = options.eps}),
        position_({.features = options.features,
            .tokens = options.tokens,
            .height = options.height,
            .width = options.width,
            .kind = options.position,
            .use = options.position_use}),
        qkv_({.in_features = options.features, .bias = options.qkv_bias}),
        out_({.context_features = options.features,
            .input_features = options.features,
            .out_features = options.features,
            .weight = options.out_weight,
            .weight_value = options.out_weight_value}) {
    if (options.relative_bias)
      relative_.emplace(RelativePositionBiasOptions{.num_heads = options.num_heads,
          .max_distance = options.height > 0 ? 0 : std::max<Index>(options.tokens - 1, 1),
          .height = options.height,
          .width = options.width});
  }

  Shape output_shape(const Shape& in) const {
    require<ShapeError>(in.rank() == 3 || in.rank() == 4, "AttentionFusion: input ", in, " is neither (N, T, C) nor (N, H, W, C)");
    // Positions of a map ask for its height and width, others for its tokens in a row.
    const bool row = in.rank() == 4 && options_.height == 0;
    const Shape u = child_shape("position", position_, child_shape("norm", norm_, row ? Shape{in[0], in[1] * in[2], in[3]} : in));
    child_shape("qkv", qkv_, u);
    return in;
  }
  /// Multiply-adds of scores and of weights with values, for model summaries.
  double activation_products(const Shape& in) const {
    const double rows = static_cast<double>(in.rows()), tokens = in[0] > 0 ? rows / static_cast<double>(in[0]) : 0;
    return options_.attention == AttentionKind::full ? 2 * rows * tokens * static_cast<double>(options_.features) : 0;
  }

  using LayerBase<AttentionFusion<T>>::forward;  // what it says to other tensors
  template <int Rank>
  Tensor<T, Rank> forward(const TensorView<const T, Rank>& x) const {
    output_shape(x.shape());
    const auto u = positioned(x);
    const auto projected = forward_part("qkv", qkv_, [&] { return qkv_.forward(u); });
    Tensor<T, 4> weights;
    if (attention_is_observed<T>()) weights = Tensor<T, 4>(weights_shape(u));
    const auto context = attend(projected, weights);
    if (!weights.empty()) show_attention<T>(weights);
    return join(x, context, u);
  }

  template <int Rank>
  Tensor<T, Rank> forward(const TensorView<const T, Rank>& x, Cache& cache) const {
    output_shape(x.shape());
    release(cache.u);  // should a child refuse its input
    cache.normalized = forward_part("norm", norm_, [&] { return norm_.forward(as_tokens(x), cache.norm); });
    cache.u = forward_part("position", position_, [&] { return position_.forward(cache.normalized, cache.position); });
    cache.projected = forward_part("qkv", qkv_, [&] { return qkv_.forward(cache.u, cache.qkv); });
    cache.dropout.draw();
    cache.log_sum.resize({cache.u.size(0), options_.num_heads, cache.u.size(1)});
    cache.bias = bias_of(cache.u.size(1), cache.relative);
    const double p = cache.dropout.probability(options_.dropout);
    cache.context = attend(cache.projected, cache.dropout, p, cache.bias, cache.log_sum.data(), nullptr);
    out_.remember(cache.context, cache.u, cache.out);
    return join(x, cache.context, cache.u);
  }
  template <int Rank>
  HEED_REFUSED("the cache looks at the input until backward has run, and a temporary is gone by then: give it a name")
  Tensor<T, Rank> forward(Tensor<T, Rank>&& x, Cache& cache) const;

  /// Y = X + W_o [C; U] + b: x gets dy as it is, and what comes back through W_o, the attention, [Q, K, V], P and LN.
  template <int Rank>
  Tensor<T, Rank> backward(const TensorView<const T, Rank>& dy, Cache& cache) {
    require_filled("AttentionFusion", cache.u);
    require<ShapeError>((Rank == 3 || Rank == 4) && dy.size() == cache.u.size() && dy.rows() == cache.u.rows(), "AttentionFusion: dy is ",
        dy.shape(), ", the forward pass of this cache gave ", cache.u.shape(), " as (N, T, C)");
    auto dx = copied(dy);
    auto d_joined = [&] {  // of the context and of U
      LayerScope scope("out");
      auto both = out_.backward(as_tokens(dy), cache.out);
      detail::watch_backward(out_, both.first), detail::watch_backward(out_, both.second);
      return both;
    }();
    auto& du = d_joined.second;
    const auto d_projected = attend_backward(d_joined.first, cache);
    detail::watch_backward(*this, d_projected);
    backward_add_part("qkv", qkv_, d_projected, cache.qkv, du.view());
    const auto d_normalized = backward_part("position", position_, [&] { return position_.backward(du, cache.position); });
    backward_add_part("norm", norm_, d_normalized, cache.norm, dx.view().template reshaped<3>(cache.u.shape()));
    release(cache.normalized, cache.u, cache.projected, cache.context, cache.log_sum);
    return dx;
  }

  /// The weights A of the inference pass, (N, heads, T, T): row [n, h, q] is what query token q takes from each token. Inside a composed model
  /// an AttentionObserver sees the same.
  template <int Rank>
  Tensor<T, 4> attention_weights(const TensorView<const T, Rank>& x) const {
    output_shape(x.shape());
    const auto projected = qkv_.forward(positioned(x));
    Tensor<T, 4> weights(weights_shape(projected));
    attend(projected, weights);
    return weights;
  }

  const AttentionFusionOptions& options() const { return options_; }
  /// The children, whose parameters may be changed.
  /// @{
  LayerNorm<T>& norm() { return norm_; }
  PositionalEncoding<T>& position() { return position_; }
  QkvProjection<T>& qkv() { return qkv_; }
  OutputProjection<T>& out() { return out_; }
  /// @}
  /// The bias of relative positions; null without `relative_bias`.
  RelativePositionBias<T>* relative() { return relative_ ? &*relative_ : nullptr; }

  /// The same layer over another scalar.
  template <class U>
  AttentionFusion<U> rebind() const {
    return this->template rebound<AttentionFusion<U>>(options_);
  }

  template <class Self, class V>
  static void describe_members(Self& self, V& visitor) {
    constexpr const char* kKinds[] = {"full", "identity", "uniform"};
    visitor.kind("AttentionFusion");
    visitor.option("features", self.options_.features);
    visitor.option("num_heads", self.options_.num_heads);
    visitor.option("attention", kKinds[static_cast<int>(self.options_.attention)]);
    visitor.option("dropout", self.options_.dropout);
    visitor.child("norm", self.norm_);
    visitor.child("position", self.position_);
    visitor.child("qkv", self.qkv_);
    visitor.child("out", self.out_);
    if (self.relative_) visitor.child("relative", *self.relative_);
  }

 private:
  static const AttentionFusionOptions& checked(const AttentionFusionOptions& options) {
    require(options.features > 0 && options.num_heads > 0 && options.features % options.num_heads == 0, "AttentionFusion: features (",
        options.features, ") must be a multiple of num_heads (", options.num_heads, ")");
    require(options.dropout >= 0 && options.dropout <= 1, "AttentionFusion: dropout is ", options.dropout, ", it must lie in 0 ... 1");
    return options;
  }

  template <int Rank>
  static Tensor<T, Rank> copied(const TensorView<const T, Rank>& x) {
    auto copy = Tensor<T, Rank>::uninitialized(x.shape());
    kernels::copy_elements(x.size(), x.data(), copy.data());
    return copy;
  }
  template <int Rank>
  static TensorView<const T, 3> as_tokens(const TensorView<const T, Rank>& x) {
    const Index sequences = x.size(0), features = x.features();
    Index tokens = 1;
    for (int axis = 1; axis + 1 < Rank; ++axis) tokens *= x.size(axis);
    return {x.data(), {sequences, tokens, features}};
  }

  /// U in inference.
  template <int Rank>
  Tensor<T, 3> positioned(const TensorView<const T, Rank>& x) const {
    const auto normalized = forward_part("norm", norm_, [&] { return norm_.forward(as_tokens(x)); });
    return forward_part("position", position_, [&] { return position_.forward(normalized); });
  }

  Shape weights_shape(const Tensor<T, 3>& u) const { return {u.size(0), options_.num_heads, u.size(1), u.size(1)}; }

  template <int Rank>
  Tensor<T, Rank> join(const TensorView<const T, Rank>& x, const Tensor<T, 3>& context, const Tensor<T, 3>& u) const {
    detail::watch_forward(*this, context);
    return forward_part("out", out_, [&] {
      auto y = copied(x);
      out_.forward_add(context, u, y.view().template reshaped<3>(u.shape()));
      return y;
    });
  }

  /// Q, K and V as strided heads of the packed projection.
  kernels::Attention<T> problem(
      const TensorView<const T, 3>& projected, const DropoutKey& dropout, double p, const kernels::MaskRef<const T>& bias) const {
    const Index row = projected.features(), batch = projected.size(1) * row, head = options_.features / options_.num_heads;
    const auto heads = [&](Index part) {
      return kernels::HeadRows<const T>{projected.data() + part * options_.features, batch, head, row};
    };
    kernels::Attention<T> a;
    a.batches = projected.size(0);
    a.heads = a.kv_heads = options_.num_heads;
    a.queries = a.keys = projected.size(1);
    a.width = a.value_width = head;
    a.q = heads(0), a.k = heads(1), a.v = heads(2);
    a.scale = 1 / std::sqrt(static_cast<double>(head));
    a.dropout = {dropout.key(), p};
    a.bias = bias;
    return a;
  }
  /// What is added to the scores of so many tokens; nothing without `relative_bias`. It looks into the cache.
  kernels::MaskRef<const T> bias_of(Index tokens, typename RelativePositionBias<T>::Cache& cache) const {
    if (!relative_ || options_.attention != AttentionKind::full || tokens == 0) return {};
    return relative_->forward(tokens, tokens, cache).broadcast("AttentionFusion", "the bias", {1, options_.num_heads, tokens, tokens});
  }
  /// (N, T, C) as heads.
  kernels::HeadRows<T> heads_of(Tensor<T, 3>& x) const {
    return {x.data(), x.size(1) * x.features(), options_.features / options_.num_heads, x.features()};
  }

  /// In inference; writes the weights where they have room.
  Tensor<T, 3> attend(const Tensor<T, 3>& projected, Tensor<T, 4>& weights) const {
    typename RelativePositionBias<T>::Cache relative;
    return attend(projected, DropoutKey(), 0, bias_of(projected.size(1), relative), nullptr, weights.data());
  }
  Tensor<T, 3> attend(const Tensor<T, 3>& projected, const DropoutKey& dropout, double p, const kernels::MaskRef<const T>& bias, T* log_sum,
      T* weights) const {
    const Index sequences = projected.size(0), tokens = projected.size(1), features = options_.features;
    auto context = Tensor<T, 3>::uninitialized({sequences, tokens, features});
    if (options_.attention == AttentionKind::full) {
      kernels::attention_forward(problem(projected, dropout, p, bias), heads_of(context), log_sum, weights);
      return context;
    }
    const bool uniform = options_.attention == AttentionKind::uniform;
    kernels::mix_tokens<T>(
        uniform, sequences, tokens, features, {projected.data() + 2 * features, 3 * features}, {context.data(), features});
    if (weights) kernels::mixing_weights(uniform, sequences * options_.num_heads, tokens, weights);
    return context;
  }

  /// The gradient of [Q, K, V].
  Tensor<T, 3> attend_backward(const Tensor<T, 3>& d_context, Cache& cache) {
    const Index sequences = cache.u.size(0), tokens = cache.u.size(1), features = options_.features;
    if (options_.attention != AttentionKind::full) {  // Q and K have no effect
      Tensor<T, 3> d_projected(cache.projected.shape());
      kernels::mix_tokens<T>(options_.attention == AttentionKind::uniform, sequences, tokens, features, {d_context.data(), features},
          {d_projected.data() + 2 * features, 3 * features});
      return d_projected;
    }
    auto d_projected = Tensor<T, 3>::uninitialized(cache.projected.shape());
    const Index head = features / options_.num_heads;
    const auto rows = [&](const Tensor<T, 3>& x) { return kernels::HeadRows<const T>{x.data(), tokens * features, head, features}; };
    const auto part = [&](Index i) {
      return kernels::HeadRows<T>{d_projected.data() + i * features, tokens * 3 * features, head, 3 * features};
    };
    kernels::AttentionGradients<T> gradients;
    gradients.y = rows(cache.context), gradients.dy = rows(d_context);
    gradients.log_sum = cache.log_sum.data();
    gradients.dq = part(0), gradients.dk = part(1), gradients.dv = part(2);
    const kernels::MaskRef<const T>& bias = cache.bias;
    const kernels::Attention<T> a = problem(cache.projected, cache.dropout, cache.dropout.probability(options_.dropout), bias);
    if (bias) gradients.d_bias = {relative_->d_bias(cache.relative), bias.batch, bias.head, bias.query, bias.key};
    show_attention_gradient(a, gradients);
    kernels::attention_backward(a, gradients);
    if (bias) relative_->backward(cache.relative);
    return d_projected;
  }

  AttentionFusionOptions options_;
  LayerNorm<T> norm_;
  PositionalEncoding<T> position_;
  QkvProjection<T> qkv_;
  OutputProjection<T> out_;
  std::optional<RelativePositionBias<T>> relative_;
};

static_assert(Layer<AttentionFusion<float>>);
HEED_COMPILE_CLASS_ONCE(AttentionFusion);

}  // namespace heed::inline HEED_ABI
