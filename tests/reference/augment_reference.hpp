// SPDX-License-Identifier: MIT
#pragma once

#include <cstdlib>
#include <vector>

#include <heed/data/augment.hpp>

namespace reference {

/// One image, augmented step by step: mirror the image, pad it on all sides by reflection, copy the shifted window, scale and shift each
/// value, blank the square.
template <class P, class T>
std::vector<T> place_image(const std::vector<P>& image, const heed::Shape& shape, const heed::Placement& placement,
    const std::vector<T>& scale, const std::vector<T>& shift) {
  const heed::Index height = shape[0], width = shape[1], channels = shape[2];
  const auto at = [&](heed::Index y, heed::Index x, heed::Index c, heed::Index row) {
    return static_cast<std::size_t>((y * row + x) * channels + c);
  };
  std::vector<P> mirrored = image;
  if (placement.flip)
    for (heed::Index y = 0; y < height; ++y)
      for (heed::Index x = 0; x < width; ++x)
        for (heed::Index c = 0; c < channels; ++c) mirrored[at(y, x, c, width)] = image[at(y, width - 1 - x, c, width)];

  // A padded row (or column) is made by walking away from the first pixel of the image, backwards or forwards, and turning round at its ends.
  const auto walk = [](heed::Index steps, heed::Index size, heed::Index direction) {
    heed::Index position = 0;
    for (heed::Index i = 0; i < steps; ++i) {
      if (position + direction < 0 || position + direction >= size) direction = -direction;
      position += direction;
    }
    return position;
  };
  const heed::Index pad_y = std::abs(placement.down), pad_x = std::abs(placement.right), padded_width = width + 2 * pad_x;
  std::vector<P> padded(static_cast<std::size_t>((height + 2 * pad_y) * padded_width * channels));
  for (heed::Index y = 0; y < height + 2 * pad_y; ++y)
    for (heed::Index x = 0; x < padded_width; ++x) {
      const heed::Index from_y = y < pad_y ? walk(pad_y - y, height, -1) : walk(y - pad_y, height, 1);
      const heed::Index from_x = x < pad_x ? walk(pad_x - x, width, -1) : walk(x - pad_x, width, 1);
      for (heed::Index c = 0; c < channels; ++c) padded[at(y, x, c, padded_width)] = mirrored[at(from_y, from_x, c, width)];
    }

  std::vector<T> result(image.size());
  for (heed::Index y = 0; y < height; ++y)
    for (heed::Index x = 0; x < width; ++x)
      for (heed::Index c = 0; c < channels; ++c) {
        const P value = padded[at(y + pad_y + placement.down, x + pad_x + placement.right, c, padded_width)];
        const bool blank = y >= placement.cut_top && y < placement.cut_top + placement.cut && x >= placement.cut_left &&
                           x < placement.cut_left + placement.cut;
        const auto channel = static_cast<std::size_t>(c);
        result[at(y, x, c, width)] = blank ? T(0) : static_cast<T>(value) * scale[channel] + shift[channel];
      }
  return result;
}

}  // namespace reference
