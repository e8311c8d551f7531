// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <filesystem>
#include <string>
#include <system_error>
#include <vector>

#include <fmt/core.h>

#include <heed/core/tensor.hpp>
#include <heed/train/calibration.hpp>
#include <heed/train/metrics.hpp>

#include "picture.hpp"

namespace program {

/// The pictures as (pictures, side, side, 3).
inline heed::Tensor<std::uint8_t, 4> as_images(const std::vector<Picture>& pictures, Index side) {
  heed::Tensor<std::uint8_t, 4> images({static_cast<Index>(pictures.size()), side, side, 3});
  for (std::size_t i = 0; i < pictures.size(); ++i)
    std::copy_n(centred(pictures[i], side).data(), side * side * 3, images.data() + static_cast<Index>(i) * side * side * 3);
  return images;
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

/// Throws FileError if `overlay` (unless empty) is one of the files that are read.
inline void require_own_file(const std::string& overlay, const std::vector<std::string>& read) {
  for (const std::string& path : read) {
    std::error_code ignored;
    heed::require<heed::FileError>(overlay.empty() || !std::filesystem::equivalent(overlay, path, ignored), path,
        ": --overlay names a file that is read; choose another one");
  }
}

}  // namespace program
