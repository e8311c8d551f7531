// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>

#include <heed/core/parallel.hpp>
#include <heed/core/random.hpp>

namespace heed::inline HEED_ABI::kernels {

/// Which elements dropout keeps, as a pure function of a key and the element's number: forward and backward draw the same mask, nothing is
/// stored, and nothing depends on threads. Two elements share one 64-bit number, 32 bits each, so p is exact to 2^-32.
struct DropoutMask {
  CounterRandom random{0};      ///< the key
  std::uint64_t threshold = 0;  ///< of the 32-bit numbers: below, the element is dropped
  double scale = 1;             ///< 1 / (1 - p), by which what is kept grows (inverted scaling)

  DropoutMask() = default;
  /// Drops with probability p in [0, 1].
  DropoutMask(std::uint64_t key, double p)
      : random({key}), threshold(static_cast<std::uint64_t>(p * 0x1.0p32)), scale(p < 1 ? 1 / (1 - p) : 0) {}

  /// Whether element number `element` is kept.
  bool keeps(std::uint64_t element) const {
    const std::uint64_t pair = random.bits(element / 2);
    return (element % 2 == 0 ? pair & 0xffffffffu : pair >> 32) >= threshold;
  }
};

/// y[i] = keeps(i) ? scale * x[i] : 0; y may be x. It is its own backward (dy in, dx out).
template <class T>
void apply_dropout(const DropoutMask& mask, Index count, const T* x, T* y) {
  constexpr Index kChunk = 8192;  // even; a few tens of microseconds
  parallel_for(count, kChunk, [&](Index begin, Index end) {
    const T scale = T(mask.scale), zero = T(0);
    for (Index i = begin; i < end; i += 2) {  // chunks start at even elements
      const std::uint64_t pair = mask.random.bits(static_cast<std::uint64_t>(i / 2));
      y[i] = (pair & 0xffffffffu) >= mask.threshold ? T(x[i] * scale) : zero;
      if (i + 1 < end) y[i + 1] = pair >> 32 >= mask.threshold ? T(x[i + 1] * scale) : zero;
    }
  });
}
HEED_COMPILE_ONCE(apply_dropout);

}  // namespace heed::inline HEED_ABI::kernels
