// SPDX-License-Identifier: MIT
#pragma once

#include <cmath>
#include <compare>

#include <heed/core/config.hpp>

namespace heed::inline HEED_ABI {

/// A number that carries its derivatives along `Lanes` directions: value + Σ tangent[i] εᵢ with εᵢ εⱼ = 0. A function computed in dual
/// numbers gives exact directional derivatives, without a step size (Wengert 1964; Griewank and Walther, ch. 3). Layers rebound to
/// it are what `check_gradients` holds against hand-written backward passes. Comparisons look at the value alone, which makes
/// the kink rules of both sides the same: a branch taken by value is differentiated as it was taken.
template <int Lanes>
struct Dual {
  double value;           ///< f
  double tangent[Lanes];  ///< df along each direction

  Dual() = default;
  /// A constant: no tangents.
  Dual(double constant) : value(constant), tangent{} {}  // NOLINT: numbers mix with constants
  /// The value alone.
  explicit operator double() const { return value; }

  /// f(a) with derivative `slope`.
  static Dual chain(const Dual& a, double f, double slope) {
    Dual r;
    r.value = f;
    for (int i = 0; i < Lanes; ++i) r.tangent[i] = slope * a.tangent[i];
    return r;
  }

  /// The rules of sums, products and quotients.
  /// @{
  Dual& operator+=(const Dual& b) {
    value += b.value;
    for (int i = 0; i < Lanes; ++i) tangent[i] += b.tangent[i];
    return *this;
  }
  Dual& operator-=(const Dual& b) {
    value -= b.value;
    for (int i = 0; i < Lanes; ++i) tangent[i] -= b.tangent[i];
    return *this;
  }
  Dual& operator*=(const Dual& b) {
    for (int i = 0; i < Lanes; ++i) tangent[i] = tangent[i] * b.value + value * b.tangent[i];
    value *= b.value;
    return *this;
  }
  Dual& operator/=(const Dual& b) {
    const double quotient = value / b.value;
    for (int i = 0; i < Lanes; ++i) tangent[i] = (tangent[i] - quotient * b.tangent[i]) / b.value;
    value = quotient;
    return *this;
  }
  /// @}
  /// The same as functions.
  /// @{
  friend Dual operator+(Dual a, const Dual& b) { return a += b; }
  friend Dual operator-(Dual a, const Dual& b) { return a -= b; }
  friend Dual operator*(Dual a, const Dual& b) { return a *= b; }
  friend Dual operator/(Dual a, const Dual& b) { return a /= b; }
  friend Dual operator-(const Dual& a) { return chain(a, -a.value, -1); }
  /// @}
  /// By the value alone.
  /// @{
  friend bool operator==(const Dual& a, const Dual& b) { return a.value == b.value; }
  friend auto operator<=>(const Dual& a, const Dual& b) { return a.value <=> b.value; }
  /// @}

  /// The function of the same name in `<cmath>`, with its derivative by the chain rule. abs has slope 1 at 0.
  /// @{
  friend Dual exp(const Dual& a) {
    const double e = std::exp(a.value);
    return chain(a, e, e);
  }
  friend Dual expm1(const Dual& a) { return chain(a, std::expm1(a.value), std::exp(a.value)); }
  friend Dual exp2(const Dual& a) {
    const double e = std::exp2(a.value);
    return chain(a, e, 0.6931471805599453 * e);
  }
  friend Dual log(const Dual& a) { return chain(a, std::log(a.value), 1 / a.value); }
  friend Dual log1p(const Dual& a) { return chain(a, std::log1p(a.value), 1 / (1 + a.value)); }
  friend Dual sqrt(const Dual& a) {
    const double s = std::sqrt(a.value);
    return chain(a, s, 0.5 / s);
  }
  friend Dual tanh(const Dual& a) {
    const double t = std::tanh(a.value);
    return chain(a, t, 1 - t * t);
  }
  friend Dual erf(const Dual& a) { return chain(a, std::erf(a.value), 1.1283791670955126 * std::exp(-a.value * a.value)); }
  friend Dual sin(const Dual& a) { return chain(a, std::sin(a.value), std::cos(a.value)); }
  friend Dual cos(const Dual& a) { return chain(a, std::cos(a.value), -std::sin(a.value)); }
  friend Dual abs(const Dual& a) { return a.value < 0 ? -a : a; }
  friend Dual fabs(const Dual& a) { return abs(a); }
  /// @}
  /// Of the value.
  /// @{
  friend bool isfinite(const Dual& a) { return std::isfinite(a.value); }
  friend bool isnan(const Dual& a) { return std::isnan(a.value); }
  /// @}
};

}  // namespace heed::inline HEED_ABI
