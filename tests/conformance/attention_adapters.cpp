// SPDX-License-Identifier: MIT
// Scaled dot-product and multi-head attention, encoder layers.
#include <optional>

#include <heed/layers/multi_head_attention.hpp>
#include <heed/layers/scaled_dot_product_attention.hpp>
#include <heed/layers/transformer_encoder_layer.hpp>

#include "adapters.hpp"

namespace conformance {
namespace {

/// y = softmax(softcap(scale q kᵀ) + mask) v of (B, H, T, D) tensors. Masks follow ONNX here: true = attend, as in the library.
template <class T>
void sdpa(Run<T>& run) {
  const ReferenceCase& reference = run.reference();
  const auto q = run.template read<4>("in.q"), k = run.template read<4>("in.k"), v = run.template read<4>("in.v");
  const std::string causal = reference.word("causal", "none"), kind = reference.word("mask", "none");
  using Layer = heed::ScaledDotProductAttention<T>;
  Layer layer({.scale = reference.flag("scale_is_default") ? 0 : reference.number("scale", 0),
      .softcap = reference.number("softcap", 0),
      .causal = causal != "none",
      .alignment = causal == "bottom_right" ? heed::CausalAlignment::bottom_right : heed::CausalAlignment::top_left});
  heed::AttentionMask<T> mask;
  Tensor<bool, 4> attend;
  Tensor<T, 4> bias, d_bias;
  if (kind == "bool_true_attends") {
    attend = run.template read<4, bool>("in.mask");
    mask.attend = attend;
  } else if (kind == "additive") {
    bias = run.template read<4>("in.mask");
    d_bias = Tensor<T, 4>(bias.shape());
    mask.bias = bias;
  } else if (kind != "none") {
    unsupported("mask ", kind);
  }

  // A probability is off by what rounding does to its score and to its row's sum of exponentials, half a unit in the last place of the largest
  // score each; y and the gradient of v are sums of probabilities times v and dy.
  const double rounded = largest(layer.stage(heed::AttentionStage::capped, q, k).span()) / Allowance().roundings;
  const Allowance output{.contributions = rounded * largest(v.span())};
  Tensor<T, 4> weights;
  run.expect("out.y", std::as_const(layer).forward(q, k, v, mask), output);
  run.expect("out.y", std::as_const(layer).forward(q, k, v, mask, &weights), output);
  run.expect("out.probs", weights, {.contributions = rounded});
  typename Layer::Cache cache;
  run.expect("out.y", std::as_const(layer).forward(q, k, v, mask, cache), output);
  const auto dy = run.template read<4>("grad.out.y");
  typename Layer::More more;
  if (kind == "additive") more.d_bias = d_bias.data();
  const auto [dq, dk, dv] = layer.backward(dy, cache, more);
  // dS = P (dP - delta) with dP = dy vᵀ: where P is near 1, a difference of terms of the size of dP.
  const double d_scores = static_cast<double>(v.features()) * largest(dy.span()) * largest(v.span());
  const double scale = reference.number("scale", 1);
  run.expect("grad.in.q", dq, {.contributions = scale * d_scores * largest(k.span())});
  run.expect("grad.in.k", dk, {.contributions = scale * d_scores * largest(q.span())});
  run.expect("grad.in.v", dv, {.contributions = rounded * largest(dy.span())});
  if (kind == "additive") run.expect("grad.in.mask", d_bias, {.contributions = d_scores});
}

/// PyTorch's masks of a case, true = masked out, in the library's sense. `causal` leaves the mask of pairs to the layer's own option.
template <class T>
class CaseMask {
 public:
  CaseMask(Run<T>& run, const std::string& keys, const std::string& pairs, bool causal, Index num_heads) {
    const ReferenceCase& reference = run.reference();
    if (reference.has(keys)) keys_ = run.template read<2, bool>(keys);
    const heed::MaskView<bool> key_view = reference.has(keys) ? heed::MaskView<bool>(keys_) : heed::MaskView<bool>();
    if (causal || !reference.has(pairs)) {
      mask_.emplace(key_view);
    } else if (reference.file().at(pairs).dtype != heed::Dtype::boolean) {
      if (run.shape(pairs).rank() == 3)
        mask_.emplace(key_view, heed::MaskView<T>(added_by_head_ = run.template read<3>(pairs)), num_heads);
      else
        mask_.emplace(key_view, heed::MaskView<T>(added_ = run.template read<2>(pairs)), num_heads);
    } else if (run.shape(pairs).rank() == 3) {
      by_head_ = run.template read<3, bool>(pairs);
      mask_.emplace(key_view, heed::MaskView<bool>(by_head_), num_heads);
    } else {
      pairs_ = run.template read<2, bool>(pairs);
      mask_.emplace(key_view, heed::MaskView<bool>(pairs_), num_heads);
    }
  }
  const heed::AttentionMask<T>& mask() const { return mask_->mask(); }

 private:
  Tensor<bool, 2> keys_, pairs_;
  Tensor<bool, 3> by_head_;
  Tensor<T, 2> added_;
  Tensor<T, 3> added_by_head_;
  std::optional<heed::TorchAttentionMask<T>> mask_;
};

template <class T>
void multihead_attention(Run<T>& run, bool causal) {
  const ReferenceCase& reference = run.reference();
  using Layer = heed::MultiHeadAttention<T>;
  Layer layer({.embed_dim = reference.integer("embed_dim"),
      .num_heads = reference.integer("num_heads"),
      .bias = reference.flag("bias", true),
      .add_bias_kv = reference.has("param.bias_k"),
      .add_zero_attn = reference.flag("add_zero_attn"),
      .kdim = reference.integer("kdim"),
      .vdim = reference.integer("vdim"),
      .causal = causal});
  run.set_parameters(layer);
  const CaseMask<T> masks(run, "in.key_padding_mask", "in.attn_mask", causal, reference.integer("num_heads"));
  const auto& mask = masks.mask();
  const bool averaged = reference.flag("average_attn_weights", true);
  const auto expect_weights = [&](const Tensor<T, 4>& weights) {
    if (!reference.has("out.attn_weights")) return;
    if (averaged)
      run.expect("out.attn_weights", Layer::average_over_heads(weights));
    else
      run.expect("out.attn_weights", weights);
  };

  typename Layer::More more;
  Tensor<T, 3> d_average;
  Tensor<T, 4> weights, d_weights;
  if (reference.has("grad.out.attn_weights")) {
    more.averaged = averaged;
    if (averaged)
      more.d_weights = d_average = run.template read<3>("grad.out.attn_weights");
    else
      more.d_weights = d_weights = run.template read<4>("grad.out.attn_weights");
  }
  const bool keep = bool(more.d_weights);
  const auto dy = run.template read<3>("grad.out.y");
  typename Layer::Cache cache;
  if (reference.flag("self_attention")) {
    const auto x = run.template read<3>("in.x");
    run.expect("out.y", std::as_const(layer).forward(x, mask, &weights));
    run.expect("out.y", std::as_const(layer).forward(x, mask, cache, keep));
    run.expect("grad.in.x", layer.backward(dy, cache, more));
  } else {
    const auto q = run.template read<3>("in.query"), k = run.template read<3>("in.key"), v = run.template read<3>("in.value");
    run.expect("out.y", std::as_const(layer).forward(q, k, v, mask, &weights));
    run.expect("out.y", std::as_const(layer).forward(q, k, v, mask, cache, keep));
    const auto [dq, dk, dv] = layer.backward_cross(dy, cache, more);
    run.expect("grad.in.query", dq);
    run.expect("grad.in.key", dk);
    run.expect("grad.in.value", dv);
  }
  expect_weights(weights);
  if (keep) expect_weights(cache.weights);
  run.expect_parameter_gradients(layer);
}
/// Causal cases through their mask and once more through the layer's option.
template <class T>
void multihead_attention(Run<T>& run) {
  multihead_attention(run, false);
  if (run.reference().flag("causal")) multihead_attention(run, true);
}

template <class T>
void encoder_layer(Run<T>& run, bool causal) {
  const ReferenceCase& reference = run.reference();
  const std::string activation = reference.word("activation", "relu");
  if (activation != "relu" && activation != "gelu") unsupported("activation ", activation);
  using Layer = heed::TransformerEncoderLayer<T>;
  Layer layer({.d_model = reference.integer("d_model"),
      .nhead = reference.integer("nhead"),
      .dim_feedforward = reference.integer("dim_feedforward"),
      .dropout = reference.number("dropout", 0),
      .activation = activation == "gelu" ? heed::FeedForwardActivation::gelu : heed::FeedForwardActivation::relu,
      .layer_norm_eps = reference.number("layer_norm_eps", 1e-5),
      .norm_first = reference.flag("norm_first"),
      .bias = reference.flag("bias", true),
      .causal = causal});
  run.set_parameters(layer);
  const CaseMask<T> masks(run, "in.src_key_padding_mask", "in.src_mask", causal, reference.integer("nhead"));
  const auto x = run.template read<3>("in.src");
  typename Layer::Cache cache;
  run.expect("out.y", std::as_const(layer).forward(x, masks.mask()));
  run.expect("out.y", std::as_const(layer).forward(x, masks.mask(), cache));
  run.expect("grad.in.src", layer.backward(run.template read<3>("grad.out.y"), cache));
  run.expect_parameter_gradients(layer);
}
template <class T>
void encoder_layer(Run<T>& run) {
  encoder_layer(run, false);
  if (run.reference().flag("causal")) encoder_layer(run, true);
}

}  // namespace

void add_attention_adapters(Adapters& adapters) {
  adapters["sdpa"] = CONFORMANCE_ADAPTER(sdpa);
  adapters["multihead_attention"] = CONFORMANCE_ADAPTER(multihead_attention);
  adapters["transformer_encoder_layer"] = CONFORMANCE_ADAPTER(encoder_layer);
}

}  // namespace conformance
