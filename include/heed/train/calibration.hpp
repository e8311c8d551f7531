// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

#include <heed/core/tensor.hpp>
#include <heed/train/metrics.hpp>

namespace heed::inline HEED_ABI {

/// Is a classifier as often right as it says? Predictions are sorted by their confidence, the probability of the class that they name, into bins of equal width;
/// the expected calibration error is the mean over all predictions of |accuracy − confidence| of their bin (Guo et al., "On Calibration of Modern Neural
/// Networks", 2017, equation 3).
class Calibration {
 public:
  /// Predictions of about the same confidence.
  struct Bin {
    Index count = 0;                      ///< predictions
    double confidence = 0, accuracy = 0;  ///< means over the bin's predictions, 0 ... 1; 0 without any
  };

  /// Throws std::invalid_argument for less than one bin.
  explicit Calibration(Index bins = 15) : bins_(static_cast<std::size_t>(std::max<Index>(bins, 0))) {
    require(bins > 0, "Calibration: ", bins, " bins; at least one is needed");
  }

  /// One prediction. Throws std::invalid_argument unless the confidence lies in 0 ... 1.
  void add(double confidence, bool right) {
    require(confidence >= 0 && confidence <= 1, "Calibration: a confidence of ", confidence, ", expected 0 to 1");
    const double place = std::ceil(confidence * static_cast<double>(bins_.size())) - 1;  // bin m: (m / M, (m + 1) / M]
    Sums& bin = bins_[static_cast<std::size_t>(std::max(place, 0.0))];
    ++bin.count;
    bin.right += right;
    bin.confidence += confidence;
  }
  /// The softmax of each row of `logits` (rows, classes).
  template <class T, class Labels>
  void add(const TensorView<const T, 2>& logits, const Labels& labels) {
    require<ShapeError>(logits.rows() == static_cast<Index>(std::size(labels)), "Calibration: ", logits.rows(), " rows of logits, but ",
        std::size(labels), " labels");
    for (Index r = 0; r < logits.rows(); ++r) {
      const T* row = logits.data() + r * logits.features();
      const Index named = argmax(row, logits.features());
      add(confidence_of(row, logits.features(), named), named == static_cast<Index>(std::data(labels)[r]));
    }
  }

  /// From the lowest confidence to the highest.
  std::vector<Bin> bins() const {
    std::vector<Bin> result;
    for (const Sums& s : bins_) {
      const double count = static_cast<double>(std::max<Index>(s.count, 1));
      result.push_back({s.count, s.confidence / count, static_cast<double>(s.right) / count});
    }
    return result;
  }
  /// 0 without predictions.
  double expected_error() const {
    double sum = 0, all = 0;
    for (const Bin& bin : bins()) {
      sum += static_cast<double>(bin.count) * std::abs(bin.accuracy - bin.confidence);
      all += static_cast<double>(bin.count);
    }
    return all == 0 ? 0 : sum / all;
  }

  /// The softmax of `count` logits at one of them.
  template <class T>
  static double confidence_of(const T* logits, Index count, Index at) {
    double sum = 0;
    for (Index c = 0; c < count; ++c) sum += std::exp(static_cast<double>(logits[c]) - static_cast<double>(logits[at]));
    return 1 / sum;
  }

 private:
  struct Sums {
    Index count = 0, right = 0;
    double confidence = 0;
  };
  std::vector<Sums> bins_;
};

}  // namespace heed::inline HEED_ABI
