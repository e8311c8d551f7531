// SPDX-License-Identifier: MIT
// ONNX: attention.
#include <heed/layers/scaled_dot_product_attention.hpp>

#include "adapters.hpp"

namespace conformance {
namespace {

/// (B, H, T, D), as it is in the file or of (B, T, H D).
template <class T>
Tensor<T, 4> heads_of(Run<T>& run, const std::string& name, Index heads) {
  if (run.shape(name).rank() == 4) return run.template read<4>(name);
  const auto x = run.template read<3>(name);
  if (heads <= 0 || x.features() % heads != 0) heed::fail<heed::ShapeError>(name, ": ", x.shape(), " has no ", heads, " heads");
  const Index width = x.features() / heads;
  Tensor<T, 4> result({x.size(0), heads, x.size(1), width});
  for (Index b = 0; b < x.size(0); ++b)
    for (Index h = 0; h < heads; ++h)
      for (Index t = 0; t < x.size(1); ++t) std::copy_n(&x(b, t, h * width), width, &result(b, h, t, 0));
  return result;
}
template <class T>
Tensor<T, 3> side_by_side(const Tensor<T, 4>& x) {
  const Index width = x.features();
  Tensor<T, 3> result({x.size(0), x.size(2), x.size(1) * width});
  for (Index b = 0; b < x.size(0); ++b)
    for (Index h = 0; h < x.size(1); ++h)
      for (Index t = 0; t < x.size(2); ++t) std::copy_n(&x(b, h, t, 0), width, &result(b, t, h * width));
  return result;
}
/// The tokens of `past`, then those of `x`.
template <class T>
Tensor<T, 4> joined(const Tensor<T, 4>& past, const Tensor<T, 4>& x) {
  const Index before = past.size(2) * x.features(), after = x.size(2) * x.features();
  Tensor<T, 4> result({x.size(0), x.size(1), past.size(2) + x.size(2), x.features()});
  for (Index head = 0; head < x.size(0) * x.size(1); ++head) {
    T* to = result.data() + head * (before + after);
    std::copy_n(x.data() + head * after, after, std::copy_n(past.data() + head * before, before, to));
  }
  return result;
}

/// ONNX's masks put on the library's.
template <class T>
class OnnxMask {
 public:
  OnnxMask(Run<T>& run, Index past) {
    const ReferenceCase& reference = run.reference();
    mask_.past = past;
    if (reference.has_input(3)) read(run, reference.input(3));
    if (reference.has_input(6)) {
      const auto lengths = run.template values<std::int64_t>(reference.input(6));
      lengths_.assign(lengths.begin(), lengths.end());
      mask_.key_lengths = lengths_;
    }
  }
  OnnxMask(const OnnxMask&) = delete;
  OnnxMask& operator=(const OnnxMask&) = delete;
  const heed::AttentionMask<T>& mask() const { return mask_; }

  /// Queries see `left` keys before and `right` keys behind their own position, where those are not negative.
  void add_window(Index left, Index right, Index batches, Index queries, Index keys) {
    if (left < 0 && right < 0) return;
    if (mask_.attend) {  // makes room for the window
      bias_ = Tensor<T, 4>(attend_.shape());
      for (Index i = 0; i < attend_.size(); ++i) bias_[i] = attend_[i] ? T(0) : T(-HUGE_VAL);
      mask_.bias = bias_;
    }
    attend_ = Tensor<bool, 4>({batches, 1, queries, keys});
    for (Index b = 0; b < batches; ++b)
      for (Index i = 0; i < queries; ++i)
        for (Index j = 0; j < keys; ++j) {
          const Index position = i + (lengths_.empty() ? mask_.past : lengths_[static_cast<std::size_t>(b)] - queries);
          attend_(b, 0, i, j) = (left < 0 || j >= position - left) && (right < 0 || j <= position + right);
        }
    mask_.attend = attend_;
  }

  /// Puts the mask's own numbers into scores to which kLeast has been added instead: beside them no score counts.
  void restore(Tensor<T, 4>& scores) const {
    if (added_.size() == 0) return;
    const Index heads = scores.size(1), queries = scores.size(2), keys = scores.size(3);
    const auto added = heed::MaskView<double>(added_).broadcast("Attention", "the mask", scores.shape(), mask_.short_masks);
    for (Index i = 0; i < scores.size(); ++i) {
      if (!std::isfinite(scores[i])) continue;
      const Index row = i / keys, head = row / queries;
      const double bias = added.row(head / heads, head % heads, row % queries)[i % keys * added.key];
      if (bias < kLeast) scores[i] = static_cast<T>(bias);
    }
  }

 private:
  static constexpr double kLeast = -1e29;

  void read(Run<T>& run, const std::string& name) {
    const Shape given = run.shape(name);
    Shape shape;
    for (int axis = given.rank(); axis < 4; ++axis) shape.push_back(1);
    for (Index size : given) shape.push_back(size);
    run.mark_used(name);
    const auto& entry = run.reference().file().at(name);
    if (entry.dtype == heed::Dtype::boolean) {
      attend_.resize(shape);
      run.reference().file().copy(entry, attend_.data());
      mask_.attend = attend_;
    } else {
      added_ = Tensor<double, 4>(TensorView<const double, 4>(run.template values<double>(name).data(), shape));
      bias_.resize(shape);
      // Only -inf masks in ONNX, here -1e30 does: a row of the least numbers is a row of equal scores.
      for (Index i = 0; i < bias_.size(); ++i)
        bias_[i] = static_cast<T>(std::isfinite(added_[i]) ? std::max(added_[i], kLeast) : added_[i]);
      mask_.bias = bias_;
    }
    // From opset 24 on a mask may be shorter than the keys, and one key is one key; before, a single one is repeated.
    mask_.short_masks = run.reference().opset() >= 24 || shape[-1] != 1;
  }

  Tensor<bool, 4> attend_;
  Tensor<T, 4> bias_;
  Tensor<double, 4> added_;  ///< the bias as it is in the file
  std::vector<Index> lengths_;
  heed::AttentionMask<T> mask_;
};

template <class T>
void attention(Run<T>& run) {
  const ReferenceCase& reference = run.reference();
  const Index precision = reference.integer("softmax_precision", 1);
  if (precision != 1 && precision != 11) unsupported("softmax_precision ", precision, ", neither float nor double");
  const Index kv_heads = reference.integer("kv_num_heads");
  const auto q = heads_of(run, reference.input(0), reference.integer("q_num_heads"));
  auto k = heads_of(run, reference.input(1), kv_heads), v = heads_of(run, reference.input(2), kv_heads);
  Index past = 0;
  if (reference.has_input(4)) {
    const auto past_k = run.template read<4>(reference.input(4)), past_v = run.template read<4>(reference.input(5));
    past = past_k.size(2);
    k = joined(past_k, k), v = joined(past_v, v);
  }
  OnnxMask<T> masks(run, past);
  masks.add_window(reference.integer("left_window_size", -1), reference.integer("right_window_size", -1), q.size(0), q.size(2), k.size(2));
  double scale = reference.number("scale", 0);
  if (scale == 0 && reference.has_attribute("scale")) scale = 1e-300;  // the option's 0 is the default
  const bool padded = reference.has_input(6);
  const heed::ScaledDotProductAttention<T> layer({.scale = scale,
      .softcap = reference.number("softcap", 0),
      .causal = reference.flag("is_causal"),
      .alignment = padded ? heed::CausalAlignment::bottom_right : heed::CausalAlignment::top_left});

  const auto y = layer.forward(q, k, v, masks.mask());
  const std::string out = reference.output(0);
  if (run.shape(out).rank() == 3)
    run.expect(out, side_by_side(y));
  else
    run.expect(out, y);
  if (reference.has_output(1)) run.expect(reference.output(1), k);
  if (reference.has_output(2)) run.expect(reference.output(2), v);
  if (!reference.has_output(3)) return;
  const auto stage = static_cast<heed::AttentionStage>(reference.integer("qk_matmul_output_mode"));
  auto scores = layer.stage(stage, q, k, masks.mask());
  if (stage == heed::AttentionStage::masked) masks.restore(scores);
  run.expect(reference.output(3), scores);
}

}  // namespace

void add_onnx_attention_adapters(Adapters& adapters) { adapters["Attention"] = CONFORMANCE_ADAPTER(attention); }

}  // namespace conformance
