// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cmath>
#include <span>
#include <type_traits>

#include <heed/core/layer.hpp>
#include <heed/core/random.hpp>

// Numbers to test with, and how to compare.
namespace reference {

/// Uniform in [low, high), the same for every scalar up to its rounding.
template <class T, int Rank>
heed::Tensor<T, Rank> random_tensor(const heed::Shape& shape, std::uint64_t seed, double low = -1, double high = 1) {
  heed::Tensor<T, Rank> result(shape);
  const heed::CounterRandom stream({seed, 0x74657374});
  for (heed::Index i = 0; i < result.size(); ++i) result[i] = static_cast<T>(stream.uniform(static_cast<std::uint64_t>(i), low, high));
  return result;
}

/// Gives every parameter numbers of no special kind: zeros and ones hide mistakes.
template <class L>
L with_random_parameters(L layer, std::uint64_t seed, double low = -0.8, double high = 0.8) {
  for (auto& [name, parameter] : heed::named_parameters(layer)) {
    const auto values = random_tensor<typename L::scalar, 1>({parameter->size()}, ++seed, low, high);
    std::copy_n(values.data(), values.size(), parameter->value());
  }
  return layer;
}

/// The largest |a - b|; infinite when the sizes differ or one of the two is NaN.
template <class A, class B>
double largest_difference(const A& a, const B& b) {
  if (a.size() != b.size()) return HUGE_VAL;
  double largest = 0;
  for (heed::Index i = 0; i < a.size(); ++i) {
    const double difference = std::abs(static_cast<double>(a[i]) - static_cast<double>(b[i]));
    largest = std::isnan(difference) ? HUGE_VAL : std::max(largest, difference);
  }
  return largest;
}

/// Equal numbers, element by element.
template <class A, class B>
bool same_bits(const A& a, const B& b) {
  return a.size() == b.size() && std::equal(a.data(), a.data() + a.size(), b.data());
}

/// Equal bits, number by number, but that a NaN equals every other: 0 is not -0.
template <class A>
bool same_numbers(const A& a, const A& b) {
  return a.size() == b.size() && std::equal(a.data(), a.data() + a.size(), b.data(), [](auto x, auto y) {
    if constexpr (std::is_floating_point_v<decltype(x)>)
      return std::isnan(x) ? std::isnan(y) : x == y && std::signbit(x) == std::signbit(y);
    return x == y;
  });
}

}  // namespace reference
