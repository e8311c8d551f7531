// SPDX-License-Identifier: MIT
#pragma once

#include <span>
#include <string>

#include <heed/train/attention_map.hpp>

#include "stored_model.hpp"

namespace cifar10 {

/// Where the tokens of a net lie on its 32x32 input: 2x2 pixels without padding, then 2 to 1 in each block, so of the usual 7x7 each covers 5 pixels, every 4.
inline heed::TokenGrid token_grid(const NetOptions& options) {
  const auto step = static_cast<double>(Index(1) << options.attention_after);
  return {(step + 1) / 2 / 32, step / 32};
}

/// Of normalised images, (images, side, side): the attention that each token of the first attention block receives, or with `classes`, one an image, its
/// relevance for them. Throws FileError for the model of a file `path` that does not attend.
inline heed::Tensor<float, 3> token_scores(
    StoredModel& model, const std::string& path, const heed::Tensor<float, 4>& images, std::span<const int> classes = {}) {
  heed::require<heed::FileError>(model.options.attention == "full", path,
      ": the model has no attention to show (it was trained with --attention ", model.options.attention, ")");
  const heed::Tensor<float, 2> scores =
      classes.empty() ? heed::attention_received<float>(heed::capture_attention(model.net, images).front().weights)
                      : heed::attention_relevance(heed::capture_attention_gradients(model.net, images, classes).front());
  const Index side = map_side(model.options);
  return heed::Tensor<float, 3>(heed::TensorView<const float, 3>(scores.data(), {scores.size(0), side, side}));
}

/// The classes that the net names.
inline std::vector<int> predicted_classes(const heed::Tensor<float, 2>& logits) {
  std::vector<int> classes;
  for (Index i = 0; i < logits.rows(); ++i)
    classes.push_back(static_cast<int>(heed::argmax(logits.data() + i * logits.features(), logits.features())));
  return classes;
}

}  // namespace cifar10
