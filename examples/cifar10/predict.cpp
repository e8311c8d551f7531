// SPDX-License-Identifier: MIT
#include <optional>
#include <utility>

#include <fmt/core.h>

#include <heed/data/batches.hpp>

#include "../program/overlay.hpp"
#include "../program/predictions.hpp"
#include "stored_model.hpp"
#include "token_scores.hpp"

namespace cifar10 {

int predict(const PredictOptions& options) {
  std::optional<heed::ThreadScope> threads;
  if (options.threads > 0) threads.emplace(options.threads);
  std::vector<std::string> read = options.images;
  read.push_back(options.model);
  program::require_own_file(options.overlay, read);
  StoredModel model = load(options.model);
  std::vector<program::Picture> pictures;
  for (const std::string& path : options.images) pictures.push_back(program::load_picture(path));

  constexpr Index kSide = 32;
  const heed::ImageDataset dataset(program::as_images(pictures, kSide), std::vector<int>(pictures.size()), 10);
  heed::Batches<float> batches(dataset, {.batch_size = dataset.size(), .prefetch = false, .normalization = model.normalization});
  const heed::Tensor<float, 4>& images = batches.next()->images;
  const heed::Tensor<float, 2> logits = model.net.forward(images);

  std::vector<std::string> captions;
  for (std::size_t i = 0; i < pictures.size(); ++i) {
    captions.push_back(program::caption(&logits(static_cast<Index>(i), 0), model.class_names));
    fmt::print("{}: {}\n", options.images[i], captions.back());
  }
  if (options.overlay.empty()) return 0;

  const bool relevance = options.shown == "relevance";
  const heed::Tensor<float, 3> scores =
      relevance ? token_scores(model, options.model, images, predicted_classes(logits)) : token_scores(model, options.model, images);
  std::vector<program::Attended> items;
  for (std::size_t i = 0; i < pictures.size(); ++i)
    items.push_back({std::move(pictures[i]), options.images[i], captions[i], program::as_multiples(scores, static_cast<Index>(i))});
  const char* legend = relevance ? "relevance for the class:  0" : "attention received:  0";
  program::save_png(options.overlay, program::overlay_sheet(items, kTokenGrid, legend));
  fmt::print("where the model looked: {}\n", options.overlay);
  return 0;
}

}  // namespace cifar10
