// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <utility>
#include <vector>

#include <heed/core/shape.hpp>

namespace program {

using heed::Index;
using Colour = std::array<std::uint8_t, 3>;

/// A picture of red, green and blue bytes, row by row.
class Picture {
 public:
  Picture() = default;
  Picture(Index height, Index width, Colour fill = {0, 0, 0})
      : height_(height), width_(width), bytes_(static_cast<std::size_t>(height * width * 3)) {
    for (std::size_t i = 0; i < bytes_.size(); ++i) bytes_[i] = fill[i % 3];
  }

  Index height() const { return height_; }
  Index width() const { return width_; }
  std::uint8_t* pixel(Index y, Index x) { return bytes_.data() + (y * width_ + x) * 3; }
  const std::uint8_t* pixel(Index y, Index x) const { return bytes_.data() + (y * width_ + x) * 3; }
  const std::uint8_t* data() const { return bytes_.data(); }

  /// Writes `other` with its upper left corner at (top, left); what lies outside is left out.
  void paste(const Picture& other, Index top, Index left) {
    for (Index y = std::max<Index>(0, -top); y < std::min(other.height(), height_ - top); ++y)
      for (Index x = std::max<Index>(0, -left); x < std::min(other.width(), width_ - left); ++x)
        std::copy_n(other.pixel(y, x), 3, pixel(top + y, left + x));
  }
  void fill(Index top, Index left, Index height, Index width, Colour colour) {
    for (Index y = std::max<Index>(0, top); y < std::min(top + height, height_); ++y)
      for (Index x = std::max<Index>(0, left); x < std::min(left + width, width_); ++x) std::copy_n(colour.data(), 3, pixel(y, x));
  }

 private:
  Index height_ = 0, width_ = 0;
  std::vector<std::uint8_t> bytes_;
};

/// Of `height` x `width` pixels of red, green, blue and opacity, row by row; what is transparent is laid on white.
inline Picture picture_on_white(const std::uint8_t* pixels, Index height, Index width) {
  Picture picture(height, width);
  for (Index i = 0; i < height * width; ++i) {
    const std::uint8_t* from = pixels + 4 * i;
    std::uint8_t* to = picture.pixel(0, 0) + 3 * i;
    for (int c = 0; c < 3; ++c) to[c] = static_cast<std::uint8_t>((from[c] * from[3] + 255 * (255 - from[3]) + 127) / 255);
  }
  return picture;
}

/// The part of `picture` that starts at (top, left).
inline Picture crop(const Picture& picture, Index top, Index left, Index height, Index width) {
  Picture part(height, width);
  part.paste(picture, -top, -left);
  return part;
}

/// The picture as it was seen, by Exif's `orientation`: 1 upright; 2 mirrored, left for right; 3 upside down; 4 mirrored, top for bottom; 5 to 8 the same lying on
/// its side, where rows are columns (6 needs a quarter turn clockwise, 8 one counter-clockwise).
inline Picture turned(Picture picture, int orientation) {
  if (orientation == 1) return picture;
  const bool on_side = orientation >= 5;
  const bool rows_backwards = orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
  const bool columns_backwards = orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
  const Index height = picture.height(), width = picture.width();
  Picture result(on_side ? width : height, on_side ? height : width);
  for (Index y = 0; y < result.height(); ++y)
    for (Index x = 0; x < result.width(); ++x) {
      const Index row = on_side ? x : y, column = on_side ? y : x;
      std::copy_n(
          picture.pixel(rows_backwards ? height - 1 - row : row, columns_backwards ? width - 1 - column : column), 3, result.pixel(y, x));
    }
  return result;
}

/// Where the largest centred square lies.
struct Square {
  Index top, left, side;
};
inline Square centre_square(const Picture& picture) {
  const Index side = std::min(picture.height(), picture.width());
  return {(picture.height() - side) / 2, (picture.width() - side) / 2, side};
}

namespace detail {
/// The positions that one position of the result is made of, and their weights, which add up to 1.
struct Taps {
  Index first;
  std::vector<double> weights;
};
/// Shrinking takes the mean over the area that a position covers, with shares of the pixels at its border; enlarging is linear between centres.
inline std::vector<Taps> resize_taps(Index from, Index to) {
  std::vector<Taps> all;
  const double ratio = static_cast<double>(from) / static_cast<double>(to);
  for (Index i = 0; i < to; ++i) {
    if (from >= to) {
      const double begin = static_cast<double>(i) * ratio, end = begin + ratio;
      Taps taps{static_cast<Index>(begin), {}};
      for (Index p = taps.first; p < from && static_cast<double>(p) < end - 1e-9; ++p)
        taps.weights.push_back((std::min(end, static_cast<double>(p + 1)) - std::max(begin, static_cast<double>(p))) / ratio);
      all.push_back(std::move(taps));
    } else {
      const double centre = std::clamp((static_cast<double>(i) + 0.5) * ratio - 0.5, 0.0, static_cast<double>(from - 1));
      const Index left = std::min(static_cast<Index>(centre), std::max<Index>(from - 2, 0));
      const double share = centre - static_cast<double>(left);
      all.push_back(from == 1 ? Taps{0, {1.0}} : Taps{left, {1 - share, share}});
    }
  }
  return all;
}
}  // namespace detail

/// The picture at another size; bytes of an equal size stay as they are.
inline Picture resize(const Picture& picture, Index height, Index width) {
  const auto rows = detail::resize_taps(picture.height(), height), columns = detail::resize_taps(picture.width(), width);
  std::vector<double> narrow(static_cast<std::size_t>(picture.height() * width * 3));
  for (Index y = 0; y < picture.height(); ++y)
    for (Index x = 0; x < width; ++x) {
      const detail::Taps& taps = columns[static_cast<std::size_t>(x)];
      for (std::size_t k = 0; k < taps.weights.size(); ++k)
        for (Index c = 0; c < 3; ++c)
          narrow[static_cast<std::size_t>((y * width + x) * 3 + c)] +=
              taps.weights[k] * picture.pixel(y, taps.first + static_cast<Index>(k))[c];
    }
  Picture result(height, width);
  for (Index y = 0; y < height; ++y) {
    const detail::Taps& taps = rows[static_cast<std::size_t>(y)];
    for (Index i = 0; i < width * 3; ++i) {
      double sum = 0;
      for (std::size_t k = 0; k < taps.weights.size(); ++k)
        sum += taps.weights[k] * narrow[static_cast<std::size_t>((taps.first + static_cast<Index>(k)) * width * 3 + i)];
      result.pixel(y, 0)[i] = static_cast<std::uint8_t>(std::clamp(sum + 0.5, 0.0, 255.0));
    }
  }
  return result;
}

/// The picture's largest centred square, `side` x `side` pixels large: what a net sees.
inline Picture centred(const Picture& picture, Index side) {
  const Square square = centre_square(picture);
  return resize(crop(picture, square.top, square.left, square.side, square.side), side, side);
}

}  // namespace program
