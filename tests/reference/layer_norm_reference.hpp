// SPDX-License-Identifier: MIT
#pragma once

#include <cmath>
#include <vector>

#include <heed/core/shape.hpp>

// Layer norm and its gradients row by row in long double, gradients by the chain rule through mean and variance. RMS norm is the one that is
// not centered: its mean is 0, whatever x is.
namespace reference {

struct LayerNormResult {
  std::vector<long double> y, dx, d_weight, d_bias;
};

template <class T>
LayerNormResult layer_norm(
    heed::Index rows, heed::Index width, const T* x, const T* weight, const T* bias, double eps, const T* dy, bool centered = true) {
  const auto w = static_cast<std::size_t>(width), all = static_cast<std::size_t>(rows) * w;
  LayerNormResult r{std::vector<long double>(all), std::vector<long double>(all), std::vector<long double>(w), std::vector<long double>(w)};
  const long double n = static_cast<long double>(width);
  for (std::size_t i = 0; i < static_cast<std::size_t>(rows); ++i) {
    const T *row = x + i * w, *d_row = dy + i * w;
    long double mean = 0, variance = 0;
    for (std::size_t j = 0; j < w; ++j) mean += row[j];
    mean = centered ? mean / n : 0;
    for (std::size_t j = 0; j < w; ++j) variance += (row[j] - mean) * (row[j] - mean);
    variance /= n;
    const long double deviation = std::sqrt(variance + static_cast<long double>(eps));
    long double d_mean = 0, d_variance = 0;
    for (std::size_t j = 0; j < w; ++j) {
      const long double from_mean = row[j] - mean, g = d_row[j] * (weight ? static_cast<long double>(weight[j]) : 1);
      r.y[i * w + j] =
          from_mean / deviation * (weight ? static_cast<long double>(weight[j]) : 1) + (bias ? static_cast<long double>(bias[j]) : 0);
      r.d_weight[j] += d_row[j] * from_mean / deviation;
      r.d_bias[j] += d_row[j];
      d_variance += g * from_mean * -0.5L / (deviation * deviation * deviation);
      d_mean -= g / deviation;
    }
    for (std::size_t j = 0; j < w; ++j) {
      const long double g = d_row[j] * (weight ? static_cast<long double>(weight[j]) : 1);
      r.dx[i * w + j] = g / deviation + d_variance * 2 * (row[j] - mean) / n + (centered ? d_mean / n : 0);
    }
  }
  return r;
}

}  // namespace reference
