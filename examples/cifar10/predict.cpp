// SPDX-License-Identifier: MIT
#include <cmath>
#include <filesystem>
#include <optional>

#include <fmt/core.h>

#include <heed/data/batches.hpp>
#include <heed/train/attention_map.hpp>
#include <heed/train/metrics.hpp>

#include "overlay.hpp"
#include "picture.hpp"
#include "stored_model.hpp"

namespace cifar10 {

namespace {

constexpr Index kSide = 32, kShown = 3;

/// The pictures' centred squares at the nets' size.
heed::ImageDataset as_dataset(const std::vector<Picture>& pictures) {
  heed::Tensor<std::uint8_t, 4> images(heed::image_shape(static_cast<Index>(pictures.size()), kSide, kSide, 3));
  for (std::size_t i = 0; i < pictures.size(); ++i) {
    const Square square = centre_square(pictures[i]);
    const Picture small = resize(crop(pictures[i], square.top, square.left, square.side, square.side), kSide, kSide);
    std::copy_n(small.data(), kSide * kSide * 3, images.data() + static_cast<Index>(i) * kSide * kSide * 3);
  }
  return {std::move(images), std::vector<int>(pictures.size()), 10};
}

std::vector<double> probabilities(const float* logits, Index classes) {
  const float largest = logits[heed::argmax(logits, classes)];
  std::vector<double> result;
  double sum = 0;
  for (Index c = 0; c < classes; ++c) sum += result.emplace_back(std::exp(static_cast<double>(logits[c]) - static_cast<double>(largest)));
  for (double& p : result) p /= sum;
  return result;
}

/// The attention that each of the map's tokens receives, as multiples of the average: one map a picture.
std::vector<heed::Tensor<float, 2>> attention_maps(
    const StoredModel& model, const heed::Tensor<float, 4>& images, const std::string& path) {
  const auto captured = heed::capture_attention(model.net, images);
  heed::require<heed::FileError>(model.options.attention == "full" && !captured.empty(), path,
      ": the model has no attention to show (it was trained with --attention ", model.options.attention, ")");
  const heed::Tensor<float, 2> received = heed::attention_received<float>(captured.front().weights);
  std::vector<heed::Tensor<float, 2>> maps;
  for (Index i = 0; i < received.size(0); ++i) {
    heed::Tensor<float, 2>& map = maps.emplace_back(heed::Tensor<float, 2>({kMapSide, kMapSide}));
    for (Index t = 0; t < map.size(); ++t) map[t] = received(i, t) * static_cast<float>(map.size());
  }
  return maps;
}

}  // namespace

int predict(const PredictOptions& options) {
  std::optional<heed::ThreadScope> threads;
  if (options.threads > 0) threads.emplace(options.threads);
  std::vector<std::string> read = options.images;
  read.push_back(options.model);
  for (const std::string& path : read) {
    std::error_code ignored;
    heed::require<heed::FileError>(options.overlay.empty() || !std::filesystem::equivalent(options.overlay, path, ignored), path,
        ": --overlay names a file that is read; choose another one");
  }
  const StoredModel model = load(options.model);
  std::vector<Picture> pictures;
  for (const std::string& path : options.images) pictures.push_back(load_picture(path));

  const heed::ImageDataset dataset = as_dataset(pictures);
  heed::Batches<float> batches(dataset, {.batch_size = dataset.size(), .prefetch = false, .normalization = model.normalization});
  const heed::Tensor<float, 4>& images = batches.next()->images;
  const heed::Tensor<float, 2> logits = model.net.forward(images);

  std::vector<std::string> captions;
  for (std::size_t i = 0; i < pictures.size(); ++i) {
    const std::vector<double> p = probabilities(logits.data() + static_cast<Index>(i) * logits.features(), logits.features());
    std::string caption;
    for (Index c : heed::top_classes(p.data(), logits.features(), kShown))
      caption += fmt::format("{}{} {:.1f} %", caption.empty() ? "" : ", ", model.class_names[static_cast<std::size_t>(c)],
          100 * p[static_cast<std::size_t>(c)]);
    fmt::print("{}: {}\n", options.images[i], caption);
    captions.push_back(std::move(caption));
  }
  if (options.overlay.empty()) return 0;

  const auto maps = attention_maps(model, images, options.model);
  std::vector<Attended> items;
  for (std::size_t i = 0; i < pictures.size(); ++i) items.push_back({std::move(pictures[i]), options.images[i], captions[i], maps[i]});
  save_png(options.overlay, overlay_sheet(items));
  fmt::print("where the model looked: {}\n", options.overlay);
  return 0;
}

}  // namespace cifar10
