// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cmath>
#include <concepts>
#include <iterator>
#include <type_traits>
#include <utility>
#include <vector>

#include <heed/core/parallel.hpp>
#include <heed/core/tensor.hpp>

namespace heed {

/// How the losses of the rows become one number.
enum class Reduction { mean, sum };

struct CrossEntropyOptions {
  double label_smoothing = 0;             ///< 0 ... 1: this share of the target is spread evenly over all classes
  std::vector<double> weight = {};        ///< one number a class, not negative; empty: all 1
  Index ignore_index = -100;              ///< rows with this label count nowhere
  Reduction reduction = Reduction::mean;  ///< mean divides by the summed weights of the labels, or by the rows of soft targets
};

/// A vector, span or array of integers of any size.
template <class Labels>
concept LabelRange = requires(const Labels& labels) {
  requires std::integral<std::remove_cvref_t<decltype(std::data(labels)[0])>>;
  std::size(labels);
};

/// Cross-entropy of softmax(logits) against labels or probabilities: value and gradient with respect to the logits in one call.
///
///     loss_r = - sum_c a_rc log p_rc,   p_r = softmax(logits_r),   d loss_r / d logits_rc = (sum_k a_rk) p_rc - a_rc
///     labels:        a_rc = weight_c ((1 - label_smoothing) [c = label_r] + label_smoothing / classes)
///     soft targets:  a_rc = weight_c ((1 - label_smoothing) target_rc     + label_smoothing / classes)
///
/// logits and d_logits: rows x classes (any channels-last tensor through `as_rows()`); labels: rows. What is computed is
/// `torch.nn.CrossEntropyLoss`, except in two places where torch has NaN: the mean of nothing (every row ignored, or weights that sum
/// to 0) is 0 with zero gradients, and a class with a_rc = 0 adds nothing even where its logit is minus infinity.
///
/// Float logits are worked on in double (the classes are few, and the sum would lose digits) and give a double. Rows are summed in a
/// fixed order, so the value does not depend on the number of threads. Derivation: docs/losses/cross_entropy.md.
template <class T>
class CrossEntropyLoss {
 public:
  using scalar = T;
  /// What the loss is computed and returned in: double for float and double, else T.
  using Value = std::conditional_t<std::is_floating_point_v<T>, double, T>;

  explicit CrossEntropyLoss(CrossEntropyOptions options = {}) : options_(std::move(options)) {
    const double smoothing = options_.label_smoothing;
    require(smoothing >= 0 && smoothing <= 1, "CrossEntropyLoss: label_smoothing must lie in [0, 1], is ", smoothing);
    for (double weight : options_.weight) require(weight >= 0, "CrossEntropyLoss: class weights must not be negative, one is ", weight);
  }

  const CrossEntropyOptions& options() const { return options_; }

  /// The reduced loss; writes its gradient to `d_logits`, which takes the shape of the logits and must not share their memory.
  /// Throws ShapeError for sizes that differ, std::invalid_argument for a label that is neither a class nor `ignore_index`.
  template <LabelRange Labels>
  Value operator()(const TensorView<const T, 2>& logits, const Labels& labels, Tensor<T, 2>& d_logits) const {
    d_logits.resize(logits.shape());
    return reduce(logits, HardTargets(*this, logits, labels), d_logits.data());
  }
  /// The same for probabilities, rows x classes. They need not sum to 1; no row is ignored.
  Value operator()(const TensorView<const T, 2>& logits, const TensorView<const T, 2>& targets, Tensor<T, 2>& d_logits) const {
    d_logits.resize(logits.shape());
    return reduce(logits, SoftTargets(*this, logits, targets), d_logits.data());
  }

  /// The reduced loss alone.
  template <LabelRange Labels>
  Value value(const TensorView<const T, 2>& logits, const Labels& labels) const {
    return reduce(logits, HardTargets(*this, logits, labels), nullptr);
  }
  Value value(const TensorView<const T, 2>& logits, const TensorView<const T, 2>& targets) const {
    return reduce(logits, SoftTargets(*this, logits, targets), nullptr);
  }

  /// Every row's own loss (torch's reduction "none"; 0 for ignored rows), and in `d_logits` its gradient: with upstream gradients
  /// dy, multiply row r by dy_r.
  template <LabelRange Labels>
  void rows(const TensorView<const T, 2>& logits, const Labels& labels, Tensor<T, 1>& losses, Tensor<T, 2>& d_logits) const {
    d_logits.resize(logits.shape());
    each_row(logits, HardTargets(*this, logits, labels), losses, d_logits.data());
  }
  void rows(
      const TensorView<const T, 2>& logits, const TensorView<const T, 2>& targets, Tensor<T, 1>& losses, Tensor<T, 2>& d_logits) const {
    d_logits.resize(logits.shape());
    each_row(logits, SoftTargets(*this, logits, targets), losses, d_logits.data());
  }

 private:
  static constexpr Index kShardElements = 2048;  // some 20 microseconds of exp: a thread is worth starting

  double weight(Index c) const { return options_.weight.empty() ? 1.0 : options_.weight[static_cast<std::size_t>(c)]; }
  double evenly(Index classes) const { return options_.label_smoothing / static_cast<double>(classes); }

  void check(const TensorView<const T, 2>& logits) const {
    require<ShapeError>(options_.weight.empty() || static_cast<Index>(options_.weight.size()) == logits.features(),
        "CrossEntropyLoss: logits have ", logits.features(), " classes, weight has ", options_.weight.size());
  }

  /// a_rc of labels, and what a mean divides by.
  template <class Label>
  struct HardTargets {
    template <class Labels>
    HardTargets(const CrossEntropyLoss& owner, const TensorView<const T, 2>& logits, const Labels& range)
        : loss(owner), labels(std::data(range)), evenly(owner.evenly(logits.features())) {
      loss.check(logits);
      require<ShapeError>(static_cast<Index>(std::size(range)) == logits.rows(), "CrossEntropyLoss: logits have ", logits.rows(),
          " rows, but there are ", std::size(range), " labels");
      for (Index r = 0; r < logits.rows(); ++r) {
        if (ignored(r)) continue;
        const Index label = static_cast<Index>(labels[r]);
        require(label >= 0 && label < logits.features(), "CrossEntropyLoss: label ", label, " of row ", r, " is not in 0 ... ",
            logits.features() - 1, " and not ignore_index (", loss.options_.ignore_index, ")");
        denominator += loss.weight(label);
      }
    }
    bool ignored(Index r) const { return static_cast<Index>(labels[r]) == loss.options_.ignore_index; }
    Value operator()(Index r, Index c) const {
      const double share = static_cast<Index>(labels[r]) == c ? 1 - loss.options_.label_smoothing : 0.0;
      return Value(loss.weight(c) * (share + evenly));
    }

    const CrossEntropyLoss& loss;
    const Label* labels;
    double evenly, denominator = 0;
  };
  template <class Labels>
  HardTargets(const CrossEntropyLoss&, const TensorView<const T, 2>&, const Labels&)
      -> HardTargets<std::remove_cvref_t<decltype(std::data(std::declval<const Labels&>())[0])>>;

  /// a_rc of probabilities.
  struct SoftTargets {
    SoftTargets(const CrossEntropyLoss& owner, const TensorView<const T, 2>& logits, const TensorView<const T, 2>& probabilities)
        : loss(owner), targets(probabilities), evenly(owner.evenly(logits.features())), denominator(static_cast<double>(logits.rows())) {
      loss.check(logits);
      require<ShapeError>(
          targets.shape() == logits.shape(), "CrossEntropyLoss: logits are ", logits.shape(), ", soft targets ", targets.shape());
    }
    bool ignored(Index) const { return false; }
    Value operator()(Index r, Index c) const {
      return Value(loss.weight(c)) * (Value(1 - loss.options_.label_smoothing) * Value(targets(r, c)) + Value(evenly));
    }

    const CrossEntropyLoss& loss;
    TensorView<const T, 2> targets;
    double evenly, denominator;
  };

  /// The loss of row r; writes `scale` times its gradient to d_logits unless that is null.
  template <class Targets>
  static Value row(const TensorView<const T, 2>& logits, const Targets& targets, Index r, double scale, T* d_logits) {
    using std::exp, std::log;
    const Index classes = logits.features();
    const T* z = logits.data() + r * classes;
    T* d_z = d_logits ? d_logits + r * classes : nullptr;
    if (targets.ignored(r)) {
      if (d_z) std::fill_n(d_z, classes, T(0));
      return Value(0);
    }
    Value largest(z[0]), sum(0);
    for (Index c = 1; c < classes; ++c)
      if (Value(z[c]) > largest) largest = Value(z[c]);
    for (Index c = 0; c < classes; ++c) {
      const Value e = exp(Value(z[c]) - largest);  // at most 1, and 1 for the largest: nothing overflows, the sum is not 0
      sum += e;
      if (d_z) d_z[c] = static_cast<T>(e);
    }
    const Value log_sum = log(sum);
    Value loss(0), total(0);
    for (Index c = 0; c < classes; ++c) {
      const Value a = targets(r, c);
      if (a == Value(0)) continue;
      loss += a * (log_sum - (Value(z[c]) - largest));
      total += a;
    }
    if (d_z)
      for (Index c = 0; c < classes; ++c) d_z[c] = static_cast<T>(Value(scale) * (total / sum * Value(d_z[c]) - targets(r, c)));
    return loss;
  }

  template <class Targets>
  Value reduce(const TensorView<const T, 2>& logits, const Targets& targets, T* d_logits) const {
    const bool mean = options_.reduction == Reduction::mean;
    const double scale = !mean ? 1.0 : targets.denominator > 0 ? 1 / targets.denominator : 0.0;
    Value sum(0);
    if (logits.empty()) return sum;
    parallel_sum(logits.rows(), kShardElements / logits.features(), 1, &sum, [&](Index begin, Index end, Value* partial) {
      for (Index r = begin; r < end; ++r) *partial += row(logits, targets, r, scale, d_logits);
    });
    return Value(scale) * sum;
  }

  template <class Targets>
  static void each_row(const TensorView<const T, 2>& logits, const Targets& targets, Tensor<T, 1>& losses, T* d_logits) {
    losses.resize({logits.rows()});
    if (logits.empty()) return losses.fill(T(0));
    parallel_for(logits.rows(), kShardElements / logits.features(), [&](Index begin, Index end) {
      for (Index r = begin; r < end; ++r) losses[r] = static_cast<T>(row(logits, targets, r, 1.0, d_logits));
    });
  }

  CrossEntropyOptions options_;
};

}  // namespace heed
