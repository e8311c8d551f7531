// SPDX-License-Identifier: MIT
#pragma once

#include <cmath>
#include <vector>

#include <heed/core/shape.hpp>

// Group norm and its gradients in long double, by the chain rule through mean and variance. x is images x pixels x channels.
namespace reference {

struct GroupNormResult {
  std::vector<long double> y, dx, d_weight, d_bias;
};

template <class T>
GroupNormResult group_norm(heed::Index images, heed::Index pixels, heed::Index channels, heed::Index groups, const T* x, const T* weight,
    const T* bias, double eps, const T* dy) {
  const auto all = static_cast<std::size_t>(images * pixels * channels), c = static_cast<std::size_t>(channels);
  GroupNormResult r{std::vector<long double>(all), std::vector<long double>(all), std::vector<long double>(c), std::vector<long double>(c)};
  const heed::Index wide = channels / groups;
  const long double count = static_cast<long double>(pixels * wide);
  for (heed::Index n = 0; n < images; ++n)
    for (heed::Index g = 0; g < groups; ++g) {
      const auto each = [&](const auto& f) {
        for (heed::Index p = 0; p < pixels; ++p)
          for (heed::Index j = g * wide; j < (g + 1) * wide; ++j)
            f(static_cast<std::size_t>((n * pixels + p) * channels + j), static_cast<std::size_t>(j));
      };
      const auto w = [&](std::size_t j) { return weight ? static_cast<long double>(weight[j]) : 1.0L; };
      long double mean = 0, variance = 0, d_mean = 0, d_variance = 0;
      each([&](std::size_t i, std::size_t) { mean += x[i] / count; });
      each([&](std::size_t i, std::size_t) { variance += (x[i] - mean) * (x[i] - mean) / count; });
      const long double deviation = std::sqrt(variance + static_cast<long double>(eps));
      each([&](std::size_t i, std::size_t j) {
        const long double centered = x[i] - mean;
        r.y[i] = centered / deviation * w(j) + (bias ? static_cast<long double>(bias[j]) : 0);
        r.d_weight[j] += dy[i] * centered / deviation;
        r.d_bias[j] += dy[i];
        d_mean -= dy[i] * w(j) / deviation;
        d_variance += dy[i] * w(j) * centered * -0.5L / (deviation * deviation * deviation);
      });
      each([&](std::size_t i, std::size_t j) {
        r.dx[i] = dy[i] * w(j) / deviation + d_mean / count + d_variance * 2 * (x[i] - mean) / count;
      });
    }
  return r;
}

}  // namespace reference
