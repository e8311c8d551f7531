// SPDX-License-Identifier: MIT
#include <utility>

#include "../program/overlay.hpp"
#include "../program/predictions.hpp"
#include "../program/threads.hpp"
#include "stored_model.hpp"
#include "token_scores.hpp"

namespace cifar10 {

int predict(const PredictOptions& options) {
  const program::Threads threads(options.threads);
  program::check_overlay(options.overlay, options.overwrite, options.images, options.model);
  StoredModel model = load(options.model);
  std::vector<program::Picture> pictures = program::load_pictures(options.images);
  constexpr Index kSide = 32;
  const heed::Tensor<float, 4> images = program::as_input(pictures, kSide, model.normalization);
  const heed::Tensor<float, 2> logits = model.net.forward(images);
  const std::vector<std::string> captions = program::print_captions(options.images, logits, model.class_names);
  if (options.overlay.empty()) return 0;

  const bool relevance = options.shown == "relevance";
  const heed::Tensor<float, 3> scores =
      relevance ? token_scores(model, options.model, images, predicted_classes(logits)) : token_scores(model, options.model, images);
  program::save_overlay(options.overlay, std::move(pictures), options.images, captions, scores, token_grid(model.options),
      relevance ? "relevance for the class:  0" : "attention received:  0");
  return 0;
}

}  // namespace cifar10
