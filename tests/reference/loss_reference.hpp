// SPDX-License-Identifier: MIT
#pragma once

#include <cmath>
#include <cstddef>
#include <vector>

// Losses as textbooks write them, without any thought for speed or large numbers. N is any number-like type.
namespace heed::reference {

template <class N>
N squared_error(const N& x, double target) {
  return (x - N(target)) * (x - N(target));
}

template <class N>
N binary_cross_entropy(const N& x, double target, double weight, double pos_weight) {
  using std::exp, std::log;
  const N s = N(1) / (N(1) + exp(-x));
  return N(-weight) * (N(pos_weight * target) * log(s) + N(1 - target) * log(N(1) - s));
}

/// x holds rows x classes log-probabilities; torch's mean divides by the weights of the labels that count.
template <class N>
N negative_log_likelihood(
    const std::vector<N>& x, const std::vector<int>& labels, int classes, const std::vector<double>& weight, int ignore_index, bool mean) {
  N sum(0);
  double total = 0;
  for (std::size_t r = 0; r < labels.size(); ++r) {
    if (labels[r] == ignore_index) continue;
    const double w = weight.empty() ? 1.0 : weight[static_cast<std::size_t>(labels[r])];
    sum = sum - N(w) * x[r * static_cast<std::size_t>(classes) + static_cast<std::size_t>(labels[r])];
    total += w;
  }
  return mean ? sum / N(total) : sum;
}

}  // namespace heed::reference
