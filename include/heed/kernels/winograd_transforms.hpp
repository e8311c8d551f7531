// SPDX-License-Identifier: MIT
#pragma once

#include <heed/core/simd.hpp>

namespace heed::inline HEED_ABI::kernels {

// The line transforms of Winograd's minimal filtering F(Size x Size, 3 x 3) (Lavin and Gray 2016, "Fast algorithms for convolutional neural
// networks", eq. 8 and section 4.1). With the kernel g (3 x 3), a source tile d (side x side, side = Size + 2) and ∘ element by element
//
//     y = Aᵀ [(G g Gᵀ) ∘ (Bᵀ d B)] A        (Size x Size),
//
// and, since that is linear in g and in d, dg = Gᵀ [(Bᵀ d B) ∘ (A dy Aᵀ)] G. F(2x2) interpolates at 0, ±1, ∞.
//
// A struct is one matrix: `apply` maps a line of `in` numbers to `out` numbers, `to_step` apart.

/// Bᵀ: source pixels to points.
template <int Size, class T>
struct WinogradSource;
/// Aᵀ: points to targets.
template <int Size, class T>
struct WinogradTarget;
/// A: gradients of targets to points.
template <int Size, class T>
struct WinogradTargetGradient;
/// G: kernel to points.
template <int Size, class T>
struct WinogradKernel;
/// Gᵀ: points to the gradient of the kernel.
template <int Size, class T>
struct WinogradKernelGradient;

template <class T>
struct WinogradSource<2, T> {
  static constexpr int in = 4, out = 4;
  template <class P>
  HEED_INLINE static void apply(const P* d, P* to, int to_step) {
    const P d0 = d[0], d1 = d[1], d2 = d[2], d3 = d[3];
    to[0] = d0 - d2;
    to[to_step] = d1 + d2;
    to[2 * to_step] = d2 - d1;
    to[3 * to_step] = d1 - d3;
  }
};

template <class T>
struct WinogradTarget<2, T> {
  static constexpr int in = 4, out = 2;
  template <class P>
  HEED_INLINE static void apply(const P* m, P* to, int to_step) {
    const P m1 = m[1], m2 = m[2];
    to[0] = m[0] + m1 + m2;
    to[to_step] = m1 - m2 - m[3];
  }
};

template <class T>
struct WinogradTargetGradient<2, T> {
  static constexpr int in = 2, out = 4;
  template <class P>
  HEED_INLINE static void apply(const P* y, P* to, int to_step) {
    const P y0 = y[0], y1 = y[1];
    to[0] = y0;
    to[to_step] = y0 + y1;
    to[2 * to_step] = y0 - y1;
    to[3 * to_step] = -y1;
  }
};

template <class T>
struct WinogradKernel<2, T> {
  static constexpr int in = 3, out = 4;
  template <class P>
  HEED_INLINE static void apply(const P* g, P* to, int to_step) {
    const P half = P::broadcast(T(0.5)), g0 = g[0], g1 = g[1] * half, g2 = g[2], even = (g0 + g2) * half;
    to[0] = g0;
    to[to_step] = even + g1;
    to[2 * to_step] = even - g1;
    to[3 * to_step] = g2;
  }
};

template <class T>
struct WinogradKernelGradient<2, T> {
  static constexpr int in = 4, out = 3;
  template <class P>
  HEED_INLINE static void apply(const P* u, P* to, int to_step) {
    const P half = P::broadcast(T(0.5)), u1 = u[1], u2 = u[2], even = (u1 + u2) * half;
    to[0] = u[0] + even;
    to[to_step] = (u1 - u2) * half;
    to[2 * to_step] = even + u[3];
  }
};

/// The finite points of F(4x4): 0, ±5/8, ±3/2. With 0, ±1, ±2, which need fewer multiplications and are in Lavin and Gray's matrices, errors are 2.3
/// times as large (in the mean of squares; up to 4 times in the largest), since their powers differ more.
struct WinogradPoints {
  static constexpr double a = 0.625, b = 1.5, a2 = a * a, b2 = b * b;
  static constexpr double at_0 = 1 / (a2 * b2), at_a = 1 / (2 * a2 * (a2 - b2)),
                          at_b = 1 / (2 * b2 * (b2 - a2));  ///< 1 / product of distances
};

template <class P, class T>
HEED_INLINE P constant(double value) {
  return P::broadcast(T(value));
}

/// What the even and the odd powers give at the points a, -a, b, -b.
template <class P>
HEED_INLINE void at_pairs(const P& even_a, const P& odd_a, const P& even_b, const P& odd_b, P* to, int to_step) {
  to[to_step] = even_a + odd_a;
  to[2 * to_step] = even_a - odd_a;
  to[3 * to_step] = even_b + odd_b;
  to[4 * to_step] = even_b - odd_b;
}

template <class T>
struct WinogradSource<4, T> {
  static constexpr int in = 6, out = 6;
  template <class P>
  HEED_INLINE static void apply(const P* d, P* to, int to_step) {
    using W = WinogradPoints;
    const P a = constant<P, T>(W::a), b = constant<P, T>(W::b);
    const P minus_a2 = constant<P, T>(-W::a2), minus_b2 = constant<P, T>(-W::b2);
    const P product = constant<P, T>(W::a2 * W::b2), sum = constant<P, T>(-W::a2 - W::b2);
    const P d0 = d[0], d1 = d[1], d2 = d[2], d3 = d[3], d4 = d[4], d5 = d[5];
    const P even_a = P::fma(minus_b2, d2, d4), odd_a = P::fma(minus_b2, d1, d3) * a;
    const P even_b = P::fma(minus_a2, d2, d4), odd_b = P::fma(minus_a2, d1, d3) * b;
    to[0] = P::fma(product, d0, P::fma(sum, d2, d4));
    at_pairs(even_a, odd_a, even_b, odd_b, to, to_step);
    to[5 * to_step] = P::fma(product, d1, P::fma(sum, d3, d5));
  }
};

template <class T>
struct WinogradTarget<4, T> {
  static constexpr int in = 6, out = 4;
  template <class P>
  HEED_INLINE static void apply(const P* m, P* to, int to_step) {
    using W = WinogradPoints;
    const P a2 = constant<P, T>(W::a2), b2 = constant<P, T>(W::b2);
    const P even_a = m[1] + m[2], odd_a = (m[1] - m[2]) * constant<P, T>(W::a);
    const P even_b = m[3] + m[4], odd_b = (m[3] - m[4]) * constant<P, T>(W::b);
    to[0] = m[0] + even_a + even_b;
    to[to_step] = odd_a + odd_b;
    to[2 * to_step] = P::fma(a2, even_a, b2 * even_b);
    to[3 * to_step] = P::fma(a2, odd_a, P::fma(b2, odd_b, m[5]));
  }
};

template <class T>
struct WinogradTargetGradient<4, T> {
  static constexpr int in = 4, out = 6;
  template <class P>
  HEED_INLINE static void apply(const P* y, P* to, int to_step) {
    using W = WinogradPoints;
    const P a2 = constant<P, T>(W::a2), b2 = constant<P, T>(W::b2);
    const P y0 = y[0], y1 = y[1], y2 = y[2], y3 = y[3];
    const P even_a = P::fma(a2, y2, y0), odd_a = P::fma(a2, y3, y1) * constant<P, T>(W::a);
    const P even_b = P::fma(b2, y2, y0), odd_b = P::fma(b2, y3, y1) * constant<P, T>(W::b);
    to[0] = y0;
    at_pairs(even_a, odd_a, even_b, odd_b, to, to_step);
    to[5 * to_step] = y3;
  }
};

template <class T>
struct WinogradKernel<4, T> {
  static constexpr int in = 3, out = 6;
  template <class P>
  HEED_INLINE static void apply(const P* g, P* to, int to_step) {
    using W = WinogradPoints;
    const P g0 = g[0], g1 = g[1], g2 = g[2];
    const P even_a = P::fma(constant<P, T>(W::a2), g2, g0) * constant<P, T>(W::at_a), odd_a = g1 * constant<P, T>(W::a * W::at_a);
    const P even_b = P::fma(constant<P, T>(W::b2), g2, g0) * constant<P, T>(W::at_b), odd_b = g1 * constant<P, T>(W::b * W::at_b);
    to[0] = g0 * constant<P, T>(W::at_0);
    at_pairs(even_a, odd_a, even_b, odd_b, to, to_step);
    to[5 * to_step] = g2;
  }
};

template <class T>
struct WinogradKernelGradient<4, T> {
  static constexpr int in = 6, out = 3;
  template <class P>
  HEED_INLINE static void apply(const P* u, P* to, int to_step) {
    using W = WinogradPoints;
    const P even_a = (u[1] + u[2]) * constant<P, T>(W::at_a);
    const P even_b = (u[3] + u[4]) * constant<P, T>(W::at_b);
    const P odd_a = (u[1] - u[2]) * constant<P, T>(W::a * W::at_a);
    const P odd_b = (u[3] - u[4]) * constant<P, T>(W::b * W::at_b);
    to[0] = P::fma(constant<P, T>(W::at_0), u[0], even_a + even_b);
    to[to_step] = odd_a + odd_b;
    to[2 * to_step] = P::fma(constant<P, T>(W::a2), even_a, P::fma(constant<P, T>(W::b2), even_b, u[5]));
  }
};

/// Part `number` of `count` equal parts of a square's rows or columns.
template <int count, int number>
struct Part {
  static constexpr int first(int size) { return number * size / count; }
  static constexpr int last(int size) { return (number + 1) * size / count; }
};
using Whole = Part<1, 0>;

/// M X for the matrix M of `Line`: in x in packets from `load(number)`, each loaded right before it is used, to out x in. Columns of X outside of `Columns` count
/// as zero.
template <class Line, class P, class Columns = Whole, class Load>
HEED_INLINE void transform_columns(const Load& load, P* to) {
  constexpr int in = Line::in;
#pragma GCC unroll 6
  for (int j = 0; j < in; ++j) {
    const bool taken = j >= Columns::first(in) && j < Columns::last(in);
    P line[in];
#pragma GCC unroll 6
    for (int i = 0; i < in; ++i) line[i] = taken ? load(i * in + j) : P::zero();
    Line::apply(line, to + j, in);
  }
}

/// Y Mᵀ for Y of out x in: out x out packets to `store(number, packet)`, each stored right after it is made, so that what cannot stay in registers is the middle
/// alone. Only `Rows` of the result are made, numbered from the first of them.
template <class Line, class Rows = Whole, class P, class Store>
HEED_INLINE void transform_rows(const P* from, const Store& store) {
  constexpr int in = Line::in, out = Line::out;
#pragma GCC unroll 6
  for (int i = 0; i < out; ++i) {
    if (i < Rows::first(out) || i >= Rows::last(out)) continue;
    P line[out];
    Line::apply(from + i * in, line, 1);
#pragma GCC unroll 6
    for (int j = 0; j < out; ++j) store((i - Rows::first(out)) * out + j, line[j]);
  }
}

/// M X Mᵀ: the one and the other.
template <class Line, class P, class Rows = Whole, class Load, class Store>
HEED_INLINE void transform_square(const Load& load, const Store& store) {
  P middle[Line::out * Line::in];
  transform_columns<Line, P>(load, middle);
  transform_rows<Line, Rows>(middle, store);
}

namespace detail {
/// Numbers of transform_square at equal distances, to load or to store.
template <class T, class P>
struct Strided {
  T* data;
  Index step;
  HEED_INLINE P operator()(int i) const { return P::load(data + i * step); }
  HEED_INLINE void operator()(int i, const P& value) const { value.store(data + i * step); }
};
}  // namespace detail

}  // namespace heed::inline HEED_ABI::kernels
