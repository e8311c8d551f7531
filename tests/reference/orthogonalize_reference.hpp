// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <vector>

namespace reference {

/// The iteration of Newton and Schulz as the papers write it: X X^T for every shape, products in three loops, in the type of X.
template <class T>
std::vector<T> orthogonalize(std::vector<T> x, int rows, int cols, const std::array<double, 3>& coefficients, int steps, double eps) {
  const auto at = [](int i, int j, int width) { return static_cast<std::size_t>(i * width + j); };
  const auto product = [&](const std::vector<T>& a, const std::vector<T>& b, int n, int depth, int m) {
    std::vector<T> c(static_cast<std::size_t>(n * m));
    for (int i = 0; i < n; ++i)
      for (int j = 0; j < m; ++j)
        for (int k = 0; k < depth; ++k) c[at(i, j, m)] += a[at(i, k, depth)] * b[at(k, j, m)];
    return c;
  };
  T square = 0;
  for (T v : x) square += v * v;
  const T norm = std::max(static_cast<T>(eps), std::sqrt(square));
  for (T& v : x) v /= norm;
  for (int step = 0; step < steps; ++step) {
    std::vector<T> turned(x.size());
    for (int i = 0; i < rows; ++i)
      for (int j = 0; j < cols; ++j) turned[at(j, i, rows)] = x[at(i, j, cols)];
    const auto a = product(x, turned, rows, cols, rows);
    const auto aa = product(a, a, rows, rows, rows);
    const auto ax = product(a, x, rows, rows, cols), aax = product(aa, x, rows, rows, cols);
    for (std::size_t i = 0; i < x.size(); ++i)
      x[i] = static_cast<T>(coefficients[0]) * x[i] + static_cast<T>(coefficients[1]) * ax[i] + static_cast<T>(coefficients[2]) * aax[i];
  }
  return x;
}

}  // namespace reference
