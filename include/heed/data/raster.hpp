// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cmath>
#include <span>
#include <vector>

#include <heed/core/tensor.hpp>

namespace heed::inline HEED_ABI {

/// One image as numbers, (height, width, channels).
using Raster = Tensor<double, 3>;

/// What stands beyond the border of an image, for a b c d.
enum class Border {
  nearest,      ///< a a a | a b c d | d d d
  reflect,      ///< c b a | a b c d | d c b: the edge is repeated
  reflect_101,  ///< d c b | a b c d | c b a: it is not
};

/// The position 0 ... size - 1 that stands at any position.
inline Index border_index(Index position, Index size, Border border) {
  if (border == Border::nearest || size == 1) return std::clamp(position, Index{0}, size - 1);
  const Index edge = border == Border::reflect ? 1 : 0, period = 2 * (size - 1 + edge);
  position = (position % period + period) % period;
  return position < size ? position : period - edge - position;
}

/// exp(-x^2 / 2 sigma^2) at x = -radius ... radius, divided by its sum; sigma = 0 gives one 1.
inline std::vector<double> gaussian_kernel(double sigma, Index radius) {
  require(sigma >= 0 && radius >= 0, "gaussian_kernel: sigma is ", sigma, " and the radius ", radius, ", expected numbers from 0");
  std::vector<double> kernel(static_cast<std::size_t>(2 * radius + 1));
  double sum = 0;
  for (Index x = -radius; x <= radius; ++x) {
    const double distance = static_cast<double>(x);
    sum += kernel[static_cast<std::size_t>(x + radius)] = x == 0       ? 1
                                                          : sigma == 0 ? 0
                                                                       : std::exp(-0.5 * distance * distance / (sigma * sigma));
  }
  for (double& weight : kernel) weight /= sum;
  return kernel;
}

/// Each pixel becomes the sum of its surroundings times `kernel`, an odd number of rows and columns that lie around it (a correlation: the kernel is not turned).
inline Raster filter_raster(const Raster& image, const Tensor<double, 2>& kernel, Border border) {
  require(kernel.size(0) % 2 == 1 && kernel.size(1) % 2 == 1, "filter_raster: a kernel of shape ", kernel.shape(), ", expected odd sizes");
  const Index height = image.size(0), width = image.size(1), channels = image.size(2);
  const Index rows = kernel.size(0), columns = kernel.size(1);
  Raster result(image.shape());
  for (Index y = 0; y < height; ++y)
    for (Index r = 0; r < rows; ++r) {
      const Index from_y = border_index(y + r - rows / 2, height, border);
      for (Index c = 0; c < columns; ++c) {
        const double weight = kernel(r, c);
        if (weight == 0) continue;
        for (Index x = 0; x < width; ++x) {
          const double* pixel = &image(from_y, border_index(x + c - columns / 2, width, border), 0);
          for (Index channel = 0; channel < channels; ++channel) result(y, x, channel) += weight * pixel[channel];
        }
      }
    }
  return result;
}

/// The Gaussian filter of `sigma` pixels, cut off at round(truncate * sigma) pixels: one pass down and one across.
inline Raster gaussian_filter(const Raster& image, double sigma, double truncate, Border border) {
  const auto radius = std::lround(truncate * sigma);
  const std::vector<double> weights = gaussian_kernel(sigma, radius);
  Tensor<double, 2> down({2 * radius + 1, 1}), across({1, 2 * radius + 1});
  std::copy(weights.begin(), weights.end(), down.data());
  std::copy(weights.begin(), weights.end(), across.data());
  return filter_raster(filter_raster(image, down, border), across, border);
}

/// A point between the pixels of an image, their centres being whole numbers: the four around it and how much of each.
class BilinearPoint {
 public:
  /// The point (y, x), in pixels from the centre of the first; `border` tells what lies outside of the image.
  BilinearPoint(double y, double x, Index height, Index width, Border border)
      : lower_(y - std::floor(y)),
        right_(x - std::floor(x)),
        top_(border_index(static_cast<Index>(std::floor(y)), height, border)),
        bottom_(border_index(static_cast<Index>(std::floor(y)) + 1, height, border)),
        left_(border_index(static_cast<Index>(std::floor(x)), width, border)),
        far_(border_index(static_cast<Index>(std::floor(x)) + 1, width, border)) {}

  /// The image there; `at(y, x)` gives its pixels.
  template <class At>
  double operator()(const At& at) const {
    return (1 - lower_) * ((1 - right_) * at(top_, left_) + right_ * at(top_, far_)) +
           lower_ * ((1 - right_) * at(bottom_, left_) + right_ * at(bottom_, far_));
  }

 private:
  double lower_, right_;
  Index top_, bottom_, left_, far_;
};

/// The image of shape (height, width) whose pixel (y, x) is `image` at the point {y, x} that `from(y, x)` names.
template <class From>
Raster warp_raster(const Raster& image, Index height, Index width, Border border, const From& from) {
  Raster result({height, width, image.size(2)});
  for (Index y = 0; y < height; ++y)
    for (Index x = 0; x < width; ++x) {
      const auto [at_y, at_x] = from(y, x);
      const BilinearPoint point(at_y, at_x, image.size(0), image.size(1), border);
      for (Index c = 0; c < image.size(2); ++c) result(y, x, c) = point([&](Index i, Index j) { return image(i, j, c); });
    }
  return result;
}

/// Another size, each pixel the mean of those pixels whose centres lie in its box; an image that grows repeats its pixels.
inline Raster box_resize(const Raster& image, Index height, Index width) {
  struct Range {
    Index begin, end;
  };
  // Centres b + 1/2 in (i * step, (i + 1) * step]; if there is none, the pixel under the box's own centre.
  const auto range = [](Index i, Index from, Index to) {
    const double step = static_cast<double>(from) / static_cast<double>(to);
    const auto first = [&](double edge) { return static_cast<Index>(std::floor(edge + 0.5)); };
    const Index begin = first(static_cast<double>(i) * step), end = std::min(from, first(static_cast<double>(i + 1) * step));
    const auto centre = static_cast<Index>((static_cast<double>(i) + 0.5) * step);
    return from > to && begin < end ? Range{begin, end} : Range{centre, centre + 1};
  };
  Raster result({height, width, image.size(2)});
  for (Index y = 0; y < height; ++y)
    for (Index x = 0; x < width; ++x) {
      const Range rows = range(y, image.size(0), height), columns = range(x, image.size(1), width);
      const double share = 1.0 / static_cast<double>((rows.end - rows.begin) * (columns.end - columns.begin));
      for (Index r = rows.begin; r < rows.end; ++r)
        for (Index s = columns.begin; s < columns.end; ++s)
          for (Index c = 0; c < image.size(2); ++c) result(y, x, c) += share * image(r, s, c);
    }
  return result;
}

}  // namespace heed::inline HEED_ABI
