// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include <fmt/core.h>

#include <heed/train/metrics.hpp>

namespace cifar10 {

/// Accuracy of each class and the confusion matrix, as text: a row a true class, a column a predicted one.
inline std::string confusion_text(const heed::ConfusionMatrix& confusion, const std::vector<std::string>& names) {
  std::size_t width = 5;
  for (const std::string& name : names) width = std::max(width, name.size());
  std::string text = fmt::format("{:<{}}  accuracy  ", "", width);
  // Columns are headed by the first letters of their class: enough beside the rows, which stand in the same order.
  for (const std::string& name : names) text += fmt::format("{:>6}", name.substr(0, 5));
  text += '\n';
  for (heed::Index label = 0; label < confusion.classes(); ++label) {
    text += fmt::format("{:<{}}  {:6.2f} %  ", names[static_cast<std::size_t>(label)], width, 100 * confusion.accuracy(label));
    for (heed::Index prediction = 0; prediction < confusion.classes(); ++prediction)
      text += confusion(label, prediction) == 0 ? fmt::format("{:>6}", "·") : fmt::format("{:>6}", confusion(label, prediction));
    text += '\n';
  }
  return text;
}

}  // namespace cifar10
