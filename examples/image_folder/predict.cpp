// SPDX-License-Identifier: MIT
#include <string>
#include <utility>
#include <vector>

#include <heed/train/attention_map.hpp>

#include "../program/overlay.hpp"
#include "../program/predictions.hpp"
#include "../program/threads.hpp"
#include "net.hpp"

namespace image_folder {

int predict(const PredictOptions& options) {
  const program::Threads threads(options.threads);
  program::check_overlay(options.overlay, options.overwrite, options.pictures, options.model);
  const Model model = load(options.model);
  std::vector<program::Picture> pictures = program::load_pictures(options.pictures);
  const heed::Tensor<float, 4> images = program::as_input(pictures, model.options.size, model.normalization);
  const std::vector<std::string> captions = program::print_captions(options.pictures, model.net.forward(images), model.class_names);
  if (options.overlay.empty()) return 0;

  const Index side = model.options.size / kShrink;
  const heed::Tensor<float, 2> received = heed::attention_received<float>(heed::capture_attention(model.net, images).front().weights);
  const heed::Tensor<float, 3> maps(heed::TensorView<const float, 3>(received.data(), {received.size(0), side, side}));
  program::save_overlay(
      options.overlay, std::move(pictures), options.pictures, captions, maps, heed::TokenGrid::even(side), "attention received:  0");
  return 0;
}

}  // namespace image_folder
