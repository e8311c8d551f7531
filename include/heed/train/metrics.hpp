// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include <heed/core/anomaly.hpp>
#include <heed/core/tensor.hpp>

namespace heed::inline HEED_ABI {

namespace detail {

/// The position of the first NaN, -1 if there is none.
template <class T>
Index first_nan(const T* values, Index count) {
  for (Index i = 0; i < count; ++i)
    if (values[i] != values[i]) return i;
  return -1;
}

/// Throws AnomalyError if there is a NaN: which value is the largest is then unknown, and any answer would look like one.
template <class T>
void require_order(const char* where, const T* values, Index count) {
  if (const Index i = first_nan(values, count); i >= 0) [[unlikely]]
    fail<AnomalyError>(where, ": value ", i, " of ", count,
        " is nan, so none is the largest; if a model gave it, an AnomalyScope around the call finds the layer");
}

template <class T>
Index first_largest(const T* values, Index count) {
  Index best = 0;
  for (Index i = 1; i < count; ++i)
    if (values[i] > values[best]) best = i;
  return best;
}

}  // namespace detail

/// The position of the largest of `count` values; the first of equal ones. Throws AnomalyError if one is NaN.
template <class T>
Index argmax(const T* values, Index count) {
  detail::require_order("argmax", values, count);
  return detail::first_largest(values, count);
}

/// How many rows of `scores` (rows, classes) have their largest score at the label. Rows labelled `ignored` are never right, nor are rows that hold NaN.
template <class T, class Labels>
Index count_correct(const TensorView<const T, 2>& scores, const Labels& labels, std::optional<Index> ignored = {}) {
  require<ShapeError>(scores.rows() == static_cast<Index>(std::size(labels)), "count_correct: ", scores.rows(), " rows of scores, but ",
      std::size(labels), " labels");
  Index correct = 0;
  for (Index r = 0; r < scores.rows(); ++r) {
    const T* row = scores.data() + r * scores.features();
    if (const auto label = static_cast<Index>(std::data(labels)[r]); label != ignored)
      correct += detail::first_largest(row, scores.features()) == label && detail::first_nan(row, scores.features()) < 0;
  }
  return correct;
}

/// The positions of the `count` largest values, largest first; of equal ones the first comes first. Throws AnomalyError if one is NaN.
template <class T>
std::vector<Index> top_classes(const T* values, Index classes, Index count) {
  detail::require_order("top_classes", values, classes);
  std::vector<Index> order(static_cast<std::size_t>(classes));
  for (Index c = 0; c < classes; ++c) order[static_cast<std::size_t>(c)] = c;
  std::stable_sort(order.begin(), order.end(), [&](Index a, Index b) { return values[a] > values[b]; });
  order.resize(static_cast<std::size_t>(std::min(count, classes)));
  return order;
}

/// Counts of (true class, predicted class) pairs, and what follows from them.
class ConfusionMatrix {
 public:
  ConfusionMatrix() = default;
  /// Without examples. Throws std::invalid_argument for less than one class.
  explicit ConfusionMatrix(Index classes) : classes_(classes), counts_(static_cast<std::size_t>(classes * classes)) {
    require(classes > 0, "ConfusionMatrix: ", classes, " classes; at least one is needed");
  }

  /// Throws std::invalid_argument unless both are classes.
  void add(Index label, Index prediction) {
    require(label >= 0 && label < classes_ && prediction >= 0 && prediction < classes_, "ConfusionMatrix: label ", label, ", prediction ",
        prediction, ", expected 0 to ", classes_ - 1);
    ++counts_[static_cast<std::size_t>(label * classes_ + prediction)];
  }
  /// Adds the largest score of each row of `scores` (rows, classes). Throws AnomalyError if one is NaN.
  template <class T, class Labels>
  void add(const TensorView<const T, 2>& scores, const Labels& labels) {
    require<ShapeError>(scores.features() == classes_ && scores.rows() == static_cast<Index>(std::size(labels)),
        "ConfusionMatrix: scores are ", scores.shape(), ", for ", classes_, " classes and ", std::size(labels), " labels");
    for (Index r = 0; r < scores.rows(); ++r) add(static_cast<Index>(std::data(labels)[r]), argmax(scores.data() + r * classes_, classes_));
  }

  /// The number of classes.
  Index classes() const { return classes_; }
  /// How many examples of class `label` were taken for `prediction`.
  Index operator()(Index label, Index prediction) const { return counts_[static_cast<std::size_t>(label * classes_ + prediction)]; }
  /// Examples of a class.
  Index examples(Index label) const {
    Index sum = 0;
    for (Index c = 0; c < classes_; ++c) sum += (*this)(label, c);
    return sum;
  }
  /// All examples.
  Index examples() const {
    Index sum = 0;
    for (Index count : counts_) sum += count;
    return sum;
  }
  /// Examples that were taken for what they are.
  Index correct() const {
    Index sum = 0;
    for (Index c = 0; c < classes_; ++c) sum += (*this)(c, c);
    return sum;
  }
  /// Share of all examples that were predicted right; 0 without examples.
  double accuracy() const { return share(correct(), examples()); }
  /// Share of the examples of a class that were predicted right (its recall); 0 without examples.
  double accuracy(Index label) const { return share((*this)(label, label), examples(label)); }
  /// Share of the predictions of a class that were right; 0 if it was never predicted.
  double precision(Index prediction) const {
    Index predicted = 0;
    for (Index c = 0; c < classes_; ++c) predicted += (*this)(c, prediction);
    return share((*this)(prediction, prediction), predicted);
  }

 private:
  static double share(Index part, Index whole) { return whole == 0 ? 0.0 : static_cast<double>(part) / static_cast<double>(whole); }

  Index classes_ = 0;
  std::vector<Index> counts_;  // (true class, predicted class)
};

}  // namespace heed::inline HEED_ABI
