// SPDX-License-Identifier: MIT
#pragma once

#include <heed/losses/class_targets.hpp>
#include <heed/losses/loss_base.hpp>

namespace heed::inline HEED_ABI {

/// A loss against classes that weighs its labels and may ignore some, as its options say (CrossEntropyLoss, NLLLoss).
template <class Loss>
concept WeighsLabels = requires(const Loss& loss) {
  ClassWeights{loss.options().weight, loss.options().ignore_index};
};

/// How many labels count for `loss`: all but those that it ignores. Of targets that are a tensor: its examples.
template <class Loss, class Labels>
Index counted_labels([[maybe_unused]] const Loss& loss, const Labels& labels) {
  if constexpr (LabelRange<Labels>) {
    const auto size = static_cast<Index>(std::size(labels));
    Index ignored = 0;
    if constexpr (WeighsLabels<Loss>)
      for (Index i = 0; i < size; ++i) ignored += static_cast<Index>(std::data(labels)[i]) == loss.options().ignore_index;
    return size - ignored;
  } else {
    return labels.size(0);
  }
}

/// What the mean of a loss over these labels divides by, up to a factor: their number, or the weights of those that count. A loss that does not say how it divides is
/// taken for a mean over the labels or the numbers of targets.
template <class Loss, class Labels>
double loss_weight([[maybe_unused]] const Loss& loss, const Labels& labels) {
  if constexpr (WeighsLabels<Loss> && LabelRange<Labels>)
    return ClassWeights{loss.options().weight, loss.options().ignore_index}.sum(labels);
  else
    return static_cast<double>(std::size(labels));
}

/// The factor with which the loss of some of a batch's labels, `part`, and its gradient enter those of the whole batch, `all`: 1 where the loss is a sum; of a
/// mean the part's share of the weights that it divides by.
template <class Loss, class Part, class All>
double loss_share(const Loss& loss, const Part& part, const All& all) {
  if constexpr (requires { loss.options().reduction; })
    if (loss.options().reduction == Reduction::sum) return 1;
  const double divisor = loss_weight(loss, all);
  return divisor > 0 ? loss_weight(loss, part) / divisor : 0;
}

}  // namespace heed::inline HEED_ABI
