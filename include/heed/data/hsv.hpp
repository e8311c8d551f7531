// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <array>
#include <cmath>

#include <heed/core/config.hpp>

namespace heed::inline HEED_ABI {

/// A colour as hue (0 ... 1: red, 1/3 green, 2/3 blue, and round again), saturation and value (both 0 ... 1), after A. R. Smith, "Color Gamut Transform
/// Pairs" (1978). Red, green and blue are 0 ... 1; a grey has hue 0.
inline std::array<double, 3> rgb_to_hsv(const std::array<double, 3>& rgb) {
  const auto [red, green, blue] = rgb;
  const double value = std::max({red, green, blue}), range = value - std::min({red, green, blue});
  if (range == 0) return {0, 0, value};
  const double sixth = value == red ? (green - blue) / range : value == green ? 2 + (blue - red) / range : 4 + (red - green) / range;
  return {(sixth < 0 ? sixth + 6 : sixth) / 6, range / value, value};
}

/// The way back: red, green and blue. Hues count modulo 1.
inline std::array<double, 3> hsv_to_rgb(const std::array<double, 3>& hsv) {
  const auto [hue, saturation, value] = hsv;
  const double sixths = 6 * (hue - std::floor(hue)), whole = std::floor(sixths), part = sixths - whole;
  const double least = value * (1 - saturation), falling = value * (1 - saturation * part), rising = value * (1 - saturation * (1 - part));
  switch (static_cast<int>(whole) % 6) {
    case 0:
      return {value, rising, least};
    case 1:
      return {falling, value, least};
    case 2:
      return {least, value, rising};
    case 3:
      return {least, falling, value};
    case 4:
      return {rising, least, value};
    default:
      return {value, least, falling};
  }
}

}  // namespace heed::inline HEED_ABI
