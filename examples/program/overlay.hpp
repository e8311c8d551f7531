// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include <fmt/core.h>

#include <heed/train/attention_map.hpp>

#include "picture_file.hpp"

namespace program {

/// One picture, what the net says, and what counts for each token of its map, as a multiple of the average.
struct Attended {
  Picture picture;
  std::string title, caption;
  heed::Tensor<float, 2> map;  ///< (rows, columns), with mean 1, over the centred square of the picture
};

namespace detail {
constexpr Index kTile = 256, kGap = 16, kLine = 22;  // pixels: side of a tile, between tiles, of a line of text
constexpr Colour kPaper{250, 250, 248}, kInk{40, 40, 40}, kPale{120, 120, 120};

/// The picture, as large as a tile allows, with the map of tokens on `grid` laid over its centred square; what the net did not see is paled.
inline Picture with_heat(const Picture& scaled, const heed::Tensor<float, 2>& map, const heed::TokenGrid& grid, double top) {
  Picture result = scaled;
  const Square square = centre_square(scaled);
  const heed::Tensor<float, 2> heat = heed::spread_map<float>(map, square.side, square.side, grid, grid);
  for (Index y = 0; y < result.height(); ++y)
    for (Index x = 0; x < result.width(); ++x) {
      std::uint8_t* pixel = result.pixel(y, x);
      const Index row = y - square.top, column = x - square.left;
      const double grey = 0.3 * pixel[0] + 0.59 * pixel[1] + 0.11 * pixel[2];
      if (row < 0 || column < 0 || row >= square.side || column >= square.side) {
        for (int c = 0; c < 3; ++c) pixel[c] = static_cast<std::uint8_t>(200 + grey / 6);
        continue;
      }
      const double value = heat(row, column) / top;
      const Colour colour = heat_colour(value);
      const double cover = 0.35 + 0.4 * std::min(value, 1.0);  // cold places show the picture, hot ones the colour
      for (std::size_t c = 0; c < 3; ++c)
        pixel[c] = static_cast<std::uint8_t>((1 - cover) * (0.5 * pixel[c] + 0.5 * grey) + cover * colour[c]);
    }
  return result;
}

inline std::string shortened(std::string text, Index width, int scale) {
  if (text_width(text, scale) <= width) return text;
  while (!text.empty() && text_width("..." + text, scale) > width) text.erase(0, 1);
  return "..." + text;
}
}  // namespace detail

/// The picture as large as a tile of the sheet allows.
inline Picture fit_tile(const Picture& picture) {
  const double factor = static_cast<double>(detail::kTile) / static_cast<double>(std::max(picture.height(), picture.width()));
  const auto side = [&](Index pixels) { return std::max<Index>(1, static_cast<Index>(std::lround(static_cast<double>(pixels) * factor))); };
  return resize(picture, side(picture.height()), side(picture.width()));
}

/// Each picture beside the same with its heat map, two to a row where there are several, with title and caption, and a legend at the
/// bottom that begins with the words `legend`. The tokens of the maps lie on `grid`. Colours go up to each picture's own peak.
inline Picture overlay_sheet(const std::vector<Attended>& items, const heed::TokenGrid& grid, const std::string& legend) {
  using namespace detail;
  constexpr Index kItemWidth = 2 * kTile + kGap / 2, kItemHeight = kTile + 2 * kLine + kGap;
  const Index columns = items.size() > 1 ? 2 : 1, rows = (static_cast<Index>(items.size()) + columns - 1) / columns;
  Picture sheet(rows * (kItemHeight + kGap) + kGap + 2 * kLine, columns * (kItemWidth + kGap) + kGap, kPaper);

  for (std::size_t i = 0; i < items.size(); ++i) {
    const Index y = kGap + static_cast<Index>(i) / columns * (kItemHeight + kGap),
                x = kGap + static_cast<Index>(i) % columns * (kItemWidth + kGap);
    const Picture scaled = fit_tile(items[i].picture);
    const heed::Tensor<float, 2>& map = items[i].map;
    const double peak = static_cast<double>(*std::max_element(map.data(), map.data() + map.size()));
    const double top = std::max(peak, 2.0);  // a map without any peak shall look like one
    const Index down = (kTile - scaled.height()) / 2, along = (kTile - scaled.width()) / 2;
    sheet.paste(scaled, y + down, x + along);
    sheet.paste(with_heat(scaled, map, grid, top), y + down, x + kTile + kGap / 2 + along);
    const std::string note = fmt::format("  peak {:.1f} x average", peak);
    draw_text(sheet, y + kTile + 8, x, shortened(items[i].title, kItemWidth - text_width(note, 2), 2) + note, kPale, 2);
    draw_text(sheet, y + kTile + 8 + kLine, x, shortened(items[i].caption, kItemWidth, 2), kInk, 2);
  }

  const Index y = sheet.height() - 2 * kLine, bar = kItemWidth / 3;
  draw_text(sheet, y, kGap, legend, kInk, 2);
  const Index left = kGap + text_width(legend, 2) + 8;
  for (Index x = 0; x < bar; ++x) sheet.fill(y - 2, left + x, 18, 1, heat_colour(static_cast<double>(x) / static_cast<double>(bar - 1)));
  draw_text(sheet, y, left + bar + 8, "peak", kInk, 2);
  return sheet;
}

/// Writes that sheet as a PNG for pictures with `titles` and `captions` and their maps (pictures, rows, columns), which may have any unit, and says so. Throws
/// FileError.
inline void save_overlay(const std::string& path, std::vector<Picture> pictures, const std::vector<std::string>& titles,
    const std::vector<std::string>& captions, const heed::Tensor<float, 3>& maps, const heed::TokenGrid& grid, const std::string& legend) {
  std::vector<Attended> items;
  for (std::size_t i = 0; i < pictures.size(); ++i) {
    heed::Tensor<float, 2> map({maps.size(1), maps.size(2)});
    std::copy_n(&maps(static_cast<Index>(i), 0, 0), map.size(), map.data());
    const float mean = map.matrix().mean();
    if (mean > 0) map.matrix() /= mean;
    items.push_back({std::move(pictures[i]), titles[i], captions[i], std::move(map)});
  }
  save_png(path, overlay_sheet(items, grid, legend));
  fmt::print("where the model looked: {}\n", path);
}

}  // namespace program
