// SPDX-License-Identifier: MIT
#pragma once

#include <optional>
#include <utility>

#include <heed/core/anomaly.hpp>
#include <heed/kernels/activation.hpp>
#include <heed/layers/dropout.hpp>
#include <heed/layers/layer_norm.hpp>
#include <heed/layers/linear.hpp>
#include <heed/layers/multi_head_attention.hpp>

namespace heed::inline HEED_ABI {

/// What stands between linear1 and linear2.
enum class FeedForwardActivation { relu, gelu };

struct TransformerEncoderLayerOptions {
  Index d_model = 0;                                               ///< features of x and y; must be given, a multiple of nhead
  Index nhead = 1;                                                 ///< heads of attention
  Index dim_feedforward = 2048;                                    ///< features between linear1 and linear2
  double dropout = 0.1;                                            ///< of attention weights, behind the activation, and of both branches
  FeedForwardActivation activation = FeedForwardActivation::relu;  ///< between linear1 and linear2
  double layer_norm_eps = 1e-5;                                    ///< added to the norms' variances
  bool norm_first = false;  ///< true: the norms stand before attention and feed-forward, false: behind the sums
  bool bias = true;
  bool causal = false;                                ///< token i attends tokens 0 ... i
  Index num_kv_heads = 0;                             ///< of self-attention, see MultiHeadAttentionOptions; so the ones below
  std::optional<RotaryEmbeddingOptions> rotary = {};  ///< of self-attention
  bool alibi = false;                                 ///< of self-attention
};

/// Self-attention and a feed-forward net, each with a residual connection and a layer norm (Vaswani et al. 2017, figure 1;
/// torch.nn.TransformerEncoderLayer with batch_first).
///
///     norm_first:  s = x + attention(norm1(x)),  y = s + linear2(activation(linear1(norm2(s))))
///     otherwise:   n = norm1(x + attention(x)),  y = norm2(n + linear2(activation(linear1(n))))
///
/// Shapes: x and y (N, T, d_model). Parameters under torch's names: self_attn.in_proj_weight, self_attn.out_proj.weight, linear1, linear2, norm1,
/// norm2. Masks as for MultiHeadAttention: AttentionMask, true = attend. Dropout draws under the names dropout, dropout1 and dropout2.
template <class T>
class TransformerEncoderLayer : public LayerBase<TransformerEncoderLayer<T>> {
 public:
  using scalar = T;
  static constexpr int input_rank = 3;

  struct Cache {
    [[no_unique_address]] MoveOnly looks_into_itself;  ///< views of tensors beside them
    typename LayerNorm<T>::Cache norm1, norm2;
    typename MultiHeadAttention<T>::Cache self_attn;
    typename Linear<T>::Cache linear1, linear2;
    DropoutKey dropout, dropout1, dropout2;
    Tensor<T, 3> normed1;  ///< (N, T, d_model), output of norm1
    Tensor<T, 3> normed2;  ///< (N, T, d_model), output of norm2, with norm_first
    Tensor<T, 3> sum1;     ///< (N, T, d_model), x + attention
    Tensor<T, 3> sum2;     ///< (N, T, d_model), n + feed-forward, without norm_first
    Tensor<T, 3> hidden;   ///< (N, T, dim_feedforward), before the activation
    Tensor<T, 3> active;   ///< (N, T, dim_feedforward), behind activation and dropout
  };

  explicit TransformerEncoderLayer(const TransformerEncoderLayerOptions& options)
      : options_(checked(options)),
        self_attn_({.embed_dim = options.d_model,
            .num_heads = options.nhead,
            .dropout = options.dropout,
            .bias = options.bias,
            .causal = options.causal,
            .num_kv_heads = options.num_kv_heads,
            .rotary = options.rotary,
            .alibi = options.alibi}),
        linear1_({.in_features = options.d_model, .out_features = options.dim_feedforward, .bias = options.bias}),
        linear2_({.in_features = options.dim_feedforward, .out_features = options.d_model, .bias = options.bias}),
        norm1_({.normalized_shape = {options.d_model}, .eps = options.layer_norm_eps, .bias = options.bias}),
        norm2_({.normalized_shape = {options.d_model}, .eps = options.layer_norm_eps, .bias = options.bias}) {}

  Shape output_shape(const Shape& in) const {
    require<ShapeError>(in.rank() == 3 && in.features() == options_.d_model, "TransformerEncoderLayer: input ", in,
        " is not (N, T, d_model) with d_model = ", options_.d_model);
    child_shape("norm2", norm2_, child_shape("norm1", norm1_, child_shape("self_attn", self_attn_, in)));
    return child_shape("linear2", linear2_, child_shape("linear1", linear1_, in));
  }

  using LayerBase<TransformerEncoderLayer<T>>::forward;  // what it says to other tensors
  /// Inference.
  Tensor<T, 3> forward(const TensorView<const T, 3>& x, const AttentionMask<T>& mask = {}) const {
    return infer(x, [&](const TensorView<const T, 3>& normed) { return self_attn_.forward(normed, mask); });
  }

  using DecodeState = KeyValueCache<T>;
  /// An empty cache for `decode`, of up to `capacity` tokens a sequence.
  KeyValueCache<T> decode_state(Index sequences, Index capacity) const { return self_attn_.decode_state(sequences, capacity); }
  /// Inference of the tokens that follow those in `past`, see MultiHeadAttention.
  Tensor<T, 3> decode(const TensorView<const T, 3>& x, KeyValueCache<T>& past, const AttentionMask<T>& mask = {}) const {
    return infer(x, [&](const TensorView<const T, 3>& normed) { return self_attn_.decode(normed, past, mask); });
  }

  /// Training.
  Tensor<T, 3> forward(const TensorView<const T, 3>& x, const AttentionMask<T>& mask, Cache& cache) const {
    output_shape(x.shape());
    release(cache.sum1);  // should attention refuse the mask
    const auto norm1 = [&](const TensorView<const T, 3>& in) {
      return forward_part("norm1", norm1_, [&] { return norm1_.forward(in, cache.norm1); });
    };
    const auto norm2 = [&](const Tensor<T, 3>& in) {
      return forward_part("norm2", norm2_, [&] { return norm2_.forward(in, cache.norm2); });
    };
    if (options_.norm_first) cache.normed1 = norm1(x);
    cache.sum1 = attend(options_.norm_first ? cache.normed1 : x, mask, cache);
    add(x, cache.sum1);
    if (options_.norm_first) {
      cache.normed2 = norm2(cache.sum1);
      Tensor<T, 3> y = feed_forward(cache.normed2, cache);
      add(cache.sum1, y);
      return y;
    }
    cache.normed1 = norm1(cache.sum1);
    cache.sum2 = feed_forward(cache.normed1, cache);
    add(cache.normed1, cache.sum2);
    return norm2(cache.sum2);
  }
  Tensor<T, 3> forward(const TensorView<const T, 3>& x, Cache& cache) const { return forward(x, AttentionMask<T>(), cache); }
  HEED_REFUSED("the cache looks at the input until backward has run, and a temporary is gone by then: give it a name")
  Tensor<T, 3> forward(Tensor<T, 3>&& x, Cache& cache) const;
  HEED_REFUSED("the cache looks at the input until backward has run, and a temporary is gone by then: give it a name")
  Tensor<T, 3> forward(Tensor<T, 3>&& x, const AttentionMask<T>& mask, Cache& cache) const;

  /// The lines of forward from the last to the first. At each sum the gradient goes both ways.
  Tensor<T, 3> backward(const TensorView<const T, 3>& dy, Cache& cache) {
    require_filled("TransformerEncoderLayer", cache.sum1);
    require_gradient_shape("TransformerEncoderLayer", dy.shape(), cache.sum1.shape(), cache.sum1.rows());
    if (options_.norm_first) {
      Tensor<T, 3> d_sum1(dy);  // y = sum1 + feed_forward(norm2(sum1))
      backward_add_part("norm2", norm2_, feed_forward_backward(dy, cache), cache.norm2, d_sum1.view());
      backward_add_part("norm1", norm1_, attend_backward(d_sum1, cache), cache.norm1, d_sum1.view());  // sum1 = x + attend(norm1(x))
      release(cache.normed1, cache.normed2, cache.sum1, cache.hidden, cache.active);
      return d_sum1;
    }
    // y = norm2(sum2), sum2 = normed1 + feed_forward(normed1)
    Tensor<T, 3> d_sum2 = backward_part("norm2", norm2_, [&] { return norm2_.backward(dy, cache.norm2); });
    add(feed_forward_backward(d_sum2, cache), d_sum2);
    // normed1 = norm1(sum1), sum1 = x + attend(x)
    Tensor<T, 3> dx = backward_part("norm1", norm1_, [&] { return norm1_.backward(d_sum2, cache.norm1); });
    add(attend_backward(dx, cache), dx);
    release(cache.normed1, cache.sum1, cache.sum2, cache.hidden, cache.active);
    return dx;
  }

  const TransformerEncoderLayerOptions& options() const { return options_; }

  /// The same layer over another scalar.
  template <class U>
  TransformerEncoderLayer<U> rebind() const {
    return this->template rebound<TransformerEncoderLayer<U>>(options_);
  }

  template <class Self, class V>
  static void describe_members(Self& self, V& visitor) {
    visitor.kind("TransformerEncoderLayer");
    visitor.option("d_model", self.options_.d_model);
    visitor.option("nhead", self.options_.nhead);
    visitor.option("dim_feedforward", self.options_.dim_feedforward);
    visitor.option("dropout", self.options_.dropout);
    visitor.option("activation", self.options_.activation == FeedForwardActivation::gelu ? "gelu" : "relu");
    visitor.option("layer_norm_eps", self.options_.layer_norm_eps);
    visitor.option("norm_first", self.options_.norm_first);
    visitor.option("bias", self.options_.bias);
    visitor.option("causal", self.options_.causal);
    visitor.option("num_kv_heads", self.self_attn_.options().num_kv_heads);
    visitor.child("self_attn", self.self_attn_);
    visitor.child("linear1", self.linear1_);
    visitor.child("linear2", self.linear2_);
    visitor.child("norm1", self.norm1_);
    visitor.child("norm2", self.norm2_);
  }

 private:
  static const TransformerEncoderLayerOptions& checked(const TransformerEncoderLayerOptions& options) {
    require(options.d_model > 0 && options.nhead > 0 && options.d_model % options.nhead == 0, "TransformerEncoderLayer: d_model (",
        options.d_model, ") must be a positive multiple of nhead (", options.nhead, ")");
    require(options.dim_feedforward > 0, "TransformerEncoderLayer: dim_feedforward (", options.dim_feedforward, ") must be positive");
    require(
        options.dropout >= 0 && options.dropout <= 1, "TransformerEncoderLayer: dropout is ", options.dropout, ", it must lie in 0 ... 1");
    return options;
  }

  /// y += x
  static void add(const TensorView<const T, 3>& x, Tensor<T, 3>& y) {
    kernels::elementwise(kernels::Add{}, y.size(), y.data(), static_cast<const T*>(y.data()), x.data());
    detail::watch_between("adding a branch gives", y);
  }
  void activate(const Tensor<T, 3>& x, Tensor<T, 3>& y) const {
    if (options_.activation == FeedForwardActivation::gelu)
      kernels::activation_forward(x.size(), x.data(), y.data(), kernels::Gelu());
    else
      kernels::activation_forward(x.size(), x.data(), y.data(), kernels::Relu());
  }
  void activate_backward(const Tensor<T, 3>& x, Tensor<T, 3>& d) const {
    if (options_.activation == FeedForwardActivation::gelu)
      kernels::activation_backward(x.size(), x.data(), static_cast<const T*>(d.data()), d.data(), kernels::Gelu());
    else
      kernels::activation_backward(x.size(), x.data(), static_cast<const T*>(d.data()), d.data(), kernels::Relu());
  }

  /// Dropout of a training pass, in place, under the name that gives it its key.
  void drop(std::string_view name, DropoutKey& key, Tensor<T, 3>& x) const {
    LayerScope scope(name);
    key.draw();
    drop_again(key, x);
  }
  void drop_again(const DropoutKey& key, Tensor<T, 3>& x) const {
    if (const double p = key.probability(options_.dropout); p > 0)
      kernels::apply_dropout(kernels::DropoutMask(key.key(), p), x.size(), static_cast<const T*>(x.data()), x.data());
  }

  template <class Attend>
  Tensor<T, 3> infer(const TensorView<const T, 3>& x, const Attend& attend) const {
    output_shape(x.shape());
    const auto run = [](std::string_view name, const auto& part, const TensorView<const T, 3>& in) {
      return forward_part(name, part, [&] { return part.forward(in); });
    };
    const auto attended = [&](const TensorView<const T, 3>& in) {
      return forward_part("self_attn", self_attn_, [&] { return attend(in); });
    };
    Tensor<T, 3> s = options_.norm_first ? attended(run("norm1", norm1_, x)) : attended(x);
    add(x, s);
    if (!options_.norm_first) s = run("norm1", norm1_, s);
    Tensor<T, 3> y = options_.norm_first ? run("norm2", norm2_, s) : s;
    y = run("linear1", linear1_, y);
    activate(y, y);
    y = run("linear2", linear2_, y);
    add(s, y);
    return options_.norm_first ? std::move(y) : run("norm2", norm2_, y);
  }

  Tensor<T, 3> attend(const TensorView<const T, 3>& x, const AttentionMask<T>& mask, Cache& cache) const {
    Tensor<T, 3> y = forward_part("self_attn", self_attn_, [&] { return self_attn_.forward(x, mask, cache.self_attn); });
    drop("dropout1", cache.dropout1, y);
    return y;
  }
  Tensor<T, 3> attend_backward(const Tensor<T, 3>& dy, Cache& cache) {
    Tensor<T, 3> d(dy);
    drop_again(cache.dropout1, d);
    return backward_part("self_attn", self_attn_, [&] { return self_attn_.backward(d, cache.self_attn); });
  }

  Tensor<T, 3> feed_forward(const Tensor<T, 3>& x, Cache& cache) const {
    cache.hidden = forward_part("linear1", linear1_, [&] { return linear1_.forward(x, cache.linear1); });
    cache.active.resize(cache.hidden.shape());
    activate(cache.hidden, cache.active);
    drop("dropout", cache.dropout, cache.active);
    Tensor<T, 3> y = forward_part("linear2", linear2_, [&] { return linear2_.forward(cache.active, cache.linear2); });
    drop("dropout2", cache.dropout2, y);
    return y;
  }
  Tensor<T, 3> feed_forward_backward(const TensorView<const T, 3>& dy, Cache& cache) {
    Tensor<T, 3> d(dy);
    drop_again(cache.dropout2, d);
    d = backward_part("linear2", linear2_, [&] { return linear2_.backward(d, cache.linear2); });
    drop_again(cache.dropout, d);
    activate_backward(cache.hidden, d);
    return backward_part("linear1", linear1_, [&] { return linear1_.backward(d, cache.linear1); });
  }

  TransformerEncoderLayerOptions options_;
  MultiHeadAttention<T> self_attn_;
  Linear<T> linear1_, linear2_;
  LayerNorm<T> norm1_, norm2_;
};

static_assert(Layer<TransformerEncoderLayer<float>>);
HEED_COMPILE_CLASS_ONCE(TransformerEncoderLayer);

}  // namespace heed::inline HEED_ABI
