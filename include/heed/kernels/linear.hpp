// SPDX-License-Identifier: MIT
#pragma once

#include <heed/core/prepared_weights.hpp>
#include <heed/kernels/column_sums.hpp>
#include <heed/kernels/gemm.hpp>

namespace heed::inline HEED_ABI::kernels {

// y = x Wᵀ + b on a whole weight, on some of its rows (a part of a packed projection) or on some of its columns (a part of the input).

/// x (rows, in), y (rows, out), both without gaps between rows; W (out, in).
struct LinearSizes {
  Index rows, in, out;    ///< rows of x, features of x and of y
  Index weight_row = in;  ///< elements from row to row of W and of its gradient: more than `in` where W is some columns of a wider weight
};

/// y = x Wᵀ + b, or with `add` y += x Wᵀ + b. A null `bias` is none.
template <class T>
void linear_forward(const LinearSizes& s, const T* x, const T* weight, const T* bias, T* y, bool add = false) {
  const MatrixRef<T> transposed = MatrixRef<T>{weight, s.weight_row}.transposed();
  const bool packs = !detail::FewRows<T>::fits(s.rows, {x, s.in}) && !detail::FewColumns<T>::fits(s.out, s.in, {x, s.in}, transposed) &&
                     !detail::NarrowProduct<T>::fits(s.out, s.in, {x, s.in}, s.out);
  if (!packs) return gemm(s.rows, s.out, s.in, {x, s.in}, transposed, y, s.out, add, bias);
  PackedOperand<T> own;
  const auto pack = [&](PackedOperand<T>& packed) { packed.pack(s.in, s.out, transposed); };
  packed_gemm(s.rows, {x, s.in}, prepared(WeightRows<T>{weight, s.out, s.in, s.weight_row}, {}, own, pack), y, s.out, add, bias);
}
HEED_COMPILE_ONCE(linear_forward);

/// dx = dy W, or with `add` dx += dy W.
template <class T>
void linear_input_gradient(const LinearSizes& s, const T* weight, const T* dy, T* dx, bool add = false) {
  gemm(s.rows, s.in, s.out, {dy, s.out}, {weight, s.weight_row}, dx, s.in, add);
}
HEED_COMPILE_ONCE(linear_input_gradient);
/// d_weight += dyᵀ x.
template <class T>
void linear_weight_gradient(const LinearSizes& s, const T* x, const T* dy, T* d_weight) {
  gemm(s.out, s.in, s.rows, MatrixRef<T>{dy, s.out}.transposed(), {x, s.in}, d_weight, s.weight_row, true);
}
HEED_COMPILE_ONCE(linear_weight_gradient);

/// y = x Wᵀ + b: dx = dy W, or with `add_dx` dx += dy W; d_weight += dyᵀ x and d_bias += column sums of dy, each only where not null.
template <class T>
void linear_backward(const LinearSizes& s, const T* x, const T* weight, const T* dy, T* dx, T* d_weight, T* d_bias, bool add_dx = false) {
  linear_input_gradient(s, weight, dy, dx, add_dx);
  if (d_weight) linear_weight_gradient(s, x, dy, d_weight);
  if (d_bias) add_column_sums(s.rows, s.out, dy, s.out, d_bias);
}
HEED_COMPILE_ONCE(linear_backward);

}  // namespace heed::inline HEED_ABI::kernels
