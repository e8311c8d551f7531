// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include <fmt/core.h>

#include <heed/data/batches.hpp>
#include <heed/train/calibration.hpp>
#include <heed/train/metrics.hpp>

#include "output_file.hpp"
#include "picture_file.hpp"

namespace program {

/// The pictures' centred squares as a net takes them: (pictures, side, side, 3), normalised.
inline heed::Tensor<float, 4> as_input(const std::vector<Picture>& pictures, Index side, const heed::Normalization& normalization) {
  heed::Tensor<std::uint8_t, 4> images({static_cast<Index>(pictures.size()), side, side, 3});
  for (std::size_t i = 0; i < pictures.size(); ++i)
    std::copy_n(centred(pictures[i], side).data(), side * side * 3, images.data() + static_cast<Index>(i) * side * side * 3);
  const heed::ImageDataset dataset(std::move(images), std::vector<int>(pictures.size()), 1);
  heed::Batches<float> batches(dataset, {.batch_size = dataset.size(), .prefetch = false, .normalization = normalization});
  return batches.next()->images;
}

/// The likeliest classes of one image with their probabilities: "horse 82.6 %, dog 9.1 %, cat 2.0 %".
inline std::string caption(const float* logits, const std::vector<std::string>& class_names) {
  constexpr Index kShown = 3;
  const Index classes = static_cast<Index>(class_names.size());
  std::string result;
  for (Index c : heed::top_classes(logits, classes, std::min(kShown, classes)))
    result += fmt::format("{}{} {:.1f} %", result.empty() ? "" : ", ", class_names[static_cast<std::size_t>(c)],
        100 * heed::Calibration::confidence_of(logits, classes, c));
  return result;
}

/// Prints what each picture shows, by the logits (pictures, classes), and returns it.
inline std::vector<std::string> print_captions(
    const std::vector<std::string>& paths, const heed::Tensor<float, 2>& logits, const std::vector<std::string>& class_names) {
  std::vector<std::string> captions;
  for (std::size_t i = 0; i < paths.size(); ++i) {
    captions.push_back(caption(&logits(static_cast<Index>(i), 0), class_names));
    fmt::print("{}: {}\n", paths[i], captions.back());
  }
  return captions;
}

/// Throws FileError unless --overlay may be written beside the pictures and the model's file, which are read.
inline void check_overlay(const std::string& overlay, bool overwrite, std::vector<std::string> pictures, const std::string& model) {
  pictures.push_back(model);
  check_picture_output(overlay, "--overlay", overwrite, pictures);
}

/// Reads the pictures that a model is asked about. Throws FileError for what cannot be read.
inline std::vector<Picture> load_pictures(const std::vector<std::string>& paths) {
  std::vector<Picture> pictures;
  for (const std::string& path : paths) pictures.push_back(load_picture(path));
  return pictures;
}

}  // namespace program
