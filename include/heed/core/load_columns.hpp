// SPDX-License-Identifier: MIT
#pragma once

#include <utility>

#include <heed/core/simd.hpp>

#if HEED_HAS_VECTORS && defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wpsabi"  // see simd.hpp
#endif

namespace heed::inline HEED_ABI {

// Rows in memory as columns in registers: what packing and products of a few rows begin with.
//
// 16 bytes of each row are put side by side, lanes / columns rows apart, as part of the load (which shares its port with nothing), and are then transposed within
// the 16 bytes: 8 shuffles for 4 vectors of float. `Packet::transpose` on whole rows takes 16 for them, each of which crosses a register and waits for the one port
// that can. Emerald Rapids, one thread, from L1: packing 29 -> 19 ns a KB; from L2, where stores are the limit, the same.

/// How many columns are loaded at once: 16 bytes of a row.
template <class Isa, class T>
inline constexpr int kColumns = Packet<Isa, T>::lanes > 1 ? 16 / static_cast<int>(sizeof(T)) : 1;

#if HEED_HAS_VECTORS
namespace detail {

/// Within each 16 bytes: lower (Half = 0) or upper halves of a and b in turns.
template <class Vector, int Half, int Group, std::size_t... I>
HEED_INLINE void interleave_groups(const Vector& a, const Vector& b, Vector& result, std::index_sequence<I...>) {
  constexpr int lanes = sizeof...(I);
  const auto from = [](int i) { return i / Group * Group + Half * Group / 2 + i % Group / 2 + (i % 2 ? lanes : 0); };
  result = __builtin_shufflevector(a, b, from(static_cast<int>(I))...);
}

template <class Vector, class Part, std::size_t... I>
HEED_INLINE void join(const Part& a, const Part& b, Vector& result, std::index_sequence<I...>) {
  result = __builtin_shufflevector(a, b, static_cast<int>(I)...);
}

#if HEED_HAS_X86_DISPATCH && !defined(__clang__)
/// The 16 bytes at p go to the lanes of `Lanes`. (g++ 12 makes loads and shuffles, for the port that is short, of what clang makes one instruction of.)
template <int Lanes, class Isa>
HEED_INLINE void fill_group(const float* p, Packet<Isa, float>& v) {
  v = {__builtin_ia32_broadcastf32x4_512(Packet<Baseline, float>::load(p).v, v.v, Lanes)};
}
#endif

/// 16 bytes of rows `first`, first + lanes of a group, ... one behind the other, from `column` on.
template <class Isa, class T, class Rows>
HEED_INLINE void gather_groups(const Rows& rows, Index first, Index column, Packet<Isa, T>& result) {
  using P = Packet<Isa, T>;
  using Group = Packet<Baseline, T>;
  constexpr int lanes = P::lanes, group = Group::lanes;
  const T* const p = rows.at(first) + column;
  if constexpr (lanes == group) {
    result = P::load(p);
#if HEED_HAS_X86_DISPATCH && !defined(__clang__)
  } else if constexpr (std::is_same_v<Isa, Avx512>) {
    Packet<Isa, float> v = Packet<Isa, float>::zero();
    fill_group<0xffff>(reinterpret_cast<const float*>(p), v);
    fill_group<0x00f0>(reinterpret_cast<const float*>(rows.at(first + group) + column), v);
    fill_group<0x0f00>(reinterpret_cast<const float*>(rows.at(first + 2 * group) + column), v);
    fill_group<0xf000>(reinterpret_cast<const float*>(rows.at(first + 3 * group) + column), v);
    result.v = reinterpret_cast<typename P::Vector>(v.v);
#endif
  } else if constexpr (lanes == 2 * group) {
    join(Group::load(p).v, Group::load(rows.at(first + group) + column).v, result.v, std::make_index_sequence<lanes>());
  } else {
    typename Packet<Avx2, T>::Vector ab, cd;
    join(Group::load(p).v, Group::load(rows.at(first + group) + column).v, ab, std::make_index_sequence<lanes / 2>());
    join(Group::load(rows.at(first + 2 * group) + column).v, Group::load(rows.at(first + 3 * group) + column).v, cd,
        std::make_index_sequence<lanes / 2>());
    join(ab, cd, result.v, std::make_index_sequence<lanes>());
  }
}

}  // namespace detail
#endif

/// Rows at one distance from each other.
template <class T>
struct RegularRows {
  const T* p;  ///< row 0
  Index row;   ///< elements from row to row

  /// Where row `i` begins.
  HEED_INLINE const T* at(Index i) const { return p + i * row; }
  /// Zeros in the lanes of rows that do not count: here all do.
  template <class P>
  HEED_INLINE P keep(const P& x) const {
    return x;
  }
};

/// Lane i of columns[c] is rows.at(i)[column + c].
template <class Isa, class T, class Rows>
HEED_INLINE void load_columns(const Rows& rows, Index column, Packet<Isa, T> (&columns)[kColumns<Isa, T>]) {
  using P = Packet<Isa, T>;
  constexpr int count = kColumns<Isa, T>;
  if constexpr (count == 1) columns[0] = P::load(rows.at(0) + column);
#if HEED_HAS_VECTORS
  if constexpr (count > 1) {
    constexpr std::make_index_sequence<P::lanes> numbers;
#pragma GCC unroll 4
    for (int c = 0; c < count; ++c) detail::gather_groups<Isa>(rows, c, column, columns[c]);
#pragma GCC unroll 2
    for (int stage = 1; stage < count; stage *= 2) {
      P next[count];
#pragma GCC unroll 2
      for (int c = 0; c < count / 2; ++c) {
        detail::interleave_groups<typename P::Vector, 0, count>(columns[c].v, columns[c + count / 2].v, next[2 * c].v, numbers);
        detail::interleave_groups<typename P::Vector, 1, count>(columns[c].v, columns[c + count / 2].v, next[2 * c + 1].v, numbers);
      }
#pragma GCC unroll 4
      for (int c = 0; c < count; ++c) columns[c] = next[c];
    }
  }
#endif
}

/// Calls `sink.take(first, begin, end, columns)` for all columns of `rows` in their order: columns[c] is column first + c, and those of [begin, end) are new.
template <class Isa, class T, class Rows, class Sink>
HEED_INLINE void for_columns(const Rows& rows, Index cols, Sink& sink) {
  using P = Packet<Isa, T>;
  constexpr Index count = kColumns<Isa, T>;
  P columns[count];
  Index j = 0;
  for (; j + count <= cols; j += count) {
    load_columns<Isa>(rows, j, columns);
    sink.take(j, Index{0}, count, columns);
  }
  if (j == cols) return;
  if (cols >= count) {
    load_columns<Isa>(rows, cols - count, columns);
    sink.take(cols - count, j - (cols - count), count, columns);
    return;
  }
  for (Index c = 0; c < count; ++c) {
    T numbers[P::lanes];
    for (Index i = 0; i < P::lanes; ++i) numbers[i] = c < cols ? rows.at(i)[c] : T(0);
    columns[c] = P::load(numbers);
  }
  sink.take(Index{0}, Index{0}, cols, columns);
}

}  // namespace heed::inline HEED_ABI

#if HEED_HAS_VECTORS && defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif
