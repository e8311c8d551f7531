// SPDX-License-Identifier: MIT
#pragma once

#include <vector>

#include <heed/core/shape.hpp>

// y = x Wᵀ + b and its gradients as three loops in long double.
namespace reference {

struct LinearResult {
  std::vector<long double> y, dx, d_weight, d_bias;
};

/// x (rows, in), weight (out, in), bias (out) or null, dy (rows, out).
template <class T>
LinearResult linear(heed::Index rows, heed::Index in, heed::Index out, const T* x, const T* weight, const T* bias, const T* dy) {
  const auto n = static_cast<std::size_t>(rows), c = static_cast<std::size_t>(in), o = static_cast<std::size_t>(out);
  LinearResult r{
      std::vector<long double>(n * o), std::vector<long double>(n * c), std::vector<long double>(o * c), std::vector<long double>(o)};
  for (std::size_t i = 0; i < n; ++i)
    for (std::size_t k = 0; k < o; ++k) {
      r.y[i * o + k] = bias ? static_cast<long double>(bias[k]) : 0;
      r.d_bias[k] += dy[i * o + k];
      for (std::size_t j = 0; j < c; ++j) {
        r.y[i * o + k] += static_cast<long double>(x[i * c + j]) * weight[k * c + j];
        r.dx[i * c + j] += static_cast<long double>(dy[i * o + k]) * weight[k * c + j];
        r.d_weight[k * c + j] += static_cast<long double>(dy[i * o + k]) * x[i * c + j];
      }
    }
  return r;
}

}  // namespace reference
