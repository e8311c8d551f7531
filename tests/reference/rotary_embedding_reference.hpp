// SPDX-License-Identifier: MIT
#pragma once

#include <complex>

#include <heed/kernels/rotary_embedding.hpp>

namespace reference {

/// Rotary embedding as its definition reads: a pair of features is a complex number, and turning it is multiplication by cos + i sin (by cos - i sin on the
/// way back). The judge of kernels/rotary_embedding.hpp.
template <class T>
void rotary_embedding(
    const heed::kernels::Rotation<T>& r, bool back, const heed::kernels::HeadRows<const T>& x, const heed::kernels::HeadRows<double>& y) {
  using heed::Index;
  const Index half = r.rotary_width / 2;
  for (Index b = 0; b < r.batches; ++b)
    for (Index h = 0; h < r.heads; ++h)
      for (Index t = 0; t < r.tokens; ++t) {
        const Index position = r.position_ids ? r.position_ids[b * r.position_batch + t] : r.offset + b * r.position_batch + t;
        for (Index i = 0; i < r.width; ++i) y.at(b, h, t)[i] = static_cast<double>(x.at(b, h, t)[i]);
        for (Index i = 0; i < half; ++i) {
          const Index u = r.interleaved ? 2 * i : i, v = r.interleaved ? 2 * i + 1 : half + i;
          std::complex<double> angle(static_cast<double>(r.cos[position * half + i]), static_cast<double>(r.sin[position * half + i]));
          if (back) angle = std::conj(angle);
          const auto turned = std::complex<double>(static_cast<double>(x.at(b, h, t)[u]), static_cast<double>(x.at(b, h, t)[v])) * angle;
          y.at(b, h, t)[u] = turned.real(), y.at(b, h, t)[v] = turned.imag();
        }
      }
}

}  // namespace reference
