// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <numbers>
#include <string>
#include <utility>
#include <vector>

#include <heed/core/parallel.hpp>
#include <heed/core/random.hpp>
#include <heed/data/cifar.hpp>
#include <heed/data/shuffle.hpp>

namespace heed::inline HEED_ABI {

/// The size and the seed of the generated sample set.
struct GeneratedOptions {
  Index train = 10000;     ///< a multiple of 5, for the five batches of the format
  Index test = 2000;       ///< images for testing
  std::uint64_t seed = 0;  ///< of the drawing: the same seed draws the same images
};

/// The classes of the generated sample set. The shape alone tells the class.
inline std::vector<std::string> generated_class_names() {
  return {"circle", "square", "triangle", "cross", "ring", "star", "stripes", "checker", "crescent", "bowtie"};
}

namespace detail {

/// Is the point (u, v) inside the shape of class `label`? u points right, v down, and the shape fits the unit circle or a little more.
inline bool inside_shape(int label, double u, double v) {
  const double radius = std::hypot(u, v), across = std::abs(u), along = std::abs(v), larger = std::max(across, along);
  switch (label) {
    case 0:
      return radius < 0.95;
    case 1:
      return larger < 0.84;
    case 2:
      return v < 0.6 && across < (v + 1.0) * 0.62;
    case 3:
      return larger < 1.0 && std::min(across, along) < 0.3;
    case 4:
      return radius < 1.0 && radius > 0.55;
    case 5: {  // five points: the edge runs straight from a tip at radius 1 to a notch at radius 0.42, mirrored every 36 degrees
      constexpr double kSector = std::numbers::pi / 5, kNotch = 0.42;
      const double turn = std::abs(std::remainder(std::atan2(u, -v), 2 * kSector));
      const double x = radius * std::cos(turn), y = radius * std::sin(turn);
      const double notch_x = kNotch * std::cos(kSector), notch_y = kNotch * std::sin(kSector);
      return (x - 1.0) * notch_y + y * (1.0 - notch_x) < 0.0;
    }
    case 6:
      return larger < 0.95 && (along < 0.2 || along > 0.57);
    case 7:
      return larger < 0.96 && (static_cast<int>((u + 0.96) * 1.5625) + static_cast<int>((v + 0.96) * 1.5625)) % 2 == 0;
    case 8:
      return radius < 1.0 && std::hypot(u - 0.5, v) > 0.78;
    default:
      return across < 0.95 && along < 0.12 + 0.75 * across;
  }
}

/// Numbers from one stream, one after another.
class NumberedDraws {
 public:
  explicit NumberedDraws(const CounterRandom& random) : random_(random) {}
  double operator()(double low, double high) { return random_.uniform(next_++, low, high); }

 private:
  CounterRandom random_;
  std::uint64_t next_ = 0;
};

/// Draws one picture: 32 x 32 x 3 bytes, a function of (seed, part, number, label).
inline void draw_generated_image(std::uint64_t seed, std::uint64_t part, Index number, int label, std::uint8_t* pixels) {
  using Colour = std::array<double, 3>;
  constexpr double kContrast = 55;  // least distance in RGB between the shape and each corner of the background
  constexpr int kFine = 2;          // points a pixel and direction: softens the edges as a camera does
  const CounterRandom key{static_cast<std::uint64_t>(DataStream::generated), seed, part, static_cast<std::uint64_t>(number)};
  const CounterRandom noise{key.key(), 1};
  NumberedDraws draw(key);

  const double scale = draw(6.0, 11.5), angle = draw(-0.5, 0.5);  // pixels; radians
  const double centre_x = 15.5 + draw(-5.0, 5.0), centre_y = 15.5 + draw(-5.0, 5.0);
  const double gradient_angle = draw(0.0, 2 * std::numbers::pi), noise_size = draw(8.0, 60.0);
  const double cosine = std::cos(angle), sine = std::sin(angle), slope_x = std::cos(gradient_angle) / 45,
               slope_y = std::sin(gradient_angle) / 45;

  Colour shape, from, to;
  const auto distance = [](const Colour& a, const Colour& b) { return std::hypot(a[0] - b[0], a[1] - b[1], a[2] - b[2]); };
  for (double& c : from) c = draw(20, 235);
  for (std::size_t c = 0; c < 3; ++c) to[c] = std::clamp(from[c] + draw(-60, 60), 0.0, 255.0);
  do
    for (double& c : shape) c = draw(0, 255);
  while (distance(shape, from) < kContrast || distance(shape, to) < kContrast);

  std::uint64_t drawn = 0;
  for (int y = 0; y < kCifarSide; ++y)
    for (int x = 0; x < kCifarSide; ++x) {
      int covered = 0;
      for (int fine = 0; fine < kFine * kFine; ++fine) {
        const double dx = x + (fine % kFine + 0.5) / kFine - 0.5 - centre_x, dy = y + (fine / kFine + 0.5) / kFine - 0.5 - centre_y;
        covered += inside_shape(label, (dx * cosine + dy * sine) / scale, (dy * cosine - dx * sine) / scale);
      }
      const double share = static_cast<double>(covered) / (kFine * kFine);
      const double way = std::clamp(0.5 + (x - 15.5) * slope_x + (y - 15.5) * slope_y, 0.0, 1.0);
      for (std::size_t c = 0; c < 3; ++c) {
        const double background = from[c] + (to[c] - from[c]) * way;
        const double value =
            background + (shape[c] - background) * share + noise_size * (noise.uniform(drawn) + noise.uniform(drawn + 1) - 1.0);
        drawn += 2;  // the sum of two uniform numbers: bell enough for noise, and free of logarithms
        *pixels++ = static_cast<std::uint8_t>(std::clamp(value + 0.5, 0.0, 255.0));
      }
    }
}

inline ImageDataset draw_generated_images(Index count, std::uint64_t seed, std::uint64_t part) {
  auto images = Tensor<std::uint8_t, 4>::uninitialized(image_shape(count, kCifarSide, kCifarSide, kCifarChannels));
  std::vector<int> labels(static_cast<std::size_t>(count));
  for (Index i = 0; i < count; ++i) labels[static_cast<std::size_t>(i)] = static_cast<int>(i % 10);
  std::uint8_t* pixels = images.data();
  parallel_for(count, 64, [&](Index begin, Index end) {
    for (Index i = begin; i < end; ++i) draw_generated_image(seed, part, i, static_cast<int>(i % 10), pixels + i * kCifarPixels);
  });
  return {std::move(images), std::move(labels), 10, generated_class_names()};
}

}  // namespace detail

/// The generated sample set in memory: ten classes of drawn shapes on 32 x 32 pixels, as many of each, of random colour, size, position and
/// inclination, on a background that changes from one random colour to another, with noise. A pure function of the seed; a longer set
/// starts with the pictures of a shorter one. It stands in where CIFAR-10 cannot be had, so that every program runs; its accuracies say
/// nothing about photographs. Convolutions learn it within minutes, a linear classifier cannot.
inline TrainTest generated_images(const GeneratedOptions& options = {}) {
  require(options.train > 0 && options.train % 5 == 0 && options.test > 0, "generated_images: ", options.train, " training and ",
      options.test, " test images; expected a multiple of 5, and at least one");
  return {detail::draw_generated_images(options.train, options.seed, 0), detail::draw_generated_images(options.test, options.seed, 1)};
}

/// Do the classes bear the names of the generated sample set?
template <Dataset D>
bool is_generated(const D& dataset) {
  return class_names(dataset) == generated_class_names();
}

/// Writes the generated sample set in CIFAR-10's format, which `load_cifar10` reads. Throws FileError if the folder holds other data in
/// that format, which it never overwrites, or cannot be written.
inline void write_generated_set(const std::filesystem::path& folder, const GeneratedOptions& options = {}) {
  if (detail::read_class_names(folder / "batches.meta.txt", 10, {}) != generated_class_names()) {
    std::error_code error;
    for (const std::string& name : detail::cifar10_files())
      if (std::filesystem::exists(folder / name, error))
        fail<FileError>(
            (folder / name).string(), ": expected a free folder for the generated sample set, found other data; choose another");
  }
  write_cifar10_folder(folder, generated_images(options));
}

}  // namespace heed::inline HEED_ABI
