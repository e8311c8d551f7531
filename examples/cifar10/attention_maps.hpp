// SPDX-License-Identifier: MIT
#pragma once

#include <span>
#include <string>

#include <heed/train/attention_map.hpp>
#include <heed/train/metrics.hpp>

#include "nets.hpp"
#include "stored_model.hpp"

namespace cifar10 {

/// Where the tokens of a net lie on its 32x32 input: 2x2 pixels without padding, then 2 to 1 in each block, so of the usual 7x7 each covers 5 pixels, every 4.
inline heed::TokenGrid token_grid(const NetOptions& options) {
  const auto step = static_cast<double>(Index(1) << options.attention_after);
  return {(step + 1) / 2 / 32, step / 32};
}

/// Throws FileError for the model of a file `path` that does not attend.
inline void require_attention(const StoredModel& model, const std::string& path) {
  heed::require<heed::FileError>(model.options.attention == "full", path,
      ": the model has no attention to show (it was trained with --attention ", model.options.attention, ")");
}

/// The relevance of each token of the first attention block for `classes`, one an image, of normalised images: (images, side, side). Throws FileError for the model
/// of a file `path` that does not attend.
inline heed::Tensor<float, 3> relevance_maps(
    StoredModel& model, const std::string& path, const heed::Tensor<float, 4>& images, std::span<const int> classes) {
  require_attention(model, path);
  const heed::Tensor<float, 2> scores = heed::attention_relevance(heed::capture_attention_gradients(model.net, images, classes).front());
  const Index side = map_side(model.options);
  return heed::Tensor<float, 3>(heed::TensorView<const float, 3>(scores.data(), {scores.size(0), side, side}));
}

/// What tokens take from each other, as maps over those that give: `weights` are `maps` times as many rows of `side` x `side` numbers, of each of that many tokens in
/// turn. A map is the mean of its rows, or of those of the token `from` alone (-1: of all).
inline heed::Tensor<float, 3> maps_of_rows(const float* weights, Index size, Index maps, Index side, Index from = -1) {
  const Index tokens = side * side, rows = size / tokens / maps;
  heed::Tensor<float, 3> result({maps, side, side});
  for (Index map = 0; map < maps; ++map) {
    float* to = result.data() + map * tokens;
    for (Index row = 0; row < rows; ++row)
      if (from < 0 || row % tokens == from)
        for (Index token = 0; token < tokens; ++token) to[token] += weights[(map * rows + row) * tokens + token];
  }
  const float count = static_cast<float>(from < 0 ? rows : rows / tokens);
  for (Index i = 0; i < result.size(); ++i) result[i] /= count;
  return result;
}

/// The classes that the net names.
inline std::vector<int> predicted_classes(const heed::Tensor<float, 2>& logits) {
  std::vector<int> classes;
  for (Index i = 0; i < logits.rows(); ++i)
    classes.push_back(static_cast<int>(heed::argmax(logits.data() + i * logits.features(), logits.features())));
  return classes;
}

}  // namespace cifar10
