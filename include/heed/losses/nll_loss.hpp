// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <utility>
#include <vector>

#include <heed/losses/class_targets.hpp>
#include <heed/losses/loss_base.hpp>

namespace heed::inline HEED_ABI {

struct NLLLossOptions {
  std::vector<double> weight = {};        ///< one number a class, not negative; empty: all 1
  Index ignore_index = -100;              ///< rows with this label count nowhere
  Reduction reduction = Reduction::mean;  ///< mean divides by the summed weights of the labels
};

/// Negative log-likelihood of labels, for log-probabilities that something else has computed: value and gradient in one call.
///
///     loss_r = - weight_y x_ry,   y = label_r;   d loss_r / d x_rc = - weight_y [c = y]
///
/// x and dx: channels-last of any rank, (..., classes); labels: one a row. `torch.nn.NLLLoss`, except where torch has NaN: the mean of
/// nothing is 0 with zero gradients, and a label whose weight is 0 adds nothing, whatever its x. For logits use CrossEntropyLoss.
///
///     Value operator()(x, labels, dx) const    Value value(x, labels) const     (see LossBase)
///
/// Both throw ShapeError for sizes that differ, std::invalid_argument for a label that is neither a class nor `ignore_index`.
/// Derivation: docs/losses/nll_loss.md.
template <class T>
class NLLLoss : public LossBase<T, NLLLoss<T>> {
  using Base = LossBase<T, NLLLoss<T>>;

 public:
  using typename Base::Value;

  /// Throws std::invalid_argument for a negative weight.
  explicit NLLLoss(NLLLossOptions options = {}) : options_(std::move(options)) { weights().check(kName); }

  const NLLLossOptions& options() const { return options_; }

  /// Every row's own loss (torch's reduction "none"; 0 for ignored rows), and in `dx` its gradient.
  template <int Rank, LabelRange Labels>
  void rows(const TensorView<const T, Rank>& x, const Labels& labels, Tensor<T, 1>& losses, Tensor<T, Rank>& dx) const {
    Base::unreduced(x, labels, {x.rows()}, losses, dx);
  }

 private:
  friend Base;
  static constexpr const char* kName = "NLLLoss";

  ClassWeights weights() const { return {options_.weight, options_.ignore_index}; }

  /// A term is a row.
  struct Terms {
    const T* x;
    Index count, width;
    double divisor;
    ClassLabels labels;
    ClassWeights weights;

    Value operator()(Index r, double scale, T* dx) const {
      if (dx) std::fill_n(dx + r * width, width, T(0));
      const double weight = labels.ignored(r) ? 0.0 : weights(labels[r]);
      if (weight == 0) return Value(0);
      const Index y = r * width + labels[r];
      if (dx) dx[y] = static_cast<T>(-scale * weight);
      return Value(-weight) * Value(x[y]);
    }
  };

  template <int Rank, LabelRange Labels>
  auto terms(const TensorView<const T, Rank>& x, const Labels& range) const {
    ClassLabels labels(kName, weights(), x.rows(), x.features(), range);
    const double divisor = labels.divisor();
    return Terms{x.data(), x.rows(), x.features(), divisor, std::move(labels), weights()};
  }

  NLLLossOptions options_;
};

}  // namespace heed::inline HEED_ABI
