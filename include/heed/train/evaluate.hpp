// SPDX-License-Identifier: MIT
#pragma once

#include <cmath>
#include <optional>
#include <span>
#include <vector>

#include <heed/data/batches.hpp>
#include <heed/data/views.hpp>
#include <heed/losses/cross_entropy.hpp>
#include <heed/losses/loss_share.hpp>
#include <heed/train/metrics.hpp>

namespace heed::inline HEED_ABI {

struct EvaluationOptions {
  int views = 1;                     ///< 1, 2 or 6, see `views`
  Index batch_size = 250;            ///< images a forward pass; divides 10,000
  Normalization normalization = {};  ///< that of the training
  bool keep_logits = false;          ///< give the averaged logits of every image back
};

/// What a classifier achieves on a data set.
struct Evaluation {
  int views = 1;              ///< views that were averaged
  double loss = 0;            ///< mean cross-entropy of the averaged logits, without label smoothing
  double accuracy = 0;        ///< 0 ... 1
  ConfusionMatrix confusion;  ///< counts of (true class, predicted class)
  Tensor<double, 2> logits =
      {};  ///< (images, classes), in the order of the data set, if they were asked for; zeros of images that were not reached
};

/// The numbers of views up to `most` that an evaluation reports: of 1, 2, 6.
inline std::vector<int> view_counts(int most) {
  views(most);  // throws for other numbers
  std::vector<int> counts;
  for (int count : {1, 2, 6})
    if (count <= most) counts.push_back(count);
  return counts;
}

/// Judges a classifier by a data set, with the images seen in several ways. What is averaged over the views, with their weights, are the
/// **logits**, not the probabilities (as K. Jordan's airbench does). Returns one result for each of 1, 2, 6 views up to `options.views`,
/// from one sweep: the passes of fewer views are shared. `keep_going(images done)` is asked after every batch; if it says no, the results
/// are those of the images so far. Throws AnomalyError where the loss is NaN: the model gives images no numbers.
template <class Model, Dataset D, class KeepGoing>
std::vector<Evaluation> evaluate_views(
    const Model& model, const D& dataset, const EvaluationOptions& options, const KeepGoing& keep_going) {
  using T = typename Model::scalar;
  const std::vector<int> counts = view_counts(options.views);
  const std::span<const View> all = views(options.views);
  const CrossEntropyLoss<T> loss({.reduction = Reduction::sum});
  std::vector<Evaluation> results;
  for (int count : counts) {
    results.push_back({count, 0, 0, ConfusionMatrix(dataset.classes())});
    if (options.keep_logits) results.back().logits = Tensor<double, 2>({dataset.size(), static_cast<Index>(dataset.classes())});
  }

  Batches<T> batches(dataset, {.batch_size = options.batch_size, .prefetch = false, .normalization = options.normalization});
  Tensor<T, 4> seen;
  std::vector<Tensor<T, 2>> sums(counts.size());
  Index done = 0;
  for (const Batch<T>& batch : batches.epoch(0)) {
    for (std::size_t v = 0; v < all.size(); ++v) {
      seen.resize(batch.images.shape());
      view_images<T>(batch.images, all[v], seen.view());
      const Tensor<T, 2> logits = model.forward(seen);
      for (std::size_t k = 0; k < counts.size(); ++k) {
        const std::span<const View> some = views(counts[k]);  // the first views of `all`, in its order
        if (v >= some.size()) continue;
        if (v == 0) sums[k] = Tensor<T, 2>(logits.shape());
        sums[k].matrix() += T(some[v].weight) * logits.matrix();
      }
    }
    for (std::size_t k = 0; k < counts.size(); ++k) {
      const double batch_loss = static_cast<double>(loss.value(sums[k], batch.labels));
      require<AnomalyError>(!std::isnan(batch_loss), "evaluate: the loss of the images ", done, " to ", done + batch.size() - 1,
          " is nan: the model gives them logits that are no numbers; an AnomalyScope around the call finds the layer");
      results[k].loss += batch_loss;
      results[k].confusion.add(sums[k], batch.labels);
      if (options.keep_logits)
        results[k].logits.view().slice(done, done + batch.size()).matrix() = sums[k].matrix().template cast<double>();
    }
    done += batch.size();
    if (!keep_going(done)) break;
  }
  for (Evaluation& result : results) {
    result.loss /= static_cast<double>(done);
    result.accuracy = result.confusion.accuracy();
  }
  return results;
}
/// The same, to the end.
template <class Model, Dataset D>
std::vector<Evaluation> evaluate_views(const Model& model, const D& dataset, const EvaluationOptions& options = {}) {
  return evaluate_views(model, dataset, options, [](Index) { return true; });
}

/// The same for `options.views` alone.
template <class Model, Dataset D>
Evaluation evaluate(const Model& model, const D& dataset, const EvaluationOptions& options = {}) {
  return evaluate_views(model, dataset, options).back();
}

/// What `evaluate_loss` found.
struct LossReport {
  double loss = 0;     ///< as the loss function reduces it, over all examples
  Index examples = 0;  ///< or labels, without those that the loss ignores
  Index correct = 0;   ///< labels with the largest score; 0 where targets are no labels

  /// Share of labels that were right, 0 ... 1.
  double accuracy() const { return examples == 0 ? 0.0 : static_cast<double>(correct) / static_cast<double>(examples); }
};

/// The loss of any model on anything that gives batches (see TensorBatches): one pass of inference over `batches.epoch(0)`. Throws AnomalyError where the loss is NaN.
template <class Model, class Loss, class Source>
LossReport evaluate_loss(const Model& model, const Loss& loss, Source& batches) {
  LossReport report;
  bool sum = false;
  if constexpr (requires { loss.options().reduction; }) sum = loss.options().reduction == Reduction::sum;
  double weights = 0;
  for (const auto& batch : batches.epoch(0)) {
    const auto y = model.forward(batch.inputs);
    const auto& targets = batch.targets;
    double value;
    if constexpr (LabelRange<std::remove_cvref_t<decltype(targets)>>) {
      value = static_cast<double>(loss.value(y.as_rows(), targets));
      std::optional<Index> ignored;
      if constexpr (WeighsLabels<Loss>) ignored = loss.options().ignore_index;
      report.correct += count_correct<typename Model::scalar>(y.as_rows(), targets, ignored);
    } else {
      require<ShapeError>(
          targets.shape() == y.shape(), "evaluate_loss: the model gives ", y.shape(), ", the targets are ", targets.shape());
      value = static_cast<double>(loss.value(y.as_rows(), targets.as_rows()));
    }
    require<AnomalyError>(!std::isnan(value), "evaluate_loss: the loss of batch ", batch.number,
        " is nan: the model gives it numbers that are none; an AnomalyScope around the call finds the layer");
    const double weight = sum ? 1 : loss_weight(loss, targets);
    report.loss += weight * value;
    weights += weight;
    report.examples += counted_labels(loss, targets);
  }
  if (!sum) report.loss = weights > 0 ? report.loss / weights : 0;
  return report;
}

}  // namespace heed::inline HEED_ABI
