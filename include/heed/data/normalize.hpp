// SPDX-License-Identifier: MIT
#pragma once

#include <cmath>
#include <cstdint>
#include <string>
#include <type_traits>
#include <vector>

#include <heed/data/dataset.hpp>

namespace heed::inline HEED_ABI {

/// Mean and standard deviation of each channel: a pixel x becomes (x - mean) / deviation. Bytes count as 0 to 1 (x / 255), floating-point
/// pixels as they are. Both empty: no normalisation (bytes still become 0 to 1).
struct Normalization {
  std::vector<double> mean, deviation;  ///< one number a channel; deviations above zero

  /// CIFAR-10's training set, to four digits.
  static Normalization cifar10() { return {{0.4914, 0.4822, 0.4465}, {0.2470, 0.2435, 0.2616}}; }
  /// CIFAR-100's training set, to four digits.
  static Normalization cifar100() { return {{0.5071, 0.4865, 0.4409}, {0.2673, 0.2564, 0.2762}}; }

  /// Whether there is no normalisation.
  bool empty() const { return mean.empty() && deviation.empty(); }
  /// Equal numbers.
  friend bool operator==(const Normalization&, const Normalization&) = default;
};

/// A Normalization made ready for pixels of type P: a value is pixel * scale[channel] + shift[channel], one multiplication and one addition. These are made in
/// the wider one of P and T, so that double pixels far from zero keep their digits in a float model.
template <class P, class T>
struct PixelScale {
  using Factor = std::common_type_t<P, T>;  ///< T, but for double pixels
  std::vector<Factor> scale, shift;         ///< one number a channel

  PixelScale() = default;
  /// Throws std::invalid_argument unless there are `channels` means and as many deviations above zero, or none of either, and for a deviation so small that the
  /// factor or the shift is not finite.
  PixelScale(const Normalization& normalization, Index channels) {
    const auto count = static_cast<std::size_t>(channels);
    require(normalization.empty() || (normalization.mean.size() == count && normalization.deviation.size() == count),
        "Normalization: ", normalization.mean.size(), " means and ", normalization.deviation.size(), " deviations for images of ", channels,
        " channels");
    const double unit = std::is_same_v<P, std::uint8_t> ? 255.0 : 1.0;
    for (std::size_t c = 0; c < count; ++c) {
      const double mean = normalization.empty() ? 0.0 : normalization.mean[c];
      const double deviation = normalization.empty() ? 1.0 : normalization.deviation[c];
      require(deviation > 0 && std::isfinite(deviation) && std::isfinite(mean), "Normalization: channel ", c, " has mean ", mean,
          " and deviation ", deviation, "; the deviation must be above zero");
      scale.push_back(static_cast<Factor>(1.0 / (unit * deviation)));
      shift.push_back(static_cast<Factor>(-mean / deviation));
      require(std::isfinite(scale.back()) && std::isfinite(shift.back()), "Normalization: channel ", c, " has mean ", mean,
          " and deviation ", deviation, "; 1 / deviation and mean / deviation must be finite numbers of ", 8 * sizeof(Factor), " bits");
    }
  }
};

/// Mean and standard deviation (of the population) of every channel over all pixels of a data set. Bytes are summed exactly, floating-point
/// pixels in double in two passes, as distances from the first one; the result does not depend on the number of threads. A channel that never
/// changes gets its value as the mean, and deviation 1.
/// Throws std::invalid_argument for an empty set, and what the data set throws.
template <Dataset D>
Normalization channel_statistics(const D& dataset) {
  using P = DatasetPixel<D>;
  using Sum = std::conditional_t<std::is_same_v<P, std::uint8_t>, std::uint64_t, double>;
  const Shape shape = checked_image_shape(dataset);
  const Index count = dataset.size(), pixels = shape[0] * shape[1], channels = shape[2];
  require(count > 0, "channel_statistics: the data set is empty");

  // Sums over all images of term(pixel, channel). A shard of at least 64 images keeps the partial sums few.
  detail::ErrorKeeper errors;
  const auto sum = [&](const auto& term) {
    std::vector<Sum> sums(static_cast<std::size_t>(channels));
    parallel_sum(count, 64, channels, sums.data(), [&](Index begin, Index end, Sum* partial) {
      errors.run(begin, [&] {
        std::vector<P> buffer(static_cast<std::size_t>(shape.size()));
        for (Index i = begin; i < end; ++i) {
          const P* pixel = image_pixels(dataset, i, buffer.data());
          for (Index p = 0; p < pixels; ++p)
            for (Index c = 0; c < channels; ++c) partial[c] += term(*pixel++, c);
        }
      });
    });
    errors.rethrow();
    return sums;
  };

  Normalization result;
  const double values = static_cast<double>(count) * static_cast<double>(pixels);
  const double unit = std::is_same_v<P, std::uint8_t> ? 255.0 : 1.0;
  std::vector<double> variance;
  if constexpr (std::is_same_v<P, std::uint8_t>) {
    for (Sum total : sum([](P x, Index) { return static_cast<Sum>(x); })) result.mean.push_back(static_cast<double>(total) / values);
    const std::vector<Sum> squares = sum([](P x, Index) { return static_cast<Sum>(x) * x; });
    for (std::size_t c = 0; c < squares.size(); ++c)
      variance.push_back(static_cast<double>(squares[c]) / values - result.mean[c] * result.mean[c]);
  } else {
    std::vector<P> buffer(static_cast<std::size_t>(shape.size()));
    const P* image = image_pixels(dataset, 0, buffer.data());
    const std::vector<double> first(image, image + channels);  // distances from it are exact zeros in a channel that never changes
    const std::vector<double> totals = sum([&](P x, Index c) { return static_cast<double>(x) - first[static_cast<std::size_t>(c)]; });
    for (std::size_t c = 0; c < totals.size(); ++c) result.mean.push_back(first[c] + totals[c] / values);
    for (double total : sum([&](P x, Index c) {
           const double distance = static_cast<double>(x) - result.mean[static_cast<std::size_t>(c)];
           return distance * distance;
         }))
      variance.push_back(total / values);
  }
  for (double& mean : result.mean) mean /= unit;
  // 1e-9: above the rounding errors of a constant byte channel (a few times 255^2 * 2^-53), below the variance of a channel in which one
  // pixel of 10^8 differs by one.
  for (double v : variance) result.deviation.push_back(v > 1e-9 || (unit == 1.0 && v > 0) ? std::sqrt(v) / unit : 1.0);
  return result;
}

}  // namespace heed::inline HEED_ABI
