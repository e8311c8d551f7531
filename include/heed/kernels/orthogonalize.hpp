// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include <heed/kernels/elementwise.hpp>
#include <heed/kernels/gemm.hpp>
#include <heed/kernels/sum_squares.hpp>

namespace heed::inline HEED_ABI::kernels {

/// The quintic iteration of Newton and Schulz: each step turns the singular values s of X into a s + b s^3 + c s^5.
struct NewtonSchulz {
  /// Chosen by Keller Jordan for the largest slope at 0: small singular values grow fast, large ones end between 0.7 and 1.2 instead of at 1.
  std::array<double, 3> coefficients = {3.4445, -4.7750, 2.0315};
  int steps = 5;      ///< how many
  double eps = 1e-7;  ///< the least that the norm of X counts as
};

/// An epilogue: C = product C + own base, where `base` has the shape of C.
template <class T>
struct BlendWith {
  T product, own;  ///< factors of the product and of `base`
  const T* base;   ///< (rows, cols) of C
  Index base_row;  ///< elements from row to row of `base`

  /// On the block of C at (row, col).
  void operator()(Index row, Index rows, Index col, Index cols, T* c, Index c_row) const {
    for (Index i = 0; i < rows; ++i) {
      const T* b = base + (row + i) * base_row + col;
      for (Index j = 0; j < cols; ++j) c[i * c_row + j] = product * c[i * c_row + j] + own * b[j];
    }
  }
};

/// Moves the singular values of `x` (rows x cols) towards 1 and keeps its singular vectors: with the singular value decomposition
/// X = U S V^T, towards U V^T, without computing that. X is divided by its Frobenius norm first, so that no singular value is above 1.
///
///     A = X X^T,  B = b A + c A A,  X <- a X + B X     (for rows > cols: A = X^T X, X <- a X + X B, which is the same with smaller A)
///
/// Three products a step, parallel inside. Scratch: one more X and two A from the pool.
template <class T>
void orthogonalize(const NewtonSchulz& method, Tensor<T, 2>& x) {
  const Index rows = x.size(0), cols = x.size(1), side = std::min(rows, cols);
  if (side == 0) return;
  double square = 0;
  parallel_sum(x.size(), kElementwiseChunk, 1, &square,
      [&](Index begin, Index end, double* partial) { *partial += sum_squares(end - begin, x.data() + begin); });
  const double norm = std::sqrt(square);
  elementwise(Scale<T>{T(1 / (norm < method.eps ? method.eps : norm))}, x.size(), x.data(), std::as_const(x).data());

  const T a = T(method.coefficients[0]), b = T(method.coefficients[1]), c = T(method.coefficients[2]);
  auto next = Tensor<T, 2>::uninitialized({rows, cols});
  auto gram = Tensor<T, 2>::uninitialized({side, side}), polynomial = Tensor<T, 2>::uninitialized({side, side});
  for (int step = 0; step < method.steps; ++step) {
    const MatrixRef<T> from{x.data(), cols}, squared{gram.data(), side}, factor{polynomial.data(), side};
    const BlendWith<T> add_own{T(1), a, x.data(), cols};
    if (rows > cols)
      gemm(side, side, rows, from.transposed(), from, gram.data(), side);
    else
      gemm(side, side, cols, from, from.transposed(), gram.data(), side);
    gemm(side, side, side, squared, squared, polynomial.data(), side, false, nullptr, BlendWith<T>{c, b, gram.data(), side});
    if (rows > cols)
      gemm(rows, cols, side, from, factor, next.data(), cols, false, nullptr, add_own);
    else
      gemm(rows, cols, side, factor, from, next.data(), cols, false, nullptr, add_own);
    x.swap(next);
  }
}
HEED_COMPILE_ONCE(orthogonalize);

}  // namespace heed::inline HEED_ABI::kernels
