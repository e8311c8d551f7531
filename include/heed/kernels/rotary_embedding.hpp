// SPDX-License-Identifier: MIT
#pragma once

#include <cmath>
#include <cstdint>

#include <heed/core/parallel.hpp>
#include <heed/core/simd.hpp>
#include <heed/kernels/attention_mask.hpp>

namespace heed::inline HEED_ABI::kernels {

/// Turns pairs of features of queries or keys by an angle that grows with the token's position (Su et al. 2021, eq. 34): the pair (u, v) number i
/// of a head becomes (u cos - v sin, v cos + u sin) with cos and sin from column i of the position's row of two tables.
///
/// Pair i is features i and i + rotary_width / 2 of a head, or 2 i and 2 i + 1 if `interleaved`. Features from rotary_width on pass as they are.
/// Every head of a token turns alike. Token t of sequence b has the row `position_ids[b * position_batch + t]`, or without ids
/// `offset + b * position_batch + t`: 0 there for one table that all sequences share, `tokens` for tables (batches, tokens, rotary_width / 2).
template <class T>
struct Rotation {
  Index batches = 0, heads = 0, tokens = 0;    ///< sizes of x
  Index width = 0;                             ///< features of a head
  Index rotary_width = 0;                      ///< the first so many of them turn; even, at most `width`
  bool interleaved = false;                    ///< pairs are neighbours
  const T* cos = nullptr;                      ///< (positions, rotary_width / 2)
  const T* sin = nullptr;                      ///< (positions, rotary_width / 2)
  Index offset = 0;                            ///< position of the first token, without ids
  const std::int64_t* position_ids = nullptr;  ///< rows of the tables, token by token; null: from `offset` on
  Index position_batch = 0;                    ///< ids or positions from sequence to sequence

  /// The row of the tables for token t of sequence b.
  Index position(Index b, Index t) const { return position_ids ? position_ids[b * position_batch + t] : offset + b * position_batch + t; }
  /// Are all rows that the tokens name below `positions` and not negative?
  bool fits(Index positions) const {
    if (batches == 0 || tokens == 0) return true;
    if (!position_ids) return offset >= 0 && position(batches - 1, tokens - 1) < positions;
    for (Index b = 0; b < batches; ++b)
      for (Index t = 0; t < tokens; ++t)
        if (position(b, t) < 0 || position(b, t) >= positions) return false;
    return true;
  }
};

namespace detail {

template <class T>
struct Rotate {
  template <class Isa>
  HEED_INLINE static void turn(const Packet<Isa, T>& u, const Packet<Isa, T>& v, const T* cos, const T* sin, const Packet<Isa, T>& sign,
      Index left, Packet<Isa, T>& turned_u, Packet<Isa, T>& turned_v) {
    using P = Packet<Isa, T>;
    const P c = P::load_partial(cos, left), s = sign * P::load_partial(sin, left);
    turned_u = u * c - v * s, turned_v = v * c + u * s;
  }

  /// One head of one token. A pair is read before it is written, so y may be x.
  template <class Isa>
  HEED_INLINE static void row(const Rotation<T>& r, const T* cos, const T* sin, const Packet<Isa, T>& sign, const T* x, T* y) {
    using P = Packet<Isa, T>;
    constexpr Index lanes = P::lanes;
    const Index half = r.rotary_width / 2;
    P u, v, turned_u, turned_v;
    for (Index i = 0; i < half; i += lanes) {
      const Index left = half - i;
      if (r.interleaved) {
        const T* from = x + 2 * i;
        P::split_pairs(P::load_partial(from, 2 * left), P::load_partial(from + lanes, 2 * left - lanes), u, v);
        turn<Isa>(u, v, cos + i, sin + i, sign, left, turned_u, turned_v);
        P::join_pairs(turned_u, turned_v, u, v);
        u.store_partial(y + 2 * i, 2 * left), v.store_partial(y + 2 * i + lanes, 2 * left - lanes);
      } else {
        turn<Isa>(P::load_partial(x + i, left), P::load_partial(x + half + i, left), cos + i, sin + i, sign, left, turned_u, turned_v);
        turned_u.store_partial(y + i, left), turned_v.store_partial(y + half + i, left);
      }
    }
    for (Index i = r.rotary_width; y != x && i < r.width; i += lanes) P::load_partial(x + i, r.width - i).store_partial(y + i, r.width - i);
  }

  template <class Isa>
  HEED_INLINE static void run(Index begin, Index end, const Rotation<T>* rotation, int direction, HeadRows<const T> x, HeadRows<T> y) {
    const Rotation<T>& r = *rotation;
    const auto sign = Packet<Isa, T>::broadcast(T(direction));
    for (Index token = begin; token < end; ++token) {
      const Index b = token / r.tokens, t = token % r.tokens, angles = r.position(b, t) * (r.rotary_width / 2);
      for (Index h = 0; h < r.heads; ++h) row<Isa>(r, r.cos + angles, r.sin + angles, sign, x.at(b, h, t), y.at(b, h, t));
    }
  }
};

/// Parallel over tokens: every element belongs to one of them.
template <class T>
void rotate(const Rotation<T>& r, int direction, const HeadRows<const T>& x, const HeadRows<T>& y) {
  HEED_ASSERT(r.rotary_width % 2 == 0 && r.rotary_width <= r.width);
  const Index grain = 16384 / (r.heads * r.width + 1);  // elements of a chunk, as in elementwise.hpp
  parallel_for(r.batches * r.tokens, grain, [&](Index begin, Index end) { dispatch<Rotate<T>, T>(begin, end, &r, direction, x, y); });
}

}  // namespace detail

/// y = x turned forward. `y` may lie where `x` does: projected queries and keys are turned in place, as heads of a packed projection, too.
template <class T>
void rotary_forward(const Rotation<T>& r, const HeadRows<const T>& x, const HeadRows<T>& y) {
  detail::rotate(r, 1, x, y);
}
HEED_COMPILE_ONCE(rotary_forward);
/// dx = dy turned back by the same angles: a rotation is orthogonal. `dx` may lie where `dy` does.
template <class T>
void rotary_backward(const Rotation<T>& r, const HeadRows<const T>& dy, const HeadRows<T>& dx) {
  detail::rotate(r, -1, dy, dx);
}
HEED_COMPILE_ONCE(rotary_backward);

/// The tables of angles position * base^(-2 i / rotary_width), i < rotary_width / 2, for positions 0 ... positions - 1; computed in double.
template <class T>
void rotary_table(double base, Index rotary_width, Index positions, T* cos, T* sin) {
  const Index half = rotary_width / 2;
  for (Index i = 0; i < half; ++i) {
    const double frequency = std::pow(base, -2 * static_cast<double>(i) / static_cast<double>(rotary_width));
    for (Index p = 0; p < positions; ++p) {
      const double angle = static_cast<double>(p) * frequency;
      cos[p * half + i] = T(std::cos(angle)), sin[p * half + i] = T(std::sin(angle));
    }
  }
}
HEED_COMPILE_ONCE(rotary_table);

}  // namespace heed::inline HEED_ABI::kernels
