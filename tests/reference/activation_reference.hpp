// SPDX-License-Identifier: MIT
#pragma once

#include <cmath>

// The activations and their derivatives by the formulas of their papers, in long double.
namespace reference {

inline long double relu(long double x) { return x > 0 ? x : 0; }
inline long double relu_derivative(long double x) { return x > 0 ? 1 : 0; }

inline long double normal_cdf(long double x) { return 0.5L * std::erfc(-x / std::sqrt(2.0L)); }
inline long double gelu(long double x) { return x * normal_cdf(x); }
inline long double gelu_derivative(long double x) {
  return normal_cdf(x) + x * std::exp(-x * x / 2) / std::sqrt(2 * 3.14159265358979323846L);
}

inline long double gelu_tanh(long double x) {
  return 0.5L * x * (1 + std::tanh(std::sqrt(2 / 3.14159265358979323846L) * (x + 0.044715L * x * x * x)));
}
inline long double gelu_tanh_derivative(long double x) {
  const long double k = std::sqrt(2 / 3.14159265358979323846L), t = std::tanh(k * (x + 0.044715L * x * x * x));
  return 0.5L * (1 + t) + 0.5L * x * (1 - t * t) * k * (1 + 3 * 0.044715L * x * x);
}

inline long double silu(long double x, long double alpha = 1) { return x / (1 + std::exp(-alpha * x)); }
inline long double silu_derivative(long double x, long double alpha = 1) {
  const long double s = 1 / (1 + std::exp(-alpha * x));
  return s + alpha * x * s * (1 - s);
}

inline long double leaky_relu(long double x, long double slope) { return x > 0 ? x : slope * x; }
inline long double leaky_relu_derivative(long double x, long double slope) { return x > 0 ? 1 : slope; }

inline long double elu(long double x, long double alpha) { return x > 0 ? x : alpha * std::expm1(x); }
inline long double elu_derivative(long double x, long double alpha) { return x > 0 ? 1 : alpha * std::exp(x); }

inline long double sigmoid(long double x) { return 1 / (1 + std::exp(-x)); }
inline long double sigmoid_derivative(long double x) { return sigmoid(x) * sigmoid(-x); }

inline long double tanh(long double x) { return std::tanh(x); }
inline long double tanh_derivative(long double x) { return 1 / (std::cosh(x) * std::cosh(x)); }

}  // namespace reference
