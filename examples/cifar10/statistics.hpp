// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <span>

namespace cifar10 {

/// What some runs, one a seed, say about a figure.
struct Summary {
  std::size_t count = 0;
  double mean = 0;
  double deviation = std::numeric_limits<double>::quiet_NaN();  ///< of the runs (over n - 1); NaN for one run

  /// Half the width of the interval that holds the true mean with 95 %, if the runs are normal (Student 1908); NaN for one run.
  double margin() const;
};

/// The 97.5 % quantile of Student's t.
inline double student_quantile(std::size_t degrees) {
  constexpr std::array kTable = {12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131,
      2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042};
  if (degrees == 0) return std::numeric_limits<double>::quiet_NaN();
  if (degrees <= kTable.size()) return kTable[degrees - 1];
  const auto d = static_cast<double>(degrees);  // the first terms of its series about the normal's quantile
  return 1.95996 + 2.37227 / d + 2.8225 / (d * d);
}

inline double Summary::margin() const {
  return count < 2 ? std::numeric_limits<double>::quiet_NaN()
                   : student_quantile(count - 1) * deviation / std::sqrt(static_cast<double>(count));
}

inline Summary summarize(std::span<const double> values) {
  Summary result{.count = values.size()};
  if (values.empty()) return result;
  for (const double v : values) result.mean += v / static_cast<double>(values.size());
  if (values.size() < 2) return result;
  double squares = 0;
  for (const double v : values) squares += (v - result.mean) * (v - result.mean);
  result.deviation = std::sqrt(squares / static_cast<double>(values.size() - 1));
  return result;
}

}  // namespace cifar10
