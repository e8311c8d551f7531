// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include <heed/kernels/row_exponentials.hpp>
#include <heed/losses/class_targets.hpp>
#include <heed/losses/loss_base.hpp>

namespace heed::inline HEED_ABI {

struct CrossEntropyOptions {
  double label_smoothing = 0;             ///< 0 ... 1: this share of the target is spread evenly over all classes
  std::vector<double> weight = {};        ///< one number a class, not negative; empty: all 1
  Index ignore_index = -100;              ///< rows with this label count nowhere
  Reduction reduction = Reduction::mean;  ///< mean divides by the summed weights of the labels, or by the rows of soft targets
};

/// Cross-entropy of softmax(logits) against labels or probabilities: value and gradient with respect to the logits in one call.
///
///     loss_r = - sum_c a_rc log p_rc,   p_r = softmax(logits_r),   d loss_r / d logits_rc = (sum_k a_rk) p_rc - a_rc
///     labels:        a_rc = weight_c ((1 - label_smoothing) [c = label_r] + label_smoothing / classes)
///     soft targets:  a_rc = weight_c ((1 - label_smoothing) target_rc     + label_smoothing / classes)
///
/// logits and d_logits: channels-last of any rank, (..., classes); labels: one a row; soft targets: as the logits. What is computed is
/// `torch.nn.CrossEntropyLoss`, except in two places where torch has NaN: the mean of nothing (every row ignored, or weights that sum
/// to 0) is 0 with zero gradients, and a class with a_rc = 0 adds nothing even where its logit is minus infinity.
///
///     Value operator()(logits, labels or targets, d_logits) const    Value value(logits, labels or targets) const     (see LossBase)
///
/// Both throw ShapeError for sizes that differ, std::invalid_argument for a label that is neither a class nor `ignore_index`.
/// Derivation: docs/losses/cross_entropy.md.
template <class T>
class CrossEntropyLoss : public LossBase<T, CrossEntropyLoss<T>> {
  using Base = LossBase<T, CrossEntropyLoss<T>>;

 public:
  using typename Base::Value;

  /// Throws std::invalid_argument for a label_smoothing outside of [0, 1] and for a negative weight.
  explicit CrossEntropyLoss(CrossEntropyOptions options = {}) : options_(std::move(options)) {
    const double smoothing = options_.label_smoothing;
    require(smoothing >= 0 && smoothing <= 1, "CrossEntropyLoss: label_smoothing must lie in [0, 1], is ", smoothing);
    weights().check(kName);
  }

  const CrossEntropyOptions& options() const { return options_; }

  /// Every row's own loss (torch's reduction "none"; 0 for ignored rows), and in `d_logits` its gradient: with upstream gradients
  /// dy, multiply row r by dy_r.
  template <int Rank, class Targets>
  void rows(const TensorView<const T, Rank>& logits, const Targets& targets, Tensor<T, 1>& losses, Tensor<T, Rank>& d_logits) const {
    Base::unreduced(logits, targets, {logits.rows()}, losses, d_logits);
  }

 private:
  friend Base;
  static constexpr const char* kName = "CrossEntropyLoss";

  ClassWeights weights() const { return {options_.weight, options_.ignore_index}; }

  /// a_rc of labels.
  struct HardTargets {
    ClassLabels labels;
    ClassWeights weight;
    double share, evenly;

    bool ignored(Index r) const { return labels.ignored(r); }
    /// The one class with a target, or -1.
    Index only(Index r) const { return evenly == 0 ? labels[r] : -1; }
    Value operator()(Index r, Index c) const { return Value(weight(c) * ((labels[r] == c ? share : 0.0) + evenly)); }
  };

  /// a_rc of probabilities.
  struct SoftTargets {
    const T* targets;
    Index classes;
    ClassWeights weight;
    double share, evenly;

    bool ignored(Index) const { return false; }
    Index only(Index) const { return -1; }
    Value operator()(Index r, Index c) const { return Value(weight(c)) * (Value(share) * Value(targets[r * classes + c]) + Value(evenly)); }
  };

  /// A term is a row.
  template <class Targets>
  struct Terms {
    const T* logits;
    Index count, width;
    double divisor;
    Targets targets;

    Value operator()(Index r, double scale, T* d_logits) const {
      using std::exp, std::log;
      const T* z = logits + r * width;
      T* d_z = d_logits ? d_logits + r * width : nullptr;
      if (targets.ignored(r)) {
        if (d_z) std::fill_n(d_z, width, T(0));
        return Value(0);
      }
      if (const Index c = targets.only(r); c >= 0) {  // the other classes add nothing
        const Value a = targets(r, c), factor = Value(scale) * a;
        const auto [largest, sum] = kernels::row_exponentials(width, z, factor, d_z);
        const Value under = Value(z[c]) - largest;
        if (d_z) d_z[c] = static_cast<T>(factor * (exp(under) / sum - Value(1)));  // of numbers that may be nearly equal: in Value
        return a == Value(0) ? a : a * (log(sum) - under);
      }
      const auto [largest, sum] = kernels::row_exponentials(width, z, Value(1), d_z);
      const Value log_sum = log(sum);
      Value loss(0), total(0);
      for (Index c = 0; c < width; ++c) {
        const Value a = targets(r, c);
        if (a == Value(0)) continue;
        loss += a * (log_sum - (Value(z[c]) - largest));
        total += a;
      }
      if (d_z)
        for (Index c = 0; c < width; ++c) d_z[c] = static_cast<T>(Value(scale) * (total * Value(d_z[c]) - targets(r, c)));
      return loss;
    }
  };

  template <int Rank, LabelRange Labels>
  auto terms(const TensorView<const T, Rank>& logits, const Labels& range) const {
    const Index classes = logits.features();
    ClassLabels labels(kName, weights(), logits.rows(), classes, range);
    const double divisor = labels.divisor();
    return make_terms(logits, divisor, HardTargets{std::move(labels), weights(), share(), evenly(classes)});
  }
  template <int Rank>
  auto terms(const TensorView<const T, Rank>& logits, const TensorView<const T, Rank>& targets) const {
    const Index classes = logits.features();
    weights().check(kName, classes);
    detail::require_target_shape(kName, logits.shape(), targets.shape());
    return make_terms(
        logits, static_cast<double>(logits.rows()), SoftTargets{targets.data(), classes, weights(), share(), evenly(classes)});
  }
  template <int Rank, class Targets>
  static Terms<Targets> make_terms(const TensorView<const T, Rank>& logits, double divisor, Targets targets) {
    return {logits.data(), logits.rows(), logits.features(), divisor, std::move(targets)};
  }
  Value sum_terms(const Terms<HardTargets>& terms, double scale, T* d_logits) const;
  Value sum_terms(const Terms<SoftTargets>& terms, double scale, T* d_logits) const;
  double share() const { return 1 - options_.label_smoothing; }
  double evenly(Index classes) const { return options_.label_smoothing / static_cast<double>(classes); }

  CrossEntropyOptions options_;
};

template <class T>
auto CrossEntropyLoss<T>::sum_terms(const Terms<HardTargets>& terms, double scale, T* d_logits) const -> Value {
  return Base::sum_terms(terms, scale, d_logits);
}
template <class T>
auto CrossEntropyLoss<T>::sum_terms(const Terms<SoftTargets>& terms, double scale, T* d_logits) const -> Value {
  return Base::sum_terms(terms, scale, d_logits);
}
HEED_COMPILE_CLASS_ONCE(CrossEntropyLoss);

}  // namespace heed::inline HEED_ABI
