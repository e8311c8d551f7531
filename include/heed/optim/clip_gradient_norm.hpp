// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

#include <heed/core/layer.hpp>
#include <heed/core/parallel.hpp>
#include <heed/core/simd.hpp>
#include <heed/optim/pieces.hpp>
#include <heed/optim/repeated_entries.hpp>

namespace heed {

namespace detail {

/// Sum of squares in double, in eight sums that need not wait for each other (compilers make vectors of them).
template <class T>
struct SumSquares {
  template <class Isa>
  HEED_INLINE static void run(const T* x, Index count, double* sum) {
    double lanes[8] = {};
    Index i = 0;
    for (; i + 8 <= count; i += 8)
      for (int l = 0; l < 8; ++l) lanes[l] += static_cast<double>(x[i + l]) * static_cast<double>(x[i + l]);
    for (; i < count; ++i) lanes[i % 8] += static_cast<double>(x[i]) * static_cast<double>(x[i]);
    *sum += ((lanes[0] + lanes[4]) + (lanes[2] + lanes[6])) + ((lanes[1] + lanes[5]) + (lanes[3] + lanes[7]));
  }
};

template <class T>
struct ScaleArray {
  template <class Isa>
  HEED_INLINE static void run(T* x, Index count, T factor) {
    using P = Packet<Isa, T>;
    for (Index left = count; left > 0; left -= P::lanes, x += P::lanes)
      (P::load_partial(x, left) * P::broadcast(factor)).store_partial(x, left);
  }
};

}  // namespace detail

/// Scales all gradients together so that their Euclidean norm is at most `max_norm`, and returns the norm before: as torch's
/// `clip_grad_norm_`, the factor is max_norm / (norm + 1e-6) where that is below 1. Frozen parameters and those without a gradient
/// are left out, and one that appears under two names (tied weights) counts once. The norm is summed in double (torch: in the gradients' type, where 1e30 overflows) and in a fixed order. A norm
/// that is not finite spoils all gradients, as in torch: check the returned value.
template <class T>
double clip_gradient_norm(const std::vector<NamedParameter<T>>& parameters, double max_norm) {
  require(max_norm >= 0, "clip_gradient_norm: max_norm must not be negative, is ", max_norm);
  const Tensor<bool, 1> repeated = repeated_entries(parameters, &NamedParameter<T>::parameter);
  const auto size_of = [&](std::size_t k) {
    const Parameter<T>& p = *parameters[k].parameter;
    return repeated[static_cast<Index>(k)] || p.frozen() || !p.has_gradient() ? 0 : p.size();
  };
  const Index length = line_length(parameters.size(), size_of);

  double square = 0;
  parallel_sum(length, kPieceElements, 1, &square, [&](Index begin, Index end, double* partial) {
    for_each_piece(parameters.size(), size_of, begin, end, [&](std::size_t k, Index from, Index to) {
      dispatch<detail::SumSquares<T>, T>(std::as_const(*parameters[k].parameter).gradient() + from, to - from, partial);
    });
  });

  const double norm = std::sqrt(square), factor = max_norm / (norm + 1e-6);
  if (factor >= 1) return norm;
  parallel_for(length, kPieceElements, [&](Index begin, Index end) {
    for_each_piece(parameters.size(), size_of, begin, end, [&](std::size_t k, Index from, Index to) {
      dispatch<detail::ScaleArray<T>, T>(parameters[k].parameter->gradient() + from, to - from, static_cast<T>(factor));
    });
  });
  return norm;
}

}  // namespace heed
