// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

#include <heed/core/layer.hpp>
#include <heed/core/parallel.hpp>
#include <heed/kernels/elementwise.hpp>
#include <heed/kernels/sum_squares.hpp>
#include <heed/optim/pieces.hpp>
#include <heed/optim/repeated_entries.hpp>

namespace heed::inline HEED_ABI {

namespace detail {

/// Calls `f(length, size_of)` for the gradients as one line of elements: frozen parameters and those without a gradient are left out, and one that
/// appears under two names (tied weights) counts once.
template <class T, class F>
void over_gradients(const std::vector<NamedParameter<T>>& parameters, const F& f) {
  const Tensor<bool, 1> repeated = repeated_entries(parameters, &NamedParameter<T>::parameter);
  const auto size_of = [&](std::size_t k) {
    const Parameter<T>& p = *parameters[k].parameter;
    return repeated[static_cast<Index>(k)] || p.frozen() || !p.has_gradient() ? 0 : p.size();
  };
  f(line_length(parameters.size(), size_of), size_of);
}

}  // namespace detail

/// The Euclidean norm of all gradients together, of those that `clip_gradient_norm` scales. Summed in double (torch: in the gradients' type, where 1e30 overflows)
/// and in a fixed order; not finite if a gradient is not, or if the sum is not (of doubles beyond 1e154).
template <class T>
double gradient_norm(const std::vector<NamedParameter<T>>& parameters) {
  double square = 0;
  detail::over_gradients(parameters, [&](Index length, const auto& size_of) {
    parallel_sum(length, kPieceElements, 1, &square, [&](Index begin, Index end, double* partial) {
      for_each_piece(parameters.size(), size_of, begin, end, [&](std::size_t k, Index from, Index to, Index /*place*/) {
        *partial += kernels::sum_squares(to - from, std::as_const(*parameters[k].parameter).gradient() + from);
      });
    });
  });
  return std::sqrt(square);
}

/// Scales all gradients together so that their Euclidean norm, which is `norm`, is at most `max_norm`: as torch's `clip_grads_with_norm_`, the factor is
/// max_norm / (norm + 1e-6) where that is below 1. A norm that is not finite spoils all gradients, as in torch: an infinite one
/// makes zeros of those that are finite. Look at the norm before you step, as Trainer does.
template <class T>
void clip_gradients_with_norm(const std::vector<NamedParameter<T>>& parameters, double max_norm, double norm) {
  require(max_norm >= 0, "clip_gradient_norm: max_norm must not be negative, is ", max_norm);
  const double factor = max_norm / (norm + 1e-6);
  if (factor >= 1) return;
  detail::over_gradients(parameters, [&](Index length, const auto& size_of) {
    parallel_for(length, kPieceElements, [&](Index begin, Index end) {
      for_each_piece(parameters.size(), size_of, begin, end, [&](std::size_t k, Index from, Index to, Index /*place*/) {
        T* gradient = parameters[k].parameter->gradient() + from;
        kernels::elementwise(kernels::Scale<T>{static_cast<T>(factor)}, to - from, gradient, static_cast<const T*>(gradient));
      });
    });
  });
}

/// Scales all gradients together so that their Euclidean norm is at most `max_norm`, and returns the norm before (torch's `clip_grad_norm_`). Frozen parameters
/// and those without a gradient are left out, and one that appears under two names (tied weights) counts once.
template <class T>
double clip_gradient_norm(const std::vector<NamedParameter<T>>& parameters, double max_norm) {
  require(max_norm >= 0, "clip_gradient_norm: max_norm must not be negative, is ", max_norm);
  const double norm = gradient_norm(parameters);
  clip_gradients_with_norm(parameters, max_norm, norm);
  return norm;
}

}  // namespace heed::inline HEED_ABI
