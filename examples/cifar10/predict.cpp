// SPDX-License-Identifier: MIT
#include <filesystem>
#include <optional>

#include <fmt/core.h>

#include <heed/data/batches.hpp>
#include <heed/train/calibration.hpp>
#include <heed/train/metrics.hpp>

#include "overlay.hpp"
#include "picture.hpp"
#include "stored_model.hpp"
#include "token_scores.hpp"

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

/// One image's map, as multiples of its mean; of a map of zeros, zeros.
heed::Tensor<float, 2> as_multiples(const heed::Tensor<float, 3>& scores, Index image) {
  heed::Tensor<float, 2> map({scores.size(1), scores.size(2)});
  std::copy_n(&scores(image, 0, 0), map.size(), map.data());
  const float mean = map.matrix().mean();
  if (mean > 0) map.matrix() /= mean;
  return map;
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
  StoredModel model = load(options.model);
  std::vector<Picture> pictures;
  for (const std::string& path : options.images) pictures.push_back(load_picture(path));

  const heed::ImageDataset dataset = as_dataset(pictures);
  heed::Batches<float> batches(dataset, {.batch_size = dataset.size(), .prefetch = false, .normalization = model.normalization});
  const heed::Tensor<float, 4>& images = batches.next()->images;
  const heed::Tensor<float, 2> logits = model.net.forward(images);

  std::vector<std::string> captions;
  for (std::size_t i = 0; i < pictures.size(); ++i) {
    const float* row = logits.data() + static_cast<Index>(i) * logits.features();
    std::string caption;
    for (Index c : heed::top_classes(row, logits.features(), kShown))
      caption += fmt::format("{}{} {:.1f} %", caption.empty() ? "" : ", ", model.class_names[static_cast<std::size_t>(c)],
          100 * heed::Calibration::confidence_of(row, logits.features(), c));
    fmt::print("{}: {}\n", options.images[i], caption);
    captions.push_back(std::move(caption));
  }
  if (options.overlay.empty()) return 0;

  const bool relevance = options.shown == "relevance";
  const heed::Tensor<float, 3> scores =
      relevance ? token_scores(model, options.model, images, predicted_classes(logits)) : token_scores(model, options.model, images);
  std::vector<Attended> items;
  for (std::size_t i = 0; i < pictures.size(); ++i)
    items.push_back({std::move(pictures[i]), options.images[i], captions[i], as_multiples(scores, static_cast<Index>(i))});
  save_png(options.overlay, overlay_sheet(items, relevance ? "relevance for the class:  0" : "attention received:  0"));
  fmt::print("where the model looked: {}\n", options.overlay);
  return 0;
}

}  // namespace cifar10
