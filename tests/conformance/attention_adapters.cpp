// SPDX-License-Identifier: MIT
// Attention: the kernel, multi-head attention and encoder layers.
#include <heed/kernels/attention.hpp>

#include "adapters.hpp"

namespace conformance {
namespace {

/// A (B, H, T, D) tensor as the kernel sees it.
template <class T>
heed::kernels::HeadRows<T> head_rows(T* data, const Shape& shape) {
  return {data, shape[1] * shape[2] * shape[3], shape[2] * shape[3], shape[3]};
}
/// A mask of up to four axes, aligned at the last one; sizes of 1 repeat.
template <class M>
heed::kernels::MaskRef<M> mask_ref(M* data, const Shape& shape) {
  Index strides[4] = {}, stride = 1;
  for (int axis = 1; axis <= shape.rank(); ++axis) {
    strides[4 - axis] = shape[-axis] == 1 ? 0 : stride;
    stride *= shape[-axis];
  }
  return {data, strides[0], strides[1], strides[2], strides[3]};
}

/// y = softmax(softcap(scale q kᵀ) + mask) v of (B, H, T, D) tensors.
template <class T>
void sdpa(Run<T>& run) {
  const ReferenceCase& reference = run.reference();
  const auto q = run.template read<4>("in.q"), k = run.template read<4>("in.k"), v = run.template read<4>("in.v");
  heed::kernels::Attention<T> a;
  a.batches = q.size(0), a.heads = q.size(1), a.kv_heads = k.size(1);
  a.queries = q.size(2), a.keys = k.size(2), a.width = q.size(3), a.value_width = v.size(3);
  a.q = head_rows(q.data(), q.shape()), a.k = head_rows(k.data(), k.shape()), a.v = head_rows(v.data(), v.shape());
  a.scale = reference.number("scale", 1 / std::sqrt(static_cast<double>(a.width)));
  a.softcap = reference.number("softcap", 0);
  const std::string causal = reference.word("causal", "none"), mask = reference.word("mask", "none");
  a.causal = causal != "none";
  a.causal_offset = causal == "bottom_right" ? a.keys - a.queries : 0;
  Tensor<bool, 1> flags;
  Tensor<T, 4> bias, d_bias;
  if (mask == "bool_true_attends") {
    flags = run.read_flags("in.mask");
    a.mask = mask_ref(std::as_const(flags).data(), run.shape("in.mask"));
  } else if (mask == "additive") {
    bias = run.template read<4>("in.mask");
    a.bias = mask_ref(std::as_const(bias).data(), bias.shape());
    d_bias = Tensor<T, 4>(bias.shape());
  } else if (mask != "none") {
    unsupported("mask ", mask);
  }

  const Shape scores{a.batches, a.heads, a.queries, a.keys};
  Tensor<T, 4> y({a.batches, a.heads, a.queries, a.value_width}), weights(scores);
  Tensor<T, 3> log_sum({a.batches, a.heads, a.queries});
  heed::kernels::attention_forward(a, head_rows(y.data(), y.shape()), log_sum.data(), weights.data());
  run.expect("out.y", y);
  run.expect("out.probs", weights);
  y.fill(T(0));
  heed::kernels::attention_forward(a, head_rows(y.data(), y.shape()));
  run.expect("out.y", y);

  const auto dy = run.template read<4>("grad.out.y");
  Tensor<T, 4> dq(q.shape()), dk(k.shape()), dv(v.shape());
  heed::kernels::AttentionGradients<T> g;
  g.y = head_rows(std::as_const(y).data(), y.shape()), g.dy = head_rows(dy.data(), dy.shape()), g.log_sum = log_sum.data();
  g.dq = head_rows(dq.data(), q.shape()), g.dk = head_rows(dk.data(), k.shape()), g.dv = head_rows(dv.data(), v.shape());
  if (a.bias) g.d_bias = mask_ref(d_bias.data(), d_bias.shape());
  heed::kernels::attention_backward(a, g);
  // dS = P (dP - delta) with dP = dy vᵀ: where P is near 1, a difference of terms of the size of dP.
  const double d_scores = static_cast<double>(a.value_width) * largest(dy.span()) * largest(v.span());
  run.expect("grad.in.q", dq, {.contributions = a.scale * d_scores * largest(k.span())});
  run.expect("grad.in.k", dk, {.contributions = a.scale * d_scores * largest(q.span())});
  run.expect("grad.in.v", dv);
  if (a.bias) run.expect("grad.in.mask", d_bias, {.contributions = d_scores});
}

}  // namespace

void add_attention_adapters(Adapters& adapters) { adapters["sdpa"] = CONFORMANCE_ADAPTER(sdpa); }

}  // namespace conformance
