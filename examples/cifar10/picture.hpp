// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <limits>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

// The bodies of these headers stand in every file that includes this one, and nowhere else.
#define STB_IMAGE_STATIC
#define STB_IMAGE_IMPLEMENTATION
#define STB_IMAGE_WRITE_STATIC
#define STB_IMAGE_WRITE_IMPLEMENTATION
#if defined(__GNUC__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-function"
#endif
#include <stb_easy_font.h>
#include <stb_image.h>
#include <stb_image_write.h>
#if defined(__GNUC__)
#pragma GCC diagnostic pop
#endif

#include <heed/core/tensor.hpp>
#include <heed/io/atomic_file.hpp>

namespace cifar10 {

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

namespace detail {
/// stb_image takes a binary PGM or PPM file as it comes: what is missing at its end stays uninitialised, and other ranges than 0 ... 255 are not
/// scaled. Throws FileError for either, given the number of values that the picture has.
inline void check_portable_map(const std::string& path, std::string_view bytes, Index values) {
  const auto digit = [&](std::size_t at) { return bytes[at] >= '0' && bytes[at] <= '9'; };
  std::size_t at = 2;
  Index largest = 0;
  for (int number = 0; number < 3; ++number) {  // width, height and the largest value, with blanks and comments before each
    while (at < bytes.size() && !digit(at)) at = bytes[at] == '#' ? std::min(bytes.find('\n', at), bytes.size()) : at + 1;
    for (largest = 0; at < bytes.size() && digit(at) && largest < 100000; ++at) largest = 10 * largest + (bytes[at] - '0');
  }
  heed::require<heed::FileError>(
      largest == 255, path, ": the largest value of this PGM or PPM file is ", largest, ", only files with 255 are read");
  const Index found = static_cast<Index>(bytes.size()) - static_cast<Index>(std::min(at + 1, bytes.size()));
  heed::require<heed::FileError>(
      found >= values, path, ": at offset ", at + 1, ": expected ", values, " bytes of pixels, found ", found, "; is the file cut short?");
}
}  // namespace detail

/// Reads a PNG, JPEG or PPM file (and what else stb_image knows); transparent pixels are laid on white. Throws FileError.
inline Picture load_picture(const std::string& path) {
  constexpr double kMostPixels = 1e8;  // 400 MB in memory: larger files are meant for other programs
  std::error_code ignored;
  if (!std::filesystem::exists(path, ignored)) heed::fail<heed::FileError>(path, ": no such file");
  if (std::filesystem::is_directory(path, ignored)) heed::fail<heed::FileError>(path, ": expected a PNG, JPEG or PPM file, found a folder");
  const std::string file = heed::read_file(path);
  const auto* content = reinterpret_cast<const unsigned char*>(file.data());
  const int length = static_cast<int>(std::min<std::size_t>(file.size(), std::numeric_limits<int>::max()));
  const auto refuse = [&] {
    const char* reason = stbi_failure_reason();
    heed::fail<heed::FileError>(
        path, ": expected a PNG, JPEG or PPM file, but it cannot be read as one (", reason ? reason : "no reason given", ")");
  };
  int width = 0, height = 0, channels = 0;
  if (!stbi_info_from_memory(content, length, &width, &height, &channels)) refuse();
  if (width < 1 || height < 1 || static_cast<double>(width) * height > kMostPixels)
    heed::fail<heed::FileError>(path, ": the picture has ", width, " x ", height, " pixels, at most 100 million are read");
  if (file.starts_with("P5") || file.starts_with("P6"))
    detail::check_portable_map(path, file, static_cast<Index>(width) * height * channels);
  const std::unique_ptr<unsigned char, void (*)(void*)> bytes(
      stbi_load_from_memory(content, length, &width, &height, &channels, 4), &stbi_image_free);
  if (!bytes) refuse();
  Picture picture(height, width);
  for (Index i = 0; i < static_cast<Index>(width) * height; ++i) {
    const unsigned char* from = bytes.get() + 4 * i;
    std::uint8_t* to = picture.pixel(0, 0) + 3 * i;
    for (int c = 0; c < 3; ++c) to[c] = static_cast<std::uint8_t>((from[c] * from[3] + 255 * (255 - from[3]) + 127) / 255);
  }
  return picture;
}

/// Writes a PNG file, whole or not at all. Throws FileError.
inline void save_png(const std::string& path, const Picture& picture) {
  std::string bytes;
  const auto append = [](void* to, void* from, int count) {
    static_cast<std::string*>(to)->append(static_cast<const char*>(from), static_cast<std::size_t>(count));
  };
  const int width = static_cast<int>(picture.width()), height = static_cast<int>(picture.height());
  if (!stbi_write_png_to_func(append, &bytes, width, height, 3, picture.data(), width * 3))
    heed::fail<heed::FileError>(path, ": the picture could not be encoded");
  heed::write_file(path, bytes);
}

/// The part of `picture` that starts at (top, left).
inline Picture crop(const Picture& picture, Index top, Index left, Index height, Index width) {
  Picture part(height, width);
  part.paste(picture, -top, -left);
  return part;
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

/// The width of a line of text, in pixels.
inline Index text_width(std::string text, int scale) { return scale * stb_easy_font_width(text.data()); }

/// Draws a line of ASCII text; other characters become question marks. A line is 7 `scale` pixels high, and a few more for descenders.
inline void draw_text(Picture& picture, Index top, Index left, std::string text, Colour colour, int scale) {
  for (char& c : text)
    if (c < ' ' || c > '~') c = '?';
  struct Corner {
    float x, y, z;
    unsigned char colour[4];
  };
  std::vector<Corner> corners(4 * 64 * (text.size() + 1));  // no letter needs more than a few dozen rectangles
  const int count = stb_easy_font_print(0, 0, text.data(), nullptr, corners.data(), static_cast<int>(corners.size() * sizeof(Corner)));
  for (int q = 0; q < count; ++q) {
    const Corner &from = corners[static_cast<std::size_t>(4 * q)], &to = corners[static_cast<std::size_t>(4 * q + 2)];
    const auto pixels = [&](float v) { return static_cast<Index>(std::lround(v * static_cast<float>(scale))); };
    picture.fill(top + pixels(from.y), left + pixels(from.x), pixels(to.y) - pixels(from.y), pixels(to.x) - pixels(from.x), colour);
  }
}

/// A colour for 0 (dark) to 1 (bright): violet, red, yellow, in even steps of lightness.
inline Colour heat_colour(double value) {
  constexpr std::array<std::array<double, 3>, 6> kStops{{{22, 11, 57}, {87, 16, 110}, {165, 44, 96}, {225, 100, 41}, {251, 180, 26},
      {252, 255, 164}}};  // matplotlib's "inferno", every fifth
  const double place = std::clamp(value, 0.0, 1.0) * static_cast<double>(kStops.size() - 1);
  const std::size_t below = std::min(static_cast<std::size_t>(place), kStops.size() - 2);
  const double share = place - static_cast<double>(below);
  Colour colour{};
  for (std::size_t c = 0; c < 3; ++c)
    colour[c] = static_cast<std::uint8_t>(kStops[below][c] + share * (kStops[below + 1][c] - kStops[below][c]) + 0.5);
  return colour;
}

}  // namespace cifar10
