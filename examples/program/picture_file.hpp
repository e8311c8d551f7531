// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <limits>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace program {

/// The most pixels that a byte of a file can stand for: deflate makes at most 1032 bytes of one.
inline constexpr double kMostPixelsPerByte = 1040;
/// Bytes that `load_picture` holds at once for each byte of a file, at most: 24 for a pixel, of which PNG's 16-bit numbers and JPEG's coefficients take most.
inline constexpr std::size_t kPictureMemoryFactor = 24 * 1040;

namespace detail {
/// The most bytes that stb_image gets at once: it believes what a PNG file says about the length of its parts.
inline thread_local std::size_t most_at_once = 0;

inline void* limited_malloc(std::size_t bytes) { return bytes <= most_at_once ? std::malloc(bytes) : nullptr; }
inline void* limited_realloc(void* memory, std::size_t bytes) { return bytes <= most_at_once ? std::realloc(memory, bytes) : nullptr; }
}  // namespace detail

}  // namespace program

#define STBI_MALLOC(bytes) program::detail::limited_malloc(bytes)
#define STBI_REALLOC(memory, bytes) program::detail::limited_realloc(memory, bytes)
#define STBI_FREE(memory) std::free(memory)
// The bodies of these headers stand in every file that includes this one, and nowhere else.
#define STB_IMAGE_STATIC
#define STB_IMAGE_IMPLEMENTATION
#define STB_IMAGE_WRITE_STATIC
#define STB_IMAGE_WRITE_IMPLEMENTATION
// Fewer kinds of files, fewer readers for strangers to look into.
#define STBI_ONLY_PNG
#define STBI_ONLY_JPEG
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

#include "picture.hpp"

namespace program {

namespace detail {
/// Refuses a size before there is memory for it.
inline void check_size(const std::string& path, Index width, Index height, std::size_t bytes) {
  constexpr double kMostPixels = 1e8;  // 400 MB in memory: larger files are meant for other programs
  const auto whole_blocks = [](Index side) {
    return static_cast<double>((side + 31) / 32 * 32);
  };  // JPEG's largest blocks have 32 x 32 pixels
  if (width < 1 || height < 1 || static_cast<double>(width) * static_cast<double>(height) > kMostPixels)
    heed::fail<heed::FileError>(path, ": the picture has ", width, " x ", height, " pixels, at most 100 million are read");
  if (whole_blocks(width) * whole_blocks(height) > kMostPixelsPerByte * static_cast<double>(bytes))
    heed::fail<heed::FileError>(
        path, ": the picture has ", width, " x ", height, " pixels, which a file of ", bytes, " bytes cannot hold; is it cut short?");
}

/// A binary PGM or PPM file: "P5" or "P6", width, height and the largest value, each behind blanks and comments, a blank, and the bytes.
inline Picture read_portable_map(const std::string& path, std::string_view bytes) {
  const auto at_digit = [&](std::size_t at) { return bytes[at] >= '0' && bytes[at] <= '9'; };
  const Index channels = bytes[1] == '6' ? 3 : 1;
  Index numbers[3] = {};
  std::size_t at = 2;
  for (Index& number : numbers) {
    while (at < bytes.size() && !at_digit(at)) at = bytes[at] == '#' ? std::min(bytes.find('\n', at), bytes.size()) : at + 1;
    constexpr Index kLargest = 1'000'000'000;
    for (; at < bytes.size() && at_digit(at); ++at) number = std::min(10 * number + (bytes[at] - '0'), kLargest);
  }
  const auto [width, height, largest] = numbers;
  heed::require<heed::FileError>(
      largest == 255, path, ": the largest value of this PGM or PPM file is ", largest, ", only files with 255 are read");
  check_size(path, width, height, bytes.size());
  const Index expected = width * height * channels, found = static_cast<Index>(bytes.size() - std::min(at + 1, bytes.size()));
  heed::require<heed::FileError>(found >= expected, path, ": at offset ", at + 1, ": expected ", expected, " bytes of pixels, found ",
      found, "; is the file cut short?");
  Picture picture(height, width);
  for (Index i = 0; i < width * height; ++i)
    for (Index c = 0; c < 3; ++c)
      picture.pixel(0, 0)[3 * i + c] = static_cast<std::uint8_t>(bytes[at + 1 + static_cast<std::size_t>(i * channels + c % channels)]);
  return picture;
}

/// stb_image 2.27 writes behind its tables when a JPEG file defines a Huffman code of more than 256 words, and reads behind them when a scan names a code
/// that was never defined. Walks from marker to marker as it does, and refuses such files.
inline void check_huffman_codes(const std::string& path, std::string_view bytes) {
  const auto byte = [&](std::size_t at) { return at < bytes.size() ? static_cast<unsigned char>(bytes[at]) : std::size_t{0}; };
  bool defined[2][16] = {};  // of the first and of all other coefficients of a block
  std::size_t frame = 0;     // the first SOF marker: 0xc2 is a progressive picture, whose scans need one of the codes or none
  for (std::size_t at = 2; at + 3 < bytes.size();) {
    if (byte(at++) != 0xff) continue;
    while (byte(at) == 0xff) ++at;
    const std::size_t marker = byte(at++), end = at + byte(at) * 256 + byte(at + 1);
    if (marker < 0xc0 || (marker >= 0xd0 && marker <= 0xd9)) continue;  // of one byte: it has no length
    if (frame == 0 && marker <= 0xc2) frame = marker;
    for (std::size_t table = at + 2; marker == 0xc4 && table < end;) {
      std::size_t words = 0;
      for (std::size_t length = 1; length <= 16; ++length) words += byte(table + length);
      heed::require<heed::FileError>(words <= 256, path, ": at offset ", table, ": expected a Huffman code of at most 256 words, found ",
          words, "; the file is damaged");
      defined[byte(table) >> 4 & 1][byte(table) & 15] = true;
      table += 17 + words;
    }
    if (marker == 0xda) {
      const std::size_t components = byte(at + 2), first = byte(at + 3 + 2 * components), again = byte(at + 5 + 2 * components) >> 4;
      for (std::size_t c = 0; c < components; ++c) {
        const std::size_t codes = byte(at + 4 + 2 * c);
        const bool known = (defined[0][codes >> 4] || (frame == 0xc2 && (first > 0 || again > 0))) &&
                           (defined[1][codes & 15] || (frame == 0xc2 && first == 0));
        heed::require<heed::FileError>(known, path, ": at offset ", at, ": a scan names a Huffman code that the file does not define");
      }
    }
    at = std::max(end, at + 2);
  }
}
/// The orientation (tag 0x0112, 1 to 8) in the first directory of Exif's TIFF; 1 if it says nothing that makes sense.
inline int tiff_orientation(std::string_view tiff) {
  using namespace std::string_view_literals;
  const bool little = tiff.starts_with("II*\0"sv);
  if (!little && !tiff.starts_with("MM\0*"sv)) return 1;
  const auto number = [&](std::size_t at, std::size_t bytes) {  // what lies behind the end is 0
    std::size_t value = 0;
    for (std::size_t i = 0; i < bytes; ++i) {
      const std::size_t place = at + (little ? bytes - 1 - i : i);
      value = value << 8 | (place < tiff.size() ? static_cast<unsigned char>(tiff[place]) : 0u);
    }
    return value;
  };
  const std::size_t directory = number(4, 4), entries = number(directory, 2);
  for (std::size_t entry = 0, at = directory + 2; entry < entries && at < tiff.size(); ++entry, at += 12) {
    const bool is_orientation = number(at, 2) == 0x0112 && number(at + 2, 2) == 3 && number(at + 4, 4) == 1;  // one short
    const std::size_t value = number(at + 8, 2);
    if (is_orientation) return value >= 1 && value <= 8 ? static_cast<int>(value) : 1;
  }
  return 1;
}

/// That of a JPEG file: in the APP1 part that begins with "Exif", in front of the picture.
inline int exif_orientation(std::string_view jpeg) {
  using namespace std::string_view_literals;
  const auto byte = [&](std::size_t at) { return at < jpeg.size() ? static_cast<unsigned char>(jpeg[at]) : std::size_t{0}; };
  for (std::size_t at = 2; byte(at) == 0xff;) {
    while (byte(at) == 0xff) ++at;
    const std::size_t marker = byte(at), length = byte(at + 1) * 256 + byte(at + 2);
    if (marker == 0xda || length < 2) return 1;
    const std::string_view part = jpeg.substr(std::min(at + 3, jpeg.size()), length - 2);
    constexpr std::string_view kExif = "Exif\0\0"sv;
    if (marker == 0xe1 && part.starts_with(kExif)) return tiff_orientation(part.substr(kExif.size()));
    at += 1 + length;
  }
  return 1;
}
}  // namespace detail

/// Reads a PNG, JPEG or binary PGM or PPM file; transparent pixels are laid on white, and a JPEG file is turned as its Exif part says. A size that the file is
/// too short for is refused before there is memory for it. Throws FileError.
inline Picture load_picture(const std::string& path) {
  std::error_code ignored;
  if (!std::filesystem::exists(path, ignored)) heed::fail<heed::FileError>(path, ": no such file");
  if (std::filesystem::is_directory(path, ignored)) heed::fail<heed::FileError>(path, ": expected a PNG, JPEG or PPM file, found a folder");
  const std::string file = heed::read_file(path);
  if (file.starts_with("P5") || file.starts_with("P6")) return detail::read_portable_map(path, file);
  const bool jpeg = file.starts_with("\xff\xd8");
  if (!jpeg && !file.starts_with("\x89PNG"))
    heed::fail<heed::FileError>(path, ": expected a PNG, JPEG or PPM file, but it cannot be read as one (it begins like none of them)");
  if (jpeg) detail::check_huffman_codes(path, file);
  const auto* content = reinterpret_cast<const unsigned char*>(file.data());
  const int length = static_cast<int>(std::min<std::size_t>(file.size(), std::numeric_limits<int>::max()));
  const auto refuse = [&] {
    const char* reason = stbi_failure_reason();
    heed::fail<heed::FileError>(
        path, ": expected a PNG, JPEG or PPM file, but it cannot be read as one (", reason ? reason : "no reason given", ")");
  };
  constexpr std::size_t kWidest = 8, kOwn = std::size_t{1} << 15;  // bytes of a pixel; what it takes for itself
  detail::most_at_once = std::max(kOwn, kWidest * static_cast<std::size_t>(kMostPixelsPerByte) * file.size());
  int width = 0, height = 0, channels = 0;
  if (!stbi_info_from_memory(content, length, &width, &height, &channels)) refuse();
  detail::check_size(path, width, height, file.size());
  const std::unique_ptr<unsigned char, void (*)(void*)> bytes(
      stbi_load_from_memory(content, length, &width, &height, &channels, 4), &stbi_image_free);
  if (!bytes) refuse();
  return turned(picture_on_white(bytes.get(), height, width), jpeg ? detail::exif_orientation(file) : 1);
}

/// The bytes of a PNG file; none if the picture could not be encoded.
inline std::string png_bytes(const Picture& picture) {
  std::string bytes;
  const auto append = [](void* to, void* from, int count) {
    static_cast<std::string*>(to)->append(static_cast<const char*>(from), static_cast<std::size_t>(count));
  };
  const int width = static_cast<int>(picture.width()), height = static_cast<int>(picture.height());
  return stbi_write_png_to_func(append, &bytes, width, height, 3, picture.data(), width * 3) ? bytes : std::string();
}

/// Writes a PNG file, whole or not at all. Throws FileError.
inline void save_png(const std::string& path, const Picture& picture) {
  const std::string bytes = png_bytes(picture);
  heed::require<heed::FileError>(!bytes.empty(), path, ": the picture could not be encoded");
  heed::write_file(path, bytes);
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

}  // namespace program
