// SPDX-License-Identifier: MIT
#pragma once

#include <cmath>
#include <iterator>
#include <type_traits>

#include <heed/core/simd.hpp>

namespace heed::inline HEED_ABI::kernels {

// Exponentials on packets. 2^x = 2^n 2^r with n whole and |r| <= 1/2; 2^r is a polynomial with the least maximum of the relative error and
// the constant term 1, so that 2^0 is 1 (fitted by Lawson's iteration in extended precision). Number-like scalars and the Scalar
// instruction set take the function of their own namespace, so that certificates differentiate the true exponential.
// NaN goes through, whatever its payload; results below the normal numbers (with a factor 2 of room) are 0.

namespace detail {

inline constexpr double kLog2E = 1.44269504088896340736, kLn2 = 0.69314718055994530942;

/// Coefficients of r, r², ... in 2^r.
template <class T>
struct Exp2Polynomial;
template <>
struct Exp2Polynomial<float> {  // error 2.0e-9; the short one, without the last term, 9.1e-8 (0.8 units in the last place)
  static constexpr double full[] = {6.931472028552117e-01, 2.402264791361566e-01, 5.550332470783313e-02, 9.618437358234168e-03,
      1.339887455722318e-03, 1.535336206329824e-04};
  static constexpr double brief[] = {
      6.931469775976779e-01, 2.402224208311130e-01, 5.550733744471444e-02, 9.671512785811676e-03, 1.326472725265875e-03};
  static constexpr double kSmallest = -125, kLargestFinite = 0x1.62e42ep6;   // the largest number whose exponential is finite
  static constexpr double kLn2High = 0.693359375, kLn2Low = -2.12194440e-4;  // the high part has 9 bits: products with n are exact
};
template <>
struct Exp2Polynomial<double> {  // error 3.5e-18
  static constexpr double full[] = {6.931471805599453257e-01, 2.402265069591013168e-01, 5.55041086648200777e-02, 9.618129107594124078e-03,
      1.333355814677731159e-03, 1.540353045703849457e-04, 1.525273349029373646e-05, 1.32154353289180147e-06, 1.017820067610068947e-07,
      7.073775141030788854e-09, 4.434626060278615445e-10};
  static constexpr const double (&brief)[11] = full;
  static constexpr double kSmallest = -1021, kLargestFinite = 0x1.62e42fefa39efp9;
  static constexpr double kLn2High = 6.93147180369123816490e-01, kLn2Low = 1.90821492927058770002e-10;
};

/// The same for e^r: c[k] / (ln 2)^(k + 1).
template <class T>
struct ExpPolynomial {
  static constexpr int kTerms = static_cast<int>(std::size(Exp2Polynomial<T>::full));
  double full[kTerms];

  constexpr ExpPolynomial() : full{} {
    double power = kLog2E;
    for (int i = 0; i < kTerms; ++i, power *= kLog2E) full[i] = Exp2Polynomial<T>::full[i] * power;
  }
};
template <class T>
inline constexpr ExpPolynomial<T> kExpPolynomial;

/// c[0], c[1], ... in tanh x = x + x³ (c[0] + c[1] x² + ...) for |x| <= 1 (Remez; error 5.5e-8 and 1.2e-17).
template <class T>
inline constexpr double kTanhPolynomial[] = {-0.333333333333329448, 0.133333333332928712, -0.0539682539534266527, 0.0218694882598284769,
    -0.00886323245174843052, 0.0035921056066463787, -0.00145572132805130856, 0.000589618688272449565, -0.000238043866677169411,
    9.47681712065822404e-05, -3.60866213443095627e-05, 1.2341328804679084e-05, -3.41967983866241365e-06, 6.54495733634858704e-07,
    -6.26932400540328083e-08};
template <>
inline constexpr double kTanhPolynomial<float>[] = {-0.333329868365835237, 0.13326409663670616, -0.0534987418673919187,
    0.0203598238893275937, -0.00625939455490761678, 0.001058282270471613};

/// 1 + c[0] r + c[1] r² + ...
template <class Isa, class T, int Terms>
HEED_INLINE Packet<Isa, T> polynomial(const Packet<Isa, T>& r, const double (&c)[Terms]) {
  using P = Packet<Isa, T>;
  P p = P::broadcast(T(c[Terms - 1]));
#pragma GCC unroll 16
  for (int i = Terms - 2; i >= 0; --i) p = P::fma(p, r, P::broadcast(T(c[i])));
  return P::fma(p, r, P::broadcast(T(1)));
}

/// e^x = 2^n e^r with n the whole number next to x / ln 2, given as n + kRound. (Returned in a struct, g++ 12 sends them through memory in halves with AVX2,
/// and the loads wait for the stores: on Zen 3 softmax and cross-entropy took 1.4 to 1.7 times as long.)
template <class Isa, class T>
HEED_INLINE void reduce(const Packet<Isa, T>& x, Packet<Isa, T>& rounded, Packet<Isa, T>& r) {
  using P = Packet<Isa, T>;
  using Polynomial = Exp2Polynomial<T>;
  const P magic = P::broadcast(P::kRound);
  rounded = P::fma(x, P::broadcast(T(kLog2E)), magic);
  const P n = rounded - magic;
  // x - n ln 2 with ln 2 in two parts (Cody and Waite 1980)
  r = P::fma(n, P::broadcast(T(-Polynomial::kLn2Low)), P::fma(n, P::broadcast(T(-Polynomial::kLn2High)), x));
}

/// y 2^n with `rounded` as in times_power_of_two, and NaN where r is NaN: adding to the exponent of a NaN may make a number of it.
template <class Isa, class T>
HEED_INLINE Packet<Isa, T> scale_by_power(const Packet<Isa, T>& y, const Packet<Isa, T>& rounded, const Packet<Isa, T>& r) {
  using P = Packet<Isa, T>;
  return P::fma(P::zero(), r, P::times_power_of_two(y, rounded));
}

}  // namespace detail

/// 2^x for x <= 0, to 1.3 units in the last place (float), and 0 below 2^-100 (float; double: 2^-960): what a softmax needs. A sum that begins with 1 does
/// not see such numbers, and their products would be subnormal, of which each costs a hundred cycles (attention with steep slopes: 1.7 times as long
/// forward, 3.8 times backward).
template <class Isa, class T>
HEED_INLINE Packet<Isa, T> exp2_of_nonpositive(const Packet<Isa, T>& x) {
  using P = Packet<Isa, T>;
  constexpr double kNegligible = sizeof(T) == 4 ? -100 : -960;
  if constexpr (std::is_same_v<Isa, Scalar>) {
    using std::exp;
    return {T(kNegligible) > x.v ? T(0) : T(exp(x.v * T(detail::kLn2)))};
  } else {
    using Polynomial = detail::Exp2Polynomial<T>;
    const P magic = P::broadcast(P::kRound), rounded = x + magic, r = x - (rounded - magic);
    const P y = detail::scale_by_power(detail::polynomial(r, Polynomial::brief), rounded, r);
    return P::select_greater(P::broadcast(T(kNegligible)), x, P::zero(), y);
  }
}

/// e^x, to about one unit in the last place, for x whose e^x is finite.
template <class Isa, class T>
HEED_INLINE Packet<Isa, T> finite_exponential(const Packet<Isa, T>& x) {
  using P = Packet<Isa, T>;
  if constexpr (std::is_same_v<Isa, Scalar>) {
    using std::exp;
    return {T(exp(x.v))};
  } else {
    using Polynomial = detail::Exp2Polynomial<T>;
    P rounded, r;
    detail::reduce(x, rounded, r);
    const P y = detail::scale_by_power(detail::polynomial(r, detail::kExpPolynomial<T>.full), rounded, r);
    return P::select_greater(P::broadcast(T(Polynomial::kSmallest * detail::kLn2)), x, P::zero(), y);
  }
}

/// The same for any x; infinite where it is too large.
template <class Isa, class T>
HEED_INLINE Packet<Isa, T> exponential(const Packet<Isa, T>& x) {
  using P = Packet<Isa, T>;
  const P y = finite_exponential(x);
  if constexpr (std::is_same_v<Isa, Scalar>)
    return y;
  else
    return P::select_greater(x, P::broadcast(T(detail::Exp2Polynomial<T>::kLargestFinite)), P::broadcast(T(HUGE_VAL)), y);
}

inline constexpr float kBellRadius = 13.16f;  ///< where `bell` leaves the normal numbers, with a factor 2 of room
/// e^(-x²/2) in float, to the rounding of the exponent, for |x| <= kBellRadius; beyond, and for NaN, some number.
template <class Isa>
HEED_INLINE Packet<Isa, float> bell(const Packet<Isa, float>& x) {
  using P = Packet<Isa, float>;
  if constexpr (std::is_same_v<Isa, Scalar>) {
    return {std::exp(x.v * x.v * -0.5f)};
  } else {
    // The product with x is rounded once, inside of r.
    const P factor = x * P::broadcast(static_cast<float>(-0.5 * detail::kLog2E)), magic = P::broadcast(P::kRound);
    const P rounded = P::fma(x, factor, magic), r = P::fma(x, factor, magic - rounded);
    return P::times_power_of_two(detail::polynomial(r, detail::Exp2Polynomial<float>::full), rounded);
  }
}

/// e^x - 1 for x <= 0, to about two units in the last place, near 0 too: 2^n (e^r - 1) + (2^n - 1), where n is 0 near 0. (Above 0 it is some
/// number.)
template <class Isa, class T>
HEED_INLINE Packet<Isa, T> expm1_of_nonpositive(const Packet<Isa, T>& x) {
  using P = Packet<Isa, T>;
  if constexpr (std::is_same_v<Isa, Scalar>) {
    using std::expm1;
    return {T(expm1(x.v))};
  } else {
    using Polynomial = detail::Exp2Polynomial<T>;
    constexpr const auto& c = detail::kExpPolynomial<T>.full;
    P rounded, r;
    detail::reduce(x, rounded, r);
    const P one = P::broadcast(T(1));
    P p = P::broadcast(T(c[std::size(c) - 1]));
#pragma GCC unroll 16
    for (int i = static_cast<int>(std::size(c)) - 2; i >= 0; --i) p = P::fma(p, r, P::broadcast(T(c[i])));
    const P power = P::times_power_of_two(one, rounded), y = P::fma(p * r, power, power - one);
    return P::select_greater(P::broadcast(T(Polynomial::kSmallest * detail::kLn2)), x, -one, y);
  }
}

/// tanh x to about three units in the last place: -t / (2 + t) with t = e^(-2|x|) - 1.
template <class Isa, class T>
HEED_INLINE Packet<Isa, T> hyperbolic_tangent(const Packet<Isa, T>& x) {
  using P = Packet<Isa, T>;
  if constexpr (std::is_same_v<Isa, Scalar>) {
    using std::tanh;
    return {T(tanh(x.v))};
  } else {
    const P t = expm1_of_nonpositive(P::max(x, -x) * P::broadcast(T(-2))), y = t / (P::broadcast(T(2)) + t);
    return P::select_greater(x, P::zero(), -y, y);
  }
}

/// tanh of packets whose lanes are mostly within ±1, to about two units in the last place there: a polynomial if all of them are, else both ways. Each lane
/// has the same bits whatever its neighbours hold. (Attention with a soft cap: 1.28 -> 1.10 times the time without.)
template <class Isa, class T, int Count>
HEED_INLINE void small_tangents(Packet<Isa, T> (&x)[Count]) {
  using P = Packet<Isa, T>;
  if constexpr (std::is_same_v<Isa, Scalar>) {
    for (P& packet : x) packet = hyperbolic_tangent(packet);
  } else {
    constexpr const auto& c = detail::kTanhPolynomial<T>;
    P square[Count], y[Count], largest = P::zero();
#pragma GCC unroll 8
    for (int n = 0; n < Count; ++n) {
      square[n] = x[n] * x[n], largest = P::max(square[n], largest);  // in this order NaN is passed over
      P p = P::broadcast(T(c[std::size(c) - 1]));
#pragma GCC unroll 16
      for (int i = static_cast<int>(std::size(c)) - 2; i >= 0; --i) p = P::fma(p, square[n], P::broadcast(T(c[i])));
      y[n] = P::fma(p * square[n], x[n], x[n]);
    }
    if (largest.largest() > T(1))
#pragma GCC unroll 8
      for (int n = 0; n < Count; ++n) y[n] = P::select_greater(square[n], P::broadcast(T(1)), hyperbolic_tangent(x[n]), y[n]);
#pragma GCC unroll 8
    for (int n = 0; n < Count; ++n) x[n] = y[n];
  }
}

}  // namespace heed::inline HEED_ABI::kernels
