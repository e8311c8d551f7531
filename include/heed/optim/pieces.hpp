// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cstddef>

#include <heed/core/shape.hpp>

namespace heed::inline HEED_ABI {

/// Elements that one thread takes at a time: some ten microseconds of work, so that handing it over costs nothing and a small model
/// still keeps every core busy.
inline constexpr Index kPieceElements = 16384;

namespace detail {
/// Arrays start at multiples of 64 elements, so pieces that are cut there stay aligned to cache lines inside each array.
inline Index aligned_size(Index size) { return (size + 63) / 64 * 64; }
}  // namespace detail

/// `arrays` arrays of `size_of(k)` elements laid end to end: the length of the line. All parameters of a model become one range that
/// is cut at fixed positions, so one parallel loop serves thousands of small arrays as well as one large one.
template <class SizeOf>
Index line_length(std::size_t arrays, const SizeOf& size_of) {
  Index length = 0;
  for (std::size_t k = 0; k < arrays; ++k) length += detail::aligned_size(size_of(k));
  return length;
}

/// Calls `body(k, from, to, place)` for each array k that has elements in [begin, end) of the line: they are its elements [from, to), the first of
/// which lies at `place`.
template <class SizeOf, class Body>
void for_each_piece(std::size_t arrays, const SizeOf& size_of, Index begin, Index end, const Body& body) {
  Index start = 0;
  for (std::size_t k = 0; k < arrays; ++k) {
    if (start >= end) return;
    const Index size = size_of(k);
    const Index from = std::max<Index>(begin - start, 0), to = std::min(end - start, size);
    if (from < to) body(k, from, to, start + from);
    start += detail::aligned_size(size);
  }
}

}  // namespace heed::inline HEED_ABI
