// SPDX-License-Identifier: MIT
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <fmt/core.h>

#include <heed/data/batches.hpp>
#include <heed/train/attention_map.hpp>

#include "../program/overlay.hpp"
#include "../program/predictions.hpp"
#include "net.hpp"

namespace image_folder {

int predict(const PredictOptions& options) {
  std::optional<heed::ThreadScope> threads;
  if (options.threads > 0) threads.emplace(options.threads);
  std::vector<std::string> read = options.pictures;
  read.push_back(options.model);
  program::require_own_file(options.overlay, read);
  const Model model = load(options.model);
  std::vector<program::Picture> pictures;
  for (const std::string& path : options.pictures) pictures.push_back(program::load_picture(path));

  const int classes = static_cast<int>(model.class_names.size());
  const heed::ImageDataset dataset(program::as_images(pictures, model.options.size), std::vector<int>(pictures.size()), classes);
  heed::Batches<float> batches(dataset, {.batch_size = dataset.size(), .prefetch = false, .normalization = model.normalization});
  const heed::Tensor<float, 4>& images = batches.next()->images;
  const heed::Tensor<float, 2> logits = model.net.forward(images);
  std::vector<std::string> captions;
  for (std::size_t i = 0; i < pictures.size(); ++i) {
    captions.push_back(program::caption(&logits(static_cast<Index>(i), 0), model.class_names));
    fmt::print("{}: {}\n", options.pictures[i], captions.back());
  }
  if (options.overlay.empty()) return 0;

  const Index side = model.options.size / kShrink;
  const heed::Tensor<float, 2> received = heed::attention_received<float>(heed::capture_attention(model.net, images).front().weights);
  const heed::Tensor<float, 3> maps(heed::TensorView<const float, 3>(received.data(), {received.size(0), side, side}));
  std::vector<program::Attended> items;
  for (std::size_t i = 0; i < pictures.size(); ++i)
    items.push_back({std::move(pictures[i]), options.pictures[i], captions[i], program::as_multiples(maps, static_cast<Index>(i))});
  program::save_png(options.overlay, program::overlay_sheet(items, heed::TokenGrid::even(side), "attention received:  0"));
  fmt::print("where the model looked: {}\n", options.overlay);
  return 0;
}

}  // namespace image_folder
