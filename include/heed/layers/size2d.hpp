// SPDX-License-Identifier: MIT
#pragma once

#include <heed/core/shape.hpp>

namespace heed::inline HEED_ABI {

/// Height and width of a kernel, a stride or a dilation: one number for both, or {height, width}.
struct Size2d {
  Index height = 1, width = 1;  ///< in pixels

  Size2d() = default;
  /// From one number for both, or from height and width.
  /// @{
  Size2d(Index both) : height(both), width(both) {}  // NOLINT: `.stride = 2` reads as it should
  Size2d(Index height_, Index width_) : height(height_), width(width_) {}
  /// @}

  /// Equal numbers.
  friend bool operator==(const Size2d&, const Size2d&) = default;
  /// "3x3"
  std::string to_string() const { return text(height, 'x', width); }
};

/// Rows and columns of border around an image: one number, {vertical, horizontal}, or {top, left, bottom, right}.
struct Padding2d {
  Index top = 0, left = 0, bottom = 0, right = 0;  ///< pixels

  Padding2d() = default;
  /// From one number for all sides, from {vertical, horizontal}, or from {top, left, bottom, right}.
  /// @{
  Padding2d(Index all) : Padding2d(all, all) {}                          // NOLINT: `.padding = 1` reads as it should
  Padding2d(const Size2d& both) : Padding2d(both.height, both.width) {}  // NOLINT: {vertical, horizontal} under another name
  Padding2d(Index vertical, Index horizontal) : Padding2d(vertical, horizontal, vertical, horizontal) {}
  Padding2d(Index top_, Index left_, Index bottom_, Index right_) : top(top_), left(left_), bottom(bottom_), right(right_) {}
  /// @}

  /// Equal numbers.
  friend bool operator==(const Padding2d&, const Padding2d&) = default;
  /// "1x1" (vertical, horizontal), or "0,1,2,1" (top, left, bottom, right) where the sides differ.
  std::string to_string() const {
    return top == bottom && left == right ? text(top, 'x', left) : text(top, ',', left, ',', bottom, ',', right);
  }
};

/// Tokens of border around a sequence: one number, or {begin, end}; {kernel_size - 1, 0} makes a convolution causal.
struct Padding1d {
  Index begin = 0, end = 0;  ///< tokens

  Padding1d() = default;
  /// From one number for both sides, or from {begin, end}.
  /// @{
  Padding1d(Index both) : Padding1d(both, both) {}  // NOLINT: `.padding = 1` reads as it should
  Padding1d(Index begin_, Index end_) : begin(begin_), end(end_) {}
  /// @}

  /// Equal numbers.
  friend bool operator==(const Padding1d&, const Padding1d&) = default;
  /// "1", or "2,0" (begin, end) where the sides differ.
  std::string to_string() const { return begin == end ? text(begin) : text(begin, ',', end); }
};

}  // namespace heed::inline HEED_ABI
