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
#include "attention_maps.hpp"
#include "stored_model.hpp"

namespace cifar10 {

namespace {

/// Maps of the pictures, one or one a head each, and what they show in words.
struct Shown {
  heed::Tensor<float, 3> maps;
  std::string legend;
};

/// Throws, before anything is said, for a model, a class or a token that is not there, and for options that do not go together.
void check_overlay_options(const PredictOptions& options, const StoredModel& model) {
  require_attention(model, options.model);
  const bool relevance = options.shown == "relevance";
  heed::require(
      options.for_class.empty() || relevance, "--class ", options.for_class, ": expected --show relevance with it, not ", options.shown);
  heed::require(
      options.token.empty() || !relevance, "--token: relevance is that of all tokens; expected --show received, heads or rollout with it");
  const std::vector<std::string>& names = model.class_names;
  heed::require(options.for_class.empty() || std::find(names.begin(), names.end(), options.for_class) != names.end(), "--class ",
      options.for_class, ": expected one of ", fmt::format("{}", fmt::join(names, ", ")));
  const Index side = map_side(model.options);
  for (const Index place : options.token)
    heed::require(place >= 1 && place <= side, "--token ", options.token[0], ' ', options.token[1], ": the model has ", side, " x ", side,
        " tokens; expected 1 1 to ", side, ' ', side);
}

Shown shown_of(
    const PredictOptions& options, StoredModel& model, const heed::Tensor<float, 4>& images, const heed::Tensor<float, 2>& logits) {
  if (options.shown == "relevance") {
    std::vector<int> classes = predicted_classes(logits);
    const std::vector<std::string>& names = model.class_names;
    if (!options.for_class.empty())
      std::fill(classes.begin(), classes.end(), static_cast<int>(std::find(names.begin(), names.end(), options.for_class) - names.begin()));
    return {relevance_maps(model, options.model, images, classes),
        options.for_class.empty() ? "relevance for the class" : "relevance for " + options.for_class};
  }
  const Index side = map_side(model.options), from = options.token.empty() ? -1 : (options.token[0] - 1) * side + options.token[1] - 1;
  const bool rollout = options.shown == "rollout";
  std::string legend = from < 0 ? "attention received" : fmt::format("what token {} {} takes", options.token[0], options.token[1]);
  if (rollout) legend += " through all blocks";
  const auto seen = heed::capture_attention(model.net, images);
  if (rollout) {
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
  if (!options.overlay.empty()) check_overlay_options(options, model);
  std::vector<program::Picture> pictures = program::load_pictures(options.images);
  constexpr Index kSide = 32;
  const heed::Tensor<float, 4> images = program::as_input(pictures, kSide, model.normalization);
  const heed::Tensor<float, 2> logits = model.net.forward(images);
  const std::vector<std::string> captions = program::print_captions(options.images, logits, model.class_names);
  if (options.overlay.empty()) return 0;

  const Shown shown = shown_of(options, model, images, logits);
  const Index each = shown.maps.size(0) / images.size(0);  // one a head
  std::vector<program::Picture> shown_pictures;
  std::vector<std::string> titles, words;
  for (std::size_t i = 0; i < pictures.size(); ++i) {
    const program::Picture small = program::fit_tile(pictures[i]);
    for (Index head = 1; head <= each; ++head) {
      shown_pictures.push_back(small);
      titles.push_back(each == 1 ? options.images[i] : fmt::format("{}, head {}", options.images[i], head));
      words.push_back(captions[i]);
    }
  }
  program::save_overlay(
      options.overlay, std::move(shown_pictures), titles, words, shown.maps, token_grid(model.options), shown.legend + ":  0");
  return 0;
}

}  // namespace cifar10
