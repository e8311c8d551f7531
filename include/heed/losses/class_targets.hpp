// SPDX-License-Identifier: MIT
#pragma once

#include <cmath>
#include <concepts>
#include <iterator>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <heed/core/tensor.hpp>

namespace heed::inline HEED_ABI {

/// A vector, span or array of integers of any size.
template <class Labels>
concept LabelRange = requires(const Labels& labels) {
  requires std::integral<std::remove_cvref_t<decltype(std::data(labels)[0])>>;
  std::size(labels);
};

/// What the losses against classes share: factors of the classes, and a label that counts nowhere.
struct ClassWeights {
  const std::vector<double>& weight;  ///< one number a class, not negative; empty: all 1
  Index ignore_index;                 ///< rows with this label count nowhere

  /// The factor of class c.
  double operator()(Index c) const { return weight.empty() ? 1.0 : weight[static_cast<std::size_t>(c)]; }

  /// What the labels weigh together, those that are ignored nothing. A label that is no class is for the loss to refuse, and weighs nothing here.
  template <LabelRange Labels>
  double sum(const Labels& labels) const {
    double all = 0;
    for (std::size_t i = 0; i < std::size(labels); ++i) {
      const auto label = static_cast<Index>(std::data(labels)[i]);
      const bool known = label >= 0 && (weight.empty() || label < static_cast<Index>(weight.size()));
      if (known && label != ignore_index) all += (*this)(label);
    }
    return all;
  }

  /// The check of a loss's constructor.
  void check(std::string_view loss) const {
    for (double w : weight) require(w >= 0 && std::isfinite(w), loss, ": class weights must be finite and not negative, one is ", w);
  }
  /// The check of a call.
  void check(std::string_view loss, Index classes) const {
    require<ShapeError>(weight.empty() || static_cast<Index>(weight.size()) == classes, loss, ": the input has ", classes,
        " classes, weight has ", weight.size());
  }
};

/// Labels of rows, whatever integers they are given as. The sum of the weights of those that count is what a mean divides by.
class ClassLabels {
 public:
  /// Throws ShapeError for another number of labels than rows, std::invalid_argument for one that is neither a class nor `ignore_index`.
  template <LabelRange Range>
  ClassLabels(std::string_view loss, const ClassWeights& weights, Index rows, Index classes, const Range& range)
      : labels_(Tensor<Index, 1>::uninitialized({static_cast<Index>(std::size(range))})), ignore_index_(weights.ignore_index) {
    for (Index r = 0; r < labels_.size(); ++r) labels_[r] = static_cast<Index>(std::data(range)[r]);
    check(loss, weights, rows, classes);
  }

  /// The label of row r.
  Index operator[](Index r) const { return labels_[r]; }
  /// Whether row r counts nowhere.
  bool ignored(Index r) const { return labels_[r] == ignore_index_; }
  /// The sum of the weights of the rows that count.
  double divisor() const { return divisor_; }

 private:
  void check(std::string_view loss, const ClassWeights& weights, Index rows, Index classes) {
    weights.check(loss, classes);
    require<ShapeError>(labels_.size() == rows, loss, ": the input has ", rows, " rows, but there are ", labels_.size(), " labels");
    for (Index r = 0; r < rows; ++r) {
      if (ignored(r)) continue;
      const Index label = labels_[r];
      require(label >= 0 && label < classes, loss, ": label ", label, " of row ", r, " is not in 0 ... ", classes - 1,
          " and not ignore_index (", ignore_index_, ")");
      divisor_ += weights(label);
    }
  }

  Tensor<Index, 1> labels_;
  Index ignore_index_;
  double divisor_ = 0;
};

}  // namespace heed::inline HEED_ABI
