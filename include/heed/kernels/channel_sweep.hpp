// SPDX-License-Identifier: MIT
#pragma once

#include <heed/core/simd.hpp>

namespace heed::inline HEED_ABI::kernels {

namespace detail {
template <class Isa>
struct Narrower {
  using type = Scalar;
};
template <>
struct Narrower<Avx2> {
  using type = Avx2Half;
};
template <>
struct Narrower<Avx512> {
  using type = Avx2;
};
}  // namespace detail

/// Covers channels [begin, end) with packets: calls `body.template at<P>(channel)` for whole packets of the widest kind and for the rest of
/// narrower ones, so that 24 channels are 16 + 8 and 3 channels three scalars. What a channel computes does not depend on its packet.
/// Body is a struct of pointers and numbers whose `at` is HEED_INLINE; it must be stepwise the same in every lane.
template <class Isa, class T, class Body>
HEED_INLINE void sweep_channels(Index begin, Index end, const Body& body) {
  using P = Packet<Isa, T>;
  for (; begin + P::lanes <= end; begin += P::lanes) body.template at<P>(begin);
  if constexpr (P::lanes > 1) sweep_channels<typename detail::Narrower<Isa>::type, T>(begin, end, body);
}

}  // namespace heed::inline HEED_ABI::kernels
