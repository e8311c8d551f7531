// SPDX-License-Identifier: MIT
#pragma once

#include <cmath>
#include <type_traits>

#include <heed/core/simd.hpp>
#include <heed/kernels/elementwise.hpp>
#include <heed/kernels/exponential.hpp>

namespace heed::inline HEED_ABI::kernels {

// An activation is a small object, with its parameters as members, and `apply(x)` and `derivative(x)` on packets, so that the same two lines serve
// `activation_forward`, `activation_backward` and the epilogues of other kernels. NaN goes through all of them, and at infinity they have
// their limits: a factor that is 0 there meets no infinite x, and where the sigmoid would leave the normal numbers the product with it is 0.
//
// Functions that are put together of two pieces at 0 have there the derivative of the piece below (the kink rule of docs/notation.md).

namespace detail {

/// Largest argument whose exponential is finite, with room for a factor.
template <class T>
inline constexpr double kLargestExponent = std::is_same_v<T, float> ? 87 : 700;

/// x, but the largest finite numbers in place of infinities (of one sign each), so that 0 times it is 0. NaN stays: max and min in this order
/// return their second argument then.
template <class Isa, class T>
HEED_INLINE Packet<Isa, T> not_minus_infinity(const Packet<Isa, T>& x) {
  using P = Packet<Isa, T>;
  return P::max(P::broadcast(T(std::is_same_v<T, float> ? -0x1.fffffep127 : -0x1.fffffffffffffp1023)), x);
}
template <class Isa, class T>
HEED_INLINE Packet<Isa, T> not_infinity(const Packet<Isa, T>& x) {
  using P = Packet<Isa, T>;
  return P::min(P::broadcast(T(std::is_same_v<T, float> ? 0x1.fffffep127 : 0x1.fffffffffffffp1023)), x);
}

/// σ(x) = 1 / (1 + exp(-x)) and 1 - σ(x), the second without a difference of nearly equal numbers. Below -kLargestExponent σ falls no further,
/// so products with it go through `unless_far_below`.
template <class Isa, class T>
struct Sigmoid {
  Packet<Isa, T> value, rest;
};
template <class Isa, class T>
HEED_INLINE Sigmoid<Isa, T> sigmoid(const Packet<Isa, T>& x) {
  using P = Packet<Isa, T>;
  const P one = P::broadcast(T(1)), e = finite_exponential(P::min(P::broadcast(T(kLargestExponent<T>)), -x)), s = one / (one + e);
  return {s, e * s};
}
/// y, but 0 where x < -kLargestExponent.
template <class Isa, class T>
HEED_INLINE Packet<Isa, T> unless_far_below(const Packet<Isa, T>& x, const Packet<Isa, T>& y) {
  using P = Packet<Isa, T>;
  return P::select_greater(P::broadcast(T(-kLargestExponent<T>)), x, P::zero(), y);
}

/// Φ(x), the integral of the normal distribution, for number-like scalars and double: erf by element, so that certificates see the function of
/// the standard library.
template <class Isa, class T>
HEED_INLINE Packet<Isa, T> normal_integral(const Packet<Isa, T>& x) {
  using std::erf;
  constexpr int lanes = Packet<Isa, T>::lanes;
  T element[lanes];
  x.store(element);
  for (int i = 0; i < lanes; ++i) element[i] = T(0.5) * (T(1) + erf(element[i] * T(0.70710678118654752440)));
  return Packet<Isa, T>::load(element);
}

inline constexpr double kNormalDensity = 0.39894228040143267794;  // 1 / sqrt(2 pi)

/// Float: the upper tail of |x|, 1 - Φ(|x|), is e^(-x²/2) times a polynomial in w = 1 / (1 + 0.3 |x|), the form of Abramowitz and Stegun 26.2.17
/// with nine coefficients of our own (least maximum of the relative error over |x| < 9: 4.1e-8). No difference of nearly equal numbers, so
/// the lower tail is right to some units in the last place, and the derivative shares the exponential.
template <class Isa>
struct NormalTail {
  using P = Packet<Isa, float>;
  P size, e, tail;  ///< |x|, e^(-x²/2), 1 - Φ(|x|); products with the last two go through `unless_far`

  HEED_INLINE explicit NormalTail(const P& x) : size(P::max(x, -x)), e(bell(x)) {
    constexpr float kTail[] = {-1.56301287e-05f, 0.119846460f, 0.119529739f, 0.103497868f, 0.122846943f, -0.0491871416f, 0.205627140f,
        -0.158359743f, 0.0362143845f};
    const P one = P::broadcast(1), w = one / P::fma(size, P::broadcast(0.3f), one);
    P r = P::broadcast(kTail[8]);
#pragma GCC unroll 8
    for (int i = 7; i >= 0; --i) r = P::fma(r, w, P::broadcast(kTail[i]));
    tail = e * r;
  }
  /// y, but 0 where the distribution is, infinity included.
  HEED_INLINE P unless_far(const P& y) const { return P::select_greater(size, P::broadcast(kBellRadius), P::zero(), y); }
};

}  // namespace detail

/// max(0, x); the derivative at 0 is 0.
struct Relu {
  template <class Isa, class T>
  HEED_INLINE static Packet<Isa, T> apply(const Packet<Isa, T>& x) {
    using P = Packet<Isa, T>;
    // x - x is 0 at 0, also for dual numbers, and NaN for NaN.
    return P::select_greater(P::zero(), x, P::zero(), P::select_greater(x, P::zero(), x, x - x));
  }
  template <class Isa, class T>
  HEED_INLINE static Packet<Isa, T> derivative(const Packet<Isa, T>& x) {
    using P = Packet<Isa, T>;
    return P::select_greater(x, P::zero(), P::broadcast(T(1)), P::zero());
  }
};

/// x Φ(x), with Φ the standard normal distribution (Hendrycks and Gimpel 2016); derivative Φ(x) + x φ(x).
struct Gelu {
  template <class Isa, class T>
  HEED_INLINE static Packet<Isa, T> apply(const Packet<Isa, T>& x) {
    using P = Packet<Isa, T>;
    if constexpr (std::is_same_v<T, float>) {
      const detail::NormalTail<Isa> n(x);
      const P part = n.unless_far(x * n.tail);
      return P::select_greater(x, P::zero(), x - part, part);
    } else {
      return detail::not_minus_infinity(x) * detail::normal_integral(x);
    }
  }
  template <class Isa, class T>
  HEED_INLINE static Packet<Isa, T> derivative(const Packet<Isa, T>& x) {
    using P = Packet<Isa, T>;
    const P density = P::broadcast(T(detail::kNormalDensity));
    if constexpr (std::is_same_v<T, float>) {
      const detail::NormalTail<Isa> n(x);
      const P tail = n.unless_far(n.tail);
      return P::select_greater(x, P::zero(), P::broadcast(1) - tail, tail) + n.unless_far(x * n.e * density);
    } else {
      const P finite = detail::not_infinity(detail::not_minus_infinity(x));
      return P::fma(finite, exponential(x * x * P::broadcast(T(-0.5))) * density, detail::normal_integral(x));
    }
  }
};

/// x (1 + tanh(u)) / 2 = x σ(2u) with u = √(2/π) (x + 0.044715 x³) (Hendrycks and Gimpel 2016); derivative s + x s (1 - s) 2u'.
struct GeluTanh {
  template <class Isa, class T>
  HEED_INLINE static Packet<Isa, T> apply(const Packet<Isa, T>& x) {
    const Packet<Isa, T> u2 = twice_u(x);
    return detail::unless_far_below(u2, x * detail::sigmoid(u2).value);
  }
  template <class Isa, class T>
  HEED_INLINE static Packet<Isa, T> derivative(const Packet<Isa, T>& x) {
    using P = Packet<Isa, T>;
    // From 40 on 1 - s is 0 in every type, and from there x² is kept from becoming infinite.
    const P in = P::min(P::broadcast(T(40)), x), u2 = twice_u(in);
    const detail::Sigmoid<Isa, T> s = detail::sigmoid(u2);
    const P slope = P::fma(P::broadcast(T(6 * kScale * kCubic)), in * in, P::broadcast(T(2 * kScale)));
    return detail::unless_far_below(u2, P::fma(in * s.value * s.rest, slope, s.value));
  }

 private:
  static constexpr double kScale = 0.79788456080286535588, kCubic = 0.044715;

  template <class Isa, class T>
  HEED_INLINE static Packet<Isa, T> twice_u(const Packet<Isa, T>& x) {
    using P = Packet<Isa, T>;
    return x * P::fma(P::broadcast(T(2 * kScale * kCubic)), x * x, P::broadcast(T(2 * kScale)));
  }
};

/// x > 0 ? x : slope x (Maas, Hannun and Ng 2013).
struct LeakyRelu {
  double slope = 0.01;  ///< left of 0

  template <class Isa, class T>
  HEED_INLINE Packet<Isa, T> apply(const Packet<Isa, T>& x) const {
    using P = Packet<Isa, T>;
    return P::select_greater(x, P::zero(), x, x * P::broadcast(T(slope)));
  }
  template <class Isa, class T>
  HEED_INLINE Packet<Isa, T> derivative(const Packet<Isa, T>& x) const {
    using P = Packet<Isa, T>;
    return P::select_greater(x, P::zero(), P::broadcast(T(1)), P::broadcast(T(slope)));
  }
};

/// x > 0 ? x : alpha (e^x - 1) (Clevert, Unterthiner and Hochreiter 2016).
struct Elu {
  double alpha = 1;  ///< what y comes to far left of 0, as -alpha

  template <class Isa, class T>
  HEED_INLINE Packet<Isa, T> apply(const Packet<Isa, T>& x) const {
    using P = Packet<Isa, T>;
    return P::select_greater(x, P::zero(), x, expm1_of_nonpositive(x) * P::broadcast(T(alpha)));
  }
  template <class Isa, class T>
  HEED_INLINE Packet<Isa, T> derivative(const Packet<Isa, T>& x) const {
    using P = Packet<Isa, T>;
    return P::select_greater(x, P::zero(), P::broadcast(T(1)), exponential(x) * P::broadcast(T(alpha)));
  }
};

/// σ(x) = 1 / (1 + e^-x); derivative s (1 - s).
struct Sigmoid {
  template <class Isa, class T>
  HEED_INLINE static Packet<Isa, T> apply(const Packet<Isa, T>& x) {
    return detail::unless_far_below(x, detail::sigmoid(x).value);
  }
  template <class Isa, class T>
  HEED_INLINE static Packet<Isa, T> derivative(const Packet<Isa, T>& x) {
    const detail::Sigmoid<Isa, T> s = detail::sigmoid(x);
    return detail::unless_far_below(x, s.value * s.rest);
  }
};

/// tanh(x); derivative 1 - tanh² = 4 σ(2x) (1 - σ(2x)), which is no difference of nearly equal numbers.
struct Tanh {
  template <class Isa, class T>
  HEED_INLINE static Packet<Isa, T> apply(const Packet<Isa, T>& x) {
    return hyperbolic_tangent(x);
  }
  template <class Isa, class T>
  HEED_INLINE static Packet<Isa, T> derivative(const Packet<Isa, T>& x) {
    return Packet<Isa, T>::broadcast(T(4)) * Sigmoid::derivative(x + x);
  }
};

/// x σ(alpha x) (Elfwing et al. 2018; with alpha: swish, Ramachandran et al. 2017); derivative s (1 + alpha x (1 - s)).
struct Silu {
  double alpha = 1;  ///< steepness of the sigmoid

  template <class Isa, class T>
  HEED_INLINE Packet<Isa, T> apply(const Packet<Isa, T>& x) const {
    const Packet<Isa, T> u = x * Packet<Isa, T>::broadcast(T(alpha));
    return detail::unless_far_below(u, x * detail::sigmoid(u).value);
  }
  template <class Isa, class T>
  HEED_INLINE Packet<Isa, T> derivative(const Packet<Isa, T>& x) const {
    using P = Packet<Isa, T>;
    const P u = x * P::broadcast(T(alpha));
    const detail::Sigmoid<Isa, T> s = detail::sigmoid(u);
    return detail::unless_far_below(u, s.value * P::fma(detail::not_infinity(u), s.rest, P::broadcast(T(1))));
  }
};

namespace detail {

template <class Activation>
struct Apply {
  Activation activation;

  template <class P>
  HEED_INLINE P operator()(const P& x) const {
    return activation.apply(x);
  }
};

template <class Activation>
struct TimesDerivative {
  Activation activation;

  template <class P>
  HEED_INLINE P operator()(const P& x, const P& dy) const {
    return dy * activation.derivative(x);
  }
};

}  // namespace detail

/// y = activation(x), element by element; y may be x.
template <class T, class Activation>
void activation_forward(Index count, const T* x, T* y, const Activation& activation) {
  elementwise(detail::Apply<Activation>{activation}, count, y, x);
}
HEED_COMPILE_ONCE(activation_forward, Relu);
HEED_COMPILE_ONCE(activation_forward, Gelu);
HEED_COMPILE_ONCE(activation_forward, GeluTanh);
HEED_COMPILE_ONCE(activation_forward, LeakyRelu);
HEED_COMPILE_ONCE(activation_forward, Elu);
HEED_COMPILE_ONCE(activation_forward, Sigmoid);
HEED_COMPILE_ONCE(activation_forward, Tanh);
HEED_COMPILE_ONCE(activation_forward, Silu);

/// dx = dy * activation'(x); dx may be dy.
template <class T, class Activation>
void activation_backward(Index count, const T* x, const T* dy, T* dx, const Activation& activation) {
  elementwise(detail::TimesDerivative<Activation>{activation}, count, dx, x, dy);
}
HEED_COMPILE_ONCE(activation_backward, Relu);
HEED_COMPILE_ONCE(activation_backward, Gelu);
HEED_COMPILE_ONCE(activation_backward, GeluTanh);
HEED_COMPILE_ONCE(activation_backward, LeakyRelu);
HEED_COMPILE_ONCE(activation_backward, Elu);
HEED_COMPILE_ONCE(activation_backward, Sigmoid);
HEED_COMPILE_ONCE(activation_backward, Tanh);
HEED_COMPILE_ONCE(activation_backward, Silu);

}  // namespace heed::inline HEED_ABI::kernels
