// SPDX-License-Identifier: MIT
#pragma once

#include <heed/losses/class_targets.hpp>

#include "run.hpp"

namespace conformance {

/// The mean loss over `labels` as PyTorch and ONNX have it: the library's, but NaN where no label counts, because all are ignored or of classes
/// of weight 0. There the library has 0.
template <class Labels, class Options>
double mean_or_nan(double mean, const Labels& labels, const Options& options, Index classes) {
  const heed::ClassWeights weights{options.weight, options.ignore_index};
  const heed::ClassLabels counted("mean", weights, std::ssize(labels), classes, labels);
  return counted.divisor() > 0 ? mean : std::numeric_limits<double>::quiet_NaN();
}

/// Losses against classes have the classes on axis 1 of (N, C, d1, d2, ...), any number of axes d, or in (C): between the items and what
/// is left. The library reads rows x C, a row for each label of (N, d1, d2, ...).
struct ClassRows {
  Index items, classes, places;

  explicit ClassRows(const Shape& shape) : items(shape.rank() > 1 ? shape[0] : 1), classes(shape[shape.rank() > 1 ? 1 : 0]), places(1) {
    for (int axis = 2; axis < shape.rank(); ++axis) places *= shape[axis];
  }

  template <class T>
  Tensor<T, 2> from_file(const std::vector<T>& elements) const {
    auto rows = Tensor<T, 2>::uninitialized({items * places, classes});
    each([&](Index in_file, Index row, Index c) { rows(row, c) = elements[static_cast<std::size_t>(in_file)]; });
    return rows;
  }
  template <class T>
  std::vector<T> to_file(const TensorView<const T, 2>& rows) const {
    std::vector<T> elements(static_cast<std::size_t>(rows.size()));
    each([&](Index in_file, Index row, Index c) { elements[static_cast<std::size_t>(in_file)] = rows(row, c); });
    return elements;
  }

 private:
  template <class Body>
  void each(const Body& body) const {
    for (Index n = 0; n < items; ++n)
      for (Index c = 0; c < classes; ++c)
        for (Index p = 0; p < places; ++p) body((n * classes + c) * places + p, n * places + p, c);
  }
};

}  // namespace conformance
