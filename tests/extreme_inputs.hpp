// SPDX-License-Identifier: MIT
#pragma once

#include <cmath>
#include <limits>
#include <vector>

#include <heed/core/random.hpp>
#include <heed/core/tensor.hpp>

// For what must give a number where the mathematics has one, and infinity, not NaN, where that number is beyond the type.

/// Zero, what lies beside it, ordinary numbers, and the ends of T's range, with both signs.
template <class T>
std::vector<T> extreme_numbers() {
  using Limits = std::numeric_limits<T>;
  std::vector<T> numbers;
  for (T x : {T(0), Limits::denorm_min(), Limits::min(), T(1e-30), T(1), T(90), T(1e4), T(1e30), Limits::max()}) {
    numbers.push_back(x);
    numbers.push_back(-x);
  }
  return numbers;
}

/// Rows made of every pair of these numbers (of a number and itself: equal ones), then as many rows of any of them.
template <class T>
heed::Tensor<T, 2> extreme_rows(heed::Index width, std::uint64_t seed = 1) {
  using namespace heed;
  const std::vector<T> numbers = extreme_numbers<T>();
  const Index count = static_cast<Index>(numbers.size()), pairs = count * count;
  const CounterRandom random{seed, static_cast<std::uint64_t>(width)};
  Tensor<T, 2> rows({2 * pairs, width});
  for (Index i = 0; i < rows.size(); ++i) {
    const Index row = i / width, draw = static_cast<Index>(random.below(static_cast<std::uint64_t>(i), static_cast<std::uint64_t>(count)));
    const Index which = row >= pairs ? draw : draw % 2 == 0 ? row / count : row % count;
    rows[i] = numbers[static_cast<std::size_t>(which)];
  }
  return rows;
}

/// Whether `found` is at most `error` from `exact`, or what the type makes of it: beyond the largest number infinity. Never for NaN.
template <class T>
bool is_near(T found, long double exact, long double error) {
  return found == static_cast<T>(exact) || std::abs(static_cast<long double>(found) - exact) <= error;
}

/// A row's softmax and its logarithm. The distances from the largest element are those that `Value` has: in double two elements can
/// lie infinitely far apart.
template <class T, class Value = T>
struct ExactSoftmax {
  std::vector<long double> p, log_p;

  ExactSoftmax(const T* x, heed::Index width) {
    T largest = x[0];
    for (heed::Index c = 1; c < width; ++c) largest = std::max(largest, x[c]);
    long double sum = 0;
    for (heed::Index c = 0; c < width; ++c) {
      log_p.push_back(static_cast<Value>(x[c]) - static_cast<Value>(largest));
      sum += std::exp(log_p.back());
    }
    for (long double& l : log_p) {
      l -= std::log(sum);
      p.push_back(std::exp(l));
    }
  }
};
