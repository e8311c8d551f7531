// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include <heed/core/parallel.hpp>
#include <heed/core/random.hpp>
#include <heed/data/corruptions.hpp>
#include <heed/train/evaluate.hpp>

namespace heed::inline HEED_ABI {

struct RobustnessOptions {
  std::vector<Corruption> corruptions =
      all_corruptions();              ///< what is measured; `all_corruptions(channels)` for other images than those of red, green and blue
  std::uint64_t seed = 0;             ///< of the corruptions; two models are compared with the same one
  EvaluationOptions evaluation = {};  ///< how images are classified
};

/// Which images of a data set a classifier gets right, as they are and after each corruption at each severity.
class Robustness {
 public:
  Robustness() = default;
  /// Nothing measured yet: all wrong.
  Robustness(std::vector<Corruption> corruptions, Index images)
      : corruptions_(std::move(corruptions)), right_({1 + kSeverities * static_cast<Index>(corruptions_.size()), images}) {}

  /// What was measured, in the order of k.
  const std::vector<Corruption>& corruptions() const { return corruptions_; }
  /// The number of images.
  Index images() const { return right_.empty() ? 0 : right_.size(1); }
  /// A byte an image, 1 or 0.
  std::span<std::uint8_t> clean() { return row(0); }
  /// The same, to read.
  std::span<const std::uint8_t> clean() const { return row(0); }
  /// The same after corruption number k at severity 1 ... 5; throws std::invalid_argument for another.
  std::span<std::uint8_t> corrupted(std::size_t k, int severity) { return row(place(k, severity)); }
  /// The same, to read.
  std::span<const std::uint8_t> corrupted(std::size_t k, int severity) const { return row(place(k, severity)); }

  /// Shares of images that were right.
  double clean_accuracy() const { return share(clean()); }
  /// Share of images that were right after corruption number k at severity 1 ... 5.
  double accuracy(std::size_t k, int severity) const { return share(corrupted(k, severity)); }
  /// The mean over the severities.
  double accuracy(std::size_t k) const {
    double sum = 0;
    for (int severity = 1; severity <= kSeverities; ++severity) sum += accuracy(k, severity);
    return sum / kSeverities;
  }

 private:
  Index place(std::size_t k, int severity) const {
    require(k < corruptions_.size() && 1 <= severity && severity <= kSeverities, "Robustness: corruption ", k, " at severity ", severity,
        " asked for, there are ", corruptions_.size(), " corruptions at the severities 1 ... ", int{kSeverities});
    return 1 + kSeverities * static_cast<Index>(k) + severity - 1;
  }
  std::span<std::uint8_t> row(Index r) { return {right_.data() + r * images(), static_cast<std::size_t>(images())}; }
  std::span<const std::uint8_t> row(Index r) const { return {right_.data() + r * images(), static_cast<std::size_t>(images())}; }
  static double share(std::span<const std::uint8_t> right) {
    return right.empty() ? 0.0 : static_cast<double>(std::count(right.begin(), right.end(), 1)) / static_cast<double>(right.size());
  }

  std::vector<Corruption> corruptions_;
  Tensor<std::uint8_t, 2> right_;  // (the clean images, then five severities a corruption; images)
};

/// Judges a classifier by a data set of byte images under all corruptions asked for. `keep_going(corruptions done)` is asked before each of them; if it says no,
/// the rest counts as wrong. Throws ShapeError, before anything is measured, for a corruption that the images cannot have.
template <class Model, Dataset D, class KeepGoing>
Robustness measure_robustness(const Model& model, const D& dataset, const RobustnessOptions& options, const KeepGoing& keep_going) {
  for (const Corruption kind : options.corruptions) check_corruption(kind, checked_image_shape(dataset)[2]);
  Robustness result(options.corruptions, dataset.size());
  EvaluationOptions each = options.evaluation;
  each.keep_logits = true;
  const auto judge = [&](const auto& images, std::span<std::uint8_t> right) {
    const Tensor<double, 2> logits = evaluate(model, images, each).logits;
    for (Index i = 0; i < images.size(); ++i)
      right[static_cast<std::size_t>(i)] = argmax(logits.data() + i * logits.size(1), logits.size(1)) == images.label(i);
  };
  judge(dataset, result.clean());
  for (std::size_t k = 0; k < options.corruptions.size() && keep_going(k); ++k)
    for (int severity = 1; severity <= kSeverities; ++severity)
      judge(CorruptedDataset(dataset, options.corruptions[k], severity, options.seed), result.corrupted(k, severity));
  return result;
}
/// The same, to the end.
template <class Model, Dataset D>
Robustness measure_robustness(const Model& model, const D& dataset, const RobustnessOptions& options = {}) {
  return measure_robustness(model, dataset, options, [](std::size_t) { return true; });
}

/// A figure with an interval that holds 95 % of those from resampled images. NaN: there is none, since what it is divided by is not above zero.
struct Estimate {
  double value, low, high;  ///< `low` to `high` is the interval
};

/// How a model's errors compare with a baseline's, after Hendrycks and Dietterich (2019) with the baseline in the place of AlexNet. Below 1: the model is better.
struct RobustnessComparison {
  /// For each corruption, sums over the severities s: CE = sum(error_s) / sum(error_s of the baseline), and the relative CE = sum(error_s - clean error) / the same
  /// of the baseline, in which an advantage on clean images does not count.
  /// @{
  std::vector<Estimate> ce, relative_ce;
  /// @}
  Estimate mean_ce, mean_relative_ce;  ///< over the corruptions
};
struct ComparisonOptions {
  Index resamples = 1000;  ///< of the images, from which the intervals come; at least 1
  std::uint64_t seed = 0;  ///< of the resampling
};

/// Compares `models` with as many `baselines`, one of each a training seed; errors are means over the seeds. The intervals are those of a paired bootstrap (Efron
/// 1979): images are drawn with replacement, the same for both sides and all corruptions. Throws std::invalid_argument unless all were measured on the same images
/// under the same corruptions.
inline RobustnessComparison compare_robustness(
    std::span<const Robustness> models, std::span<const Robustness> baselines, const ComparisonOptions& options = {}) {
  require(!models.empty() && models.size() == baselines.size(), "compare_robustness: ", models.size(), " models and ", baselines.size(),
      " baselines, expected as many of both, and at least one");
  const std::vector<Corruption>& corruptions = models[0].corruptions();
  const Index images = models[0].images(), kinds = static_cast<Index>(corruptions.size()), cells = 1 + kSeverities * kinds;
  for (const auto& side : {models, baselines})
    for (const Robustness& one : side)
      require(one.images() == images && one.corruptions() == corruptions, "compare_robustness: one was measured on ", images,
          " images under ", kinds, " corruptions, another on ", one.images(), " under ", one.corruptions().size(),
          "; expected the same images and corruptions");
  require(images > 0 && kinds > 0 && options.resamples > 0, "compare_robustness: ", images, " images, ", kinds, " corruptions, ",
      options.resamples, " resamples, expected at least one of each");

  // How many of the seeds get it wrong: (2 * cells, images), the models' cells and then the baselines'.
  Tensor<double, 2> wrong({images, 2 * cells});
  const auto add = [&](std::span<const Robustness> side, Index first) {
    for (const Robustness& one : side) {
      const auto add_row = [&](Index r, std::span<const std::uint8_t> right) {
        for (Index i = 0; i < images; ++i) wrong(i, first + r) += 1 - right[static_cast<std::size_t>(i)];
      };
      add_row(0, one.clean());
      for (Index k = 0; k < kinds; ++k)
        for (int severity = 1; severity <= kSeverities; ++severity)
          add_row(kSeverities * k + severity, one.corrupted(static_cast<std::size_t>(k), severity));
    }
  };
  add(models, 0);
  add(baselines, cells);

  // The errors of each image once, and then of the images of each resample. They are whole numbers: sums are exact in any order.
  Tensor<double, 2> errors({1 + options.resamples, 2 * cells});
  parallel_for(1 + options.resamples, 1, [&](Index begin, Index end) {
    for (Index r = begin; r < end; ++r) {
      const CounterRandom random{options.seed, static_cast<std::uint64_t>(r - 1)};
      for (Index i = 0; i < images; ++i) {
        const Index drawn =
            r == 0 ? i : static_cast<Index>(random.below(static_cast<std::uint64_t>(i), static_cast<std::uint64_t>(images)));
        for (Index cell = 0; cell < 2 * cells; ++cell) errors(r, cell) += wrong(drawn, cell);
      }
    }
  });

  // One figure of each resample, and what lies between 2.5 and 97.5 % of them.
  const auto estimate = [&](const auto& figure) {
    std::vector<double> all;
    for (Index r = 0; r <= options.resamples; ++r) all.push_back(figure(r));
    constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
    const double value = all.front();
    all.erase(all.begin());
    if (!std::all_of(all.begin(), all.end(), [](double v) { return std::isfinite(v); })) return Estimate{value, kNone, kNone};
    std::sort(all.begin(), all.end());
    const auto at = [&](double share) {
      const double place = share * static_cast<double>(all.size() - 1);
      const auto before = static_cast<std::size_t>(place);
      const double next = all[std::min(before + 1, all.size() - 1)];
      return all[before] + (place - static_cast<double>(before)) * (next - all[before]);
    };
    return Estimate{value, at(0.025), at(0.975)};
  };
  const auto ratio = [&](Index r, Index k, double clean) {
    double own = 0, other = 0;
    for (int severity = 1; severity <= kSeverities; ++severity) {
      own += errors(r, kSeverities * k + severity) - clean * errors(r, 0);
      other += errors(r, cells + kSeverities * k + severity) - clean * errors(r, cells);
    }
    return other > 0 ? own / other : std::numeric_limits<double>::quiet_NaN();
  };
  const auto mean = [&](Index r, double clean) {
    double sum = 0;
    for (Index k = 0; k < kinds; ++k) sum += ratio(r, k, clean);
    return sum / static_cast<double>(kinds);
  };
  RobustnessComparison result;
  for (Index k = 0; k < kinds; ++k) {
    result.ce.push_back(estimate([&](Index r) { return ratio(r, k, 0); }));
    result.relative_ce.push_back(estimate([&](Index r) { return ratio(r, k, 1); }));
  }
  result.mean_ce = estimate([&](Index r) { return mean(r, 0); });
  result.mean_relative_ce = estimate([&](Index r) { return mean(r, 1); });
  return result;
}

}  // namespace heed::inline HEED_ABI
