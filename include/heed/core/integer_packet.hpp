// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <type_traits>
#include <utility>

#include <heed/core/simd.hpp>

#if HEED_HAS_VECTORS && defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wpsabi"  // see simd.hpp
#endif

namespace heed::inline HEED_ABI {

/// As many 32-bit integers as a packet has lanes, for hashing; arithmetic is modulo 2^32.
template <class Isa, class T>
struct IntegerPacket;

/// One lane.
template <class T>
struct IntegerPacket<Scalar, T> {
  std::uint32_t v;  ///< the register

  /// The same number in all lanes.
  static IntegerPacket broadcast(std::uint32_t s) { return {s}; }
  /// first, first + 1, ...
  static IntegerPacket count_from(std::uint32_t first) { return {first}; }
  /// Lane by lane, modulo 2^32.
  /// @{
  friend IntegerPacket operator+(const IntegerPacket& a, const IntegerPacket& b) { return {a.v + b.v}; }
  friend IntegerPacket operator*(const IntegerPacket& a, const IntegerPacket& b) { return {a.v * b.v}; }
  /// @}
  /// a xor (a shifted right by `Bits`)
  template <int Bits>
  static IntegerPacket fold(const IntegerPacket& a) {
    return {a.v ^ (a.v >> Bits)};
  }
  /// a < bound ? x : y
  static Packet<Scalar, T> select_less(
      const IntegerPacket& a, const IntegerPacket& bound, const Packet<Scalar, T>& x, const Packet<Scalar, T>& y) {
    return a.v < bound.v ? x : y;
  }
};

#if HEED_HAS_VECTORS

namespace detail {
template <class Integers, std::size_t... I>
HEED_INLINE void lane_numbers(Integers& result, std::index_sequence<I...>) {
  result = Integers{I...};
}
}  // namespace detail

template <class Isa, class T>
  requires(Isa::bytes > 0 && std::is_floating_point_v<T>)
struct IntegerPacket<Isa, T> {
  using P = Packet<Isa, T>;
  using Integers = typename P::Integers;

  Integers v;  // in double the upper halves of the lanes stay zero

  HEED_INLINE static IntegerPacket broadcast(std::uint32_t s) {
    IntegerPacket r;
    detail::fill_lanes<Isa>(typename P::Integer(s), r.v);
    return r;
  }
  /// first, first + 1, ...
  HEED_INLINE static IntegerPacket count_from(std::uint32_t first) {
    Integers lanes;
    detail::lane_numbers(lanes, std::make_index_sequence<P::lanes>());
    return low({lanes + typename P::Integer(first)});
  }
  HEED_INLINE friend IntegerPacket operator+(const IntegerPacket& a, const IntegerPacket& b) { return low({a.v + b.v}); }
  HEED_INLINE friend IntegerPacket operator*(const IntegerPacket& a, const IntegerPacket& b) { return low({a.v * b.v}); }
  /// a xor (a shifted right by `Bits`)
  template <int Bits>
  HEED_INLINE static IntegerPacket fold(const IntegerPacket& a) {
    return {a.v ^ (a.v >> Bits)};
  }
  /// a < bound ? x : y
  HEED_INLINE static P select_less(const IntegerPacket& a, const IntegerPacket& bound, const P& x, const P& y) {
    // Compared as signed numbers (AVX2 has no other comparison), which the upper halves of 64-bit lanes are anyway.
    using Signed = typename P::SignedIntegers;
    constexpr typename P::Integer sign = sizeof(T) == 4 ? 0x80000000u : 0u;
    return {reinterpret_cast<Signed>(a.v ^ sign) < reinterpret_cast<Signed>(bound.v ^ sign) ? x.v : y.v};
  }

 private:
  HEED_INLINE static IntegerPacket low(const IntegerPacket& a) {
    if constexpr (sizeof(T) == 4)
      return a;
    else
      return {a.v & typename P::Integer(0xffffffffu)};
  }
};

#endif  // HEED_HAS_VECTORS

}  // namespace heed::inline HEED_ABI

#if HEED_HAS_VECTORS && defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif
