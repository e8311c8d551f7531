// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <numbers>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include <heed/core/random.hpp>
#include <heed/data/dataset.hpp>
#include <heed/data/hsv.hpp>
#include <heed/data/raster.hpp>
#include <heed/data/shuffle.hpp>

namespace heed::inline HEED_ABI {

/// What can befall a picture: noise, blur, light, coarse pixels, deformation. Kinds and constants of Hendrycks and Dietterich, "Benchmarking Neural Network
/// Robustness to Common Corruptions and Perturbations" (2019), as they have them for pictures of 32 x 32, and four deformations more. Accuracies are not
/// comparable with those on the published files: random numbers and rounding differ.
enum class Corruption : unsigned char {
  gaussian_noise,
  shot_noise,
  impulse_noise,
  speckle_noise,
  gaussian_blur,
  defocus_blur,
  zoom_blur,
  brightness,
  contrast,
  saturate,
  pixelate,
  elastic_transform,
  translate,
  rotate,
  shear,
  scale,
};

inline constexpr int kCorruptions = 16;  ///< kinds of corruption
/// Whether images of so many channels can have it: brightness and saturation are those of red, green and blue.
constexpr bool fits_channels(Corruption kind, Index channels) {
  return channels == 3 || (kind != Corruption::brightness && kind != Corruption::saturate);
}
/// All that images of so many channels can have, in their order.
inline std::vector<Corruption> all_corruptions(Index channels = 3) {
  std::vector<Corruption> all;
  for (int kind = 0; kind < kCorruptions; ++kind)
    if (fits_channels(static_cast<Corruption>(kind), channels)) all.push_back(static_cast<Corruption>(kind));
  return all;
}
/// Of each corruption, from 1 on.
inline constexpr int kSeverities = 5;

/// "gaussian_noise", "shot_noise", ...
constexpr std::string_view corruption_name(Corruption kind) {
  constexpr std::array<std::string_view, kCorruptions> kNames = {"gaussian_noise", "shot_noise", "impulse_noise", "speckle_noise",
      "gaussian_blur", "defocus_blur", "zoom_blur", "brightness", "contrast", "saturate", "pixelate", "elastic_transform", "translate",
      "rotate", "shear", "scale"};
  return kNames[static_cast<std::size_t>(kind)];
}

/// Throws ShapeError for a corruption that does not fit (`fits_channels`).
inline void check_corruption(Corruption kind, Index channels) {
  require<ShapeError>(fits_channels(kind, channels), "corruption ", corruption_name(kind), ": it is that of red, green and blue, found ",
      channels, " channels; all_corruptions(", channels, ") are those that fit");
}

namespace detail {

/// Corrupts one image. Random numbers come from one stream of (seed, image, corruption, severity).
class Corrupter {
 public:
  Corrupter(int severity, const CounterRandom& random) : level_(static_cast<std::size_t>(severity - 1)), random_(random) {}

  Raster operator()(Corruption kind, const Raster& x) const {
    switch (kind) {
      case Corruption::gaussian_noise:
        return each(x, [sigma = of(.04, .06, .08, .09, .10)](
                           double v, const CounterRandom& random, std::uint64_t i) { return v + sigma * random.normal(i); });
      case Corruption::shot_noise:
        return each(x, [photons = of(500, 250, 100, 75, 50)](double v, const CounterRandom& random, std::uint64_t i) {
          return poisson(v * photons, random.uniform(i)) / photons;
        });
      case Corruption::impulse_noise:
        return each(x, [share = of(.01, .02, .03, .05, .07)](double v, const CounterRandom& random, std::uint64_t i) {
          const double drawn = random.uniform(i);
          return drawn >= share ? v : drawn < share / 2 ? 1.0 : 0.0;
        });
      case Corruption::speckle_noise:
        return each(x, [sigma = of(.06, .1, .12, .16, .2)](
                           double v, const CounterRandom& random, std::uint64_t i) { return v + v * sigma * random.normal(i); });
      case Corruption::gaussian_blur:
        return gaussian_filter(x, of(.4, .6, .7, .8, 1), 4, Border::nearest);
      case Corruption::defocus_blur:
        return filter_raster(x, disk(of(.3, .4, .5, 1, 1.5), of(.4, .5, .6, .2, .1)), Border::reflect_101);
      case Corruption::zoom_blur:
        return zoom_blur(x, static_cast<int>(of(6, 11, 16, 21, 26)));
      case Corruption::brightness:
        return each_hsv(x, [more = of(.05, .1, .15, .2, .3)](std::array<double, 3>& hsv) { hsv[2] = clip(hsv[2] + more); });
      case Corruption::contrast:
        return contrast(x, of(.75, .5, .4, .3, .15));
      case Corruption::saturate:
        return each_hsv(x, [factor = of(.3, .1, 1.5, 2, 2.5), more = of(0, 0, 0, .1, .2)](
                               std::array<double, 3>& hsv) { hsv[1] = clip(hsv[1] * factor + more); });
      case Corruption::pixelate:
        return pixelate(x, of(.95, .9, .85, .75, .65));
      case Corruption::elastic_transform:
        return elastic(x, of(0, .05, .08, .1, .1), of(0, .2, .06, .04, .03), of(.08, .07, .06, .05, .03));
      case Corruption::translate:
        return around_centre(x, {.y0 = sign(0) * of(1, 2, 3, 5, 7), .x0 = sign(1) * of(1, 2, 3, 5, 7)});
      case Corruption::rotate: {
        const double angle = sign(0) * degrees(), cosine = std::cos(angle), sine = std::sin(angle);
        return around_centre(x, {.yy = cosine, .yx = sine, .xy = -sine, .xx = cosine});
      }
      case Corruption::shear:
        return around_centre(x, {.xy = std::tan(sign(0) * degrees())});
      default: {
        const double factor = 1 + sign(0) * of(.06, .12, .18, .24, .30);
        return around_centre(x, {.yy = 1 / factor, .xx = 1 / factor});
      }
    }
  }

 private:
  /// The point of the image that a pixel comes from: y = yy y' + yx x' + y0, x = xy y' + xx x' + x0.
  struct Affine {
    double yy = 1, yx = 0, y0 = 0, xy = 0, xx = 1, x0 = 0;
    std::array<double, 2> operator()(double y, double x) const { return {yy * y + yx * x + y0, xy * y + xx * x + x0}; }
  };

  static double clip(double v) { return std::clamp(v, 0.0, 1.0); }
  double of(double first, double second, double third, double fourth, double fifth) const {
    return std::array{first, second, third, fourth, fifth}[level_];
  }
  double degrees() const { return of(3, 6, 9, 12, 15) * std::numbers::pi / 180; }
  /// +1 or -1.
  double sign(std::uint64_t counter) const { return random_.below(counter, 2) == 0 ? 1 : -1; }

  /// Each number of the image by itself, with its place in the random stream.
  template <class Change>
  Raster each(const Raster& x, const Change& change) const {
    Raster result(x.shape());
    for (Index i = 0; i < x.size(); ++i) result[i] = change(x[i], random_, static_cast<std::uint64_t>(i));
    return result;
  }
  template <class Change>
  static Raster each_hsv(const Raster& x, const Change& change) {
    Raster result(x.shape());
    for (Index i = 0; i < x.size(); i += 3) {
      std::array<double, 3> hsv = rgb_to_hsv({x[i], x[i + 1], x[i + 2]});
      change(hsv);
      const std::array<double, 3> rgb = hsv_to_rgb(hsv);
      std::copy(rgb.begin(), rgb.end(), &result[i]);
    }
    return result;
  }

  /// The number of events, `mean` of which are expected, at a point 0 ... 1 of their distribution.
  static double poisson(double mean, double point) {
    double share = std::exp(-mean), sum = share, events = 0;
    // Beyond it all that is left is less than what `sum` can tell from 1.
    const double most = mean + 40 + 12 * std::sqrt(mean);
    while (point >= sum && events < most) sum += share *= mean / ++events;
    return events;
  }

  /// A disk of `radius` pixels, smoothed by a Gaussian of 3 x 3.
  static Tensor<double, 2> disk(double radius, double sigma) {
    constexpr Index kReach = 3;  // the largest disk and its smoothing
    Raster sharp({2 * kReach + 1, 2 * kReach + 1, 1});
    double pixels = 0;
    for (Index y = -kReach; y <= kReach; ++y)
      for (Index x = -kReach; x <= kReach; ++x)
        pixels += sharp(y + kReach, x + kReach, 0) = static_cast<double>(y * y + x * x) <= radius * radius ? 1 : 0;
    const Raster smooth = gaussian_filter(sharp, sigma, 1 / sigma, Border::reflect_101);
    Tensor<double, 2> kernel({2 * kReach + 1, 2 * kReach + 1});
    for (Index i = 0; i < kernel.size(); ++i) kernel[i] = smooth[i] / pixels;
    return kernel;
  }

  /// The mean of the image and of `zooms` zooms of it by 1, 1.01, 1.02, ...
  static Raster zoom_blur(const Raster& x, int zooms) {
    Raster sum = x;
    for (int k = 0; k < zooms; ++k) {
      const Zoom down(x.size(0), 1 + k / 100.0), across(x.size(1), 1 + k / 100.0);
      const Raster zoomed = warp_raster(x, x.size(0), x.size(1), Border::nearest, [&](Index i, Index j) {
        return std::array{down(i), across(j)};
      });
      for (Index i = 0; i < sum.size(); ++i) sum[i] += zoomed[i];
    }
    for (double& v : sum.span()) v /= zooms + 1;
    return sum;
  }
  /// Along one axis: the middle ceil(size / factor) pixels stretched to factor times as many, of which the middle `size` are kept.
  struct Zoom {
    Zoom(Index size, double factor) {
      const auto cropped = static_cast<Index>(std::ceil(static_cast<double>(size) / factor));
      const auto grown = std::lround(static_cast<double>(cropped) * factor);
      first = (size - cropped) / 2;
      trimmed = (grown - size) / 2;
      step = grown > 1 ? static_cast<double>(cropped - 1) / static_cast<double>(grown - 1) : 0;
    }
    double operator()(Index i) const { return static_cast<double>(first) + static_cast<double>(i + trimmed) * step; }
    Index first, trimmed;
    double step;
  };

  static Raster contrast(const Raster& x, double factor) {
    const Index channels = x.size(2);
    Raster result(x.shape());
    for (Index c = 0; c < channels; ++c) {
      double mean = 0;
      for (Index i = c; i < x.size(); i += channels) mean += x[i];
      mean /= static_cast<double>(x.size() / channels);
      for (Index i = c; i < x.size(); i += channels) result[i] = (x[i] - mean) * factor + mean;
    }
    return result;
  }

  static Raster pixelate(const Raster& x, double share) {
    const auto less = [share](Index size) { return std::max(Index{1}, static_cast<Index>(static_cast<double>(size) * share)); };
    return box_resize(box_resize(x, less(x.size(0)), less(x.size(1))), x.size(0), x.size(1));
  }

  /// Three corners of a square in the middle move by up to `corner` along each axis, and the image with them; then each pixel comes from a place that a smooth
  /// random field of height `field` and width `sigma` names. All three are in widths of the image.
  Raster elastic(const Raster& x, double field, double sigma, double corner) const {
    const Index height = x.size(0), width = x.size(1);
    const auto unit = static_cast<double>(width);
    const auto s = static_cast<double>(std::min(height, width) / 3), cy = static_cast<double>(height / 2),
               cx = static_cast<double>(width / 2);
    const CounterRandom moves{random_.key(), 1};
    // Corners (y, x) before and after.
    const double y[] = {cy + s, cy - s, cy - s}, at_x[] = {cx + s, cx + s, cx - s};
    double to_y[3], to_x[3];
    for (std::size_t i = 0; i < 3; ++i) {
      to_y[i] = y[i] + moves.uniform(2 * i, -corner, corner) * unit;
      to_x[i] = at_x[i] + moves.uniform(2 * i + 1, -corner, corner) * unit;
    }
    Raster moved = s == 0 ? x : warp(x, through(to_y, to_x, y, at_x));
    if (field == 0) return moved;
    const auto smooth = [&](std::uint64_t number) {
      const CounterRandom random{random_.key(), number};
      Raster noise({height, width, 1});
      for (Index i = 0; i < noise.size(); ++i) noise[i] = random.uniform(static_cast<std::uint64_t>(i), -1, 1);
      return gaussian_filter(noise, sigma * unit, 3, Border::reflect);
    };
    const Raster dy = smooth(2), dx = smooth(3);
    return warp_raster(moved, height, width, Border::reflect, [&](Index i, Index j) {
      return std::array{static_cast<double>(i) + dy(i, j, 0) * field * unit, static_cast<double>(j) + dx(i, j, 0) * field * unit};
    });
  }
  /// The map that takes the three points `from` to `to`.
  static Affine through(const double (&from_y)[3], const double (&from_x)[3], const double (&to_y)[3], const double (&to_x)[3]) {
    const double ay = from_y[1] - from_y[0], ax = from_x[1] - from_x[0], by = from_y[2] - from_y[0], bx = from_x[2] - from_x[0];
    const double area = ay * bx - ax * by;
    const auto row = [&](const double(&to)[3]) {
      const double a = to[1] - to[0], b = to[2] - to[0];
      const double along_y = (a * bx - b * ax) / area, along_x = (b * ay - a * by) / area;
      return std::array{along_y, along_x, to[0] - along_y * from_y[0] - along_x * from_x[0]};
    };
    const auto [yy, yx, y0] = row(to_y);
    const auto [xy, xx, x0] = row(to_x);
    return {yy, yx, y0, xy, xx, x0};
  }

  static Raster warp(const Raster& x, const Affine& from) {
    return warp_raster(x, x.size(0), x.size(1), Border::reflect_101,
        [&](Index i, Index j) { return from(static_cast<double>(i), static_cast<double>(j)); });
  }
  static Raster around_centre(const Raster& x, Affine from) {
    const double y = static_cast<double>(x.size(0) - 1) / 2, z = static_cast<double>(x.size(1) - 1) / 2;
    const auto centre = Affine{from.yy, from.yx, 0, from.xy, from.xx, 0}(y, z);
    from.y0 += y - centre[0];
    from.x0 += z - centre[1];
    return warp(x, from);
  }

  std::size_t level_;
  const CounterRandom& random_;
};

}  // namespace detail

/// Corrupts one image of `shape` {height, width, channels}, a pure function of all its arguments: `out` may be `pixels`. Bytes count as 0 to 1, what leaves that
/// range is cut off, and what comes out is rounded down to bytes. Lengths are in pixels, made for 32 x 32; elastic_transform's are in widths.
///
/// | corruption | severities 1 to 5 |
/// |---|---|
/// | gaussian_noise | normal, deviation .04 .06 .08 .09 .10, added to each channel |
/// | shot_noise | Poisson of mean v c, divided by c: 500 250 100 75 50 |
/// | impulse_noise | a share of .01 .02 .03 .05 .07 of all numbers becomes 0 or 1 |
/// | speckle_noise | v times a normal of deviation .06 .1 .12 .16 .2, added |
/// | gaussian_blur | deviation .4 .6 .7 .8 1 pixels |
/// | defocus_blur | a disk of radius .3 .4 .5 1 1.5 pixels, smoothed by 3 x 3 of deviation .4 .5 .6 .2 .1 |
/// | zoom_blur | mean of the image and zooms of 1, 1.01, ... below 1.06 1.11 1.16 1.21 1.26 |
/// | brightness | value (HSV) + .05 .1 .15 .2 .3 |
/// | contrast | distance to the channel's mean times .75 .5 .4 .3 .15 |
/// | saturate | saturation (HSV) times .3 .1 1.5 2 2.5, plus 0 0 0 .1 .2 |
/// | pixelate | boxes: to .95 .9 .85 .75 .65 of the size and back |
/// | elastic_transform | smooth field of height 0 .05 .08 .1 .1 and width 0 .2 .06 .04 .03 after corners that move by up to .08 .07 .06 .05 .03 |
/// | translate | 1 2 3 5 7 pixels along both axes, each at random one way or the other |
/// | rotate | 3 6 9 12 15 degrees, to the left or the right |
/// | shear | rows slide over each other: an upright line leans by 3 6 9 12 15 degrees to the left or the right |
/// | scale | 1 + or - .06 .12 .18 .24 .30 |
///
/// Throws std::invalid_argument unless 1 <= severity <= 5, ShapeError for an image without pixels, or if brightness or saturate meets other than three channels.
inline void corrupt(
    Corruption kind, int severity, std::uint64_t seed, Index image, const Shape& shape, const std::uint8_t* pixels, std::uint8_t* out) {
  require(severity >= 1 && severity <= kSeverities, "corrupt: severity ", severity, ", expected 1 to ", kSeverities);
  require<ShapeError>(
      shape.rank() == 3 && shape.size() > 0, "corrupt: an image shape is {height, width, channels}, none of them 0, found ", shape);
  check_corruption(kind, shape[2]);
  const CounterRandom random{static_cast<std::uint64_t>(DataStream::corruption), seed, static_cast<std::uint64_t>(image),
      static_cast<std::uint64_t>(kind), static_cast<std::uint64_t>(severity)};
  Raster x(shape);
  for (Index i = 0; i < x.size(); ++i) x[i] = pixels[i] / 255.0;
  x = detail::Corrupter(severity, random)(kind, x);
  for (Index i = 0; i < x.size(); ++i) out[i] = static_cast<std::uint8_t>(std::clamp(x[i], 0.0, 1.0) * 255);
}

/// A data set of byte images as it looks after one corruption; image i is corrupted alike whenever it is fetched. Looks at the data set, which must outlive it.
template <Dataset D>
class CorruptedDataset {
  static_assert(std::is_same_v<DatasetPixel<D>, std::uint8_t>, "heed: corruptions are those of byte images (std::uint8_t)");

 public:
  /// Throws std::invalid_argument unless 1 <= severity <= 5, ShapeError if the images cannot have the corruption.
  CorruptedDataset(const D& dataset, Corruption kind, int severity, std::uint64_t seed = 0)
      : dataset_(&dataset), kind_(kind), severity_(severity), seed_(seed) {
    require(severity >= 1 && severity <= kSeverities, "CorruptedDataset: severity ", severity, ", expected 1 to ", kSeverities);
    check_corruption(kind, checked_image_shape(dataset)[2]);
  }
  HEED_REFUSED("the data set is looked at, not copied, and a temporary is gone before it is used: give it a name")
  CorruptedDataset(const D&&, Corruption, int, std::uint64_t = 0);

  Index size() const { return dataset_->size(); }
  Shape image_shape() const { return dataset_->image_shape(); }
  int classes() const { return dataset_->classes(); }
  std::vector<std::string> class_names() const { return heed::class_names(*dataset_); }
  int label(Index example) const { return dataset_->label(example); }
  /// Writes the corrupted pixels, height x width x channels.
  void fetch(Index example, std::uint8_t* pixels) const {
    corrupt(kind_, severity_, seed_, example, image_shape(), image_pixels(*dataset_, example, pixels), pixels);
  }

 private:
  const D* dataset_;
  Corruption kind_;
  int severity_;
  std::uint64_t seed_;
};

}  // namespace heed::inline HEED_ABI
