// SPDX-License-Identifier: MIT
#include <algorithm>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "../program/overlay.hpp"
#include "../program/predictions.hpp"
#include "../program/threads.hpp"
#include "stored_model.hpp"
#include "token_scores.hpp"

namespace cifar10 {

namespace {

/// Maps of the pictures, one or one a head each, and what they show in words.
struct Shown {
  heed::Tensor<float, 3> maps;
  std::string legend;
};

/// Throws std::invalid_argument for a class or a token that the model does not have, and for what does not go together.
Shown shown_of(
    const PredictOptions& options, StoredModel& model, const heed::Tensor<float, 4>& images, const heed::Tensor<float, 2>& logits) {
  require_attention(model, options.model);
  const bool relevance = options.shown == "relevance";
  heed::require(
      options.for_class.empty() || relevance, "--class ", options.for_class, ": expected --show relevance with it, not ", options.shown);
  heed::require(
      options.token.empty() || !relevance, "--token: relevance is that of all tokens; expected --show received, heads or rollout with it");
  if (relevance) {
    std::vector<int> classes = predicted_classes(logits);
    if (!options.for_class.empty()) {
      const auto& names = model.class_names;
      const auto found = std::find(names.begin(), names.end(), options.for_class);
      heed::require(found != names.end(), "--class ", options.for_class, ": expected one of ", fmt::format("{}", fmt::join(names, ", ")));
      std::fill(classes.begin(), classes.end(), static_cast<int>(found - names.begin()));
    }
    return {relevance_maps(model, options.model, images, classes),
        options.for_class.empty() ? "relevance for the class" : "relevance for " + options.for_class};
  }

  const Index side = map_side(model.options);
  Index from = -1;
  std::string legend = options.shown == "rollout" ? "attention through all blocks" : "attention received";
  if (!options.token.empty()) {
    const Index row = options.token[0], column = options.token[1];
    heed::require(row >= 1 && row <= side && column >= 1 && column <= side, "--token ", row, ' ', column, ": the model has ", side, " x ",
        side, " tokens; expected 1 1 to ", side, ' ', side);
    from = (row - 1) * side + column - 1;
    legend = fmt::format("what token {} {} takes", row, column);
  }
  const auto seen = heed::capture_attention(model.net, images);
  if (options.shown == "rollout") {
    const heed::Tensor<float, 3> all = heed::attention_rollout(std::span(seen));
    return {maps_of_rows(all.data(), all.size(), images.size(0), side, from), legend};
  }
  const heed::Tensor<float, 4>& weights = seen.front().weights;
  const Index maps = images.size(0) * (options.shown == "heads" ? weights.size(1) : 1);
  return {maps_of_rows(weights.data(), weights.size(), maps, side, from), legend};
}

}  // namespace

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

  Shown shown = shown_of(options, model, images, logits);
  const Index each = shown.maps.size(0) / images.size(0);  // one a head
  std::vector<program::Picture> copies;
  std::vector<std::string> titles, words;
  for (std::size_t i = 0; i < pictures.size(); ++i)
    for (Index head = 1; head <= each; ++head) {
      copies.push_back(pictures[i]);
      titles.push_back(each == 1 ? options.images[i] : fmt::format("{}, head {}", options.images[i], head));
      words.push_back(captions[i]);
    }
  program::save_overlay(options.overlay, std::move(copies), titles, words, shown.maps, token_grid(model.options), shown.legend + ":  0");
  return 0;
}

}  // namespace cifar10
