// SPDX-License-Identifier: MIT
#pragma once

#include <initializer_list>

#include <heed/core/tensor.hpp>
#include <heed/kernels/pack.hpp>

namespace heed::inline HEED_ABI::kernels {

// Copies that give the operands of attention the layout which register tiles want, and the memory for them.

/// An array of a job's scratch: where its pointer goes, and its elements.
template <class T>
struct ScratchPart {
  T** data;
  Index size;
};

/// One buffer cut into the parts, each a multiple of 16 elements (a cache line of floats) from its start; pointers to parts of size 0 become null.
template <class T>
Tensor<T, 1> cut_scratch(std::initializer_list<ScratchPart<T>> parts) {
  const auto whole_lines = [](Index size) { return (size + 15) / 16 * 16; };
  Index total = 0;
  for (const ScratchPart<T>& part : parts) total += whole_lines(part.size);
  auto memory = Tensor<T, 1>::uninitialized({total});
  T* next = memory.data();
  for (const ScratchPart<T>& part : parts) {
    *part.data = part.size > 0 ? next : nullptr;
    next += whole_lines(part.size);
  }
  return memory;
}

namespace detail {

template <class T>
struct CopyRows {
  template <class Isa>
  HEED_INLINE static void run(const RowsSource<T>* source, const T* scale, T* copy, Index copy_row, Index copy_rows) {
    using P = Packet<Isa, T>;
    const RowsSource<T>& x = *source;
    const P factor = P::broadcast(*scale);
    for (Index i = 0; i < copy_rows; ++i) {
      const bool used = i < x.rows && !(x.flags && !x.flags[i]);
      const T* from = x.data + i * x.row;
      T* to = copy + i * copy_row;
      for (Index j = 0; j < x.cols; j += P::lanes)  // copy_row has room for whole vectors
        (used ? P::load_partial(from + j, x.cols - j) * factor : P::zero()).store(to + j);
    }
  }
};

/// sums[i] = Σ x[i][j] y[i][j]
template <class T>
struct RowDots {
  template <class Isa>
  HEED_INLINE static void run(Index rows, Index cols, const T* x, Index x_row, const T* y, Index y_row, T* sums) {
    using P = Packet<Isa, T>;
    for (Index i = 0; i < rows; ++i) {
      P sum = P::zero();
      for (Index j = 0; j < cols; j += P::lanes)
        sum = P::fma(P::load_partial(x + i * x_row + j, cols - j), P::load_partial(y + i * y_row + j, cols - j), sum);
      sums[i] = sum.sum();
    }
  }
};

template <class T>
struct Lanes {
  template <class Isa>
  HEED_INLINE static void run(Index* lanes) {
    *lanes = Packet<Isa, T>::lanes;
  }
};

}  // namespace detail

/// Sizes that follow from the instruction set in use.
template <class T>
struct TileSizes {
  Index rows, width, lanes = 1;  ///< of a register tile, of a panel, of a vector

  TileSizes() : rows(tile_rows<T>()), width(panel_width<T>()) { dispatch<detail::Lanes<T>, T>(&lanes); }
  Index whole_vectors(Index n) const { return (n + lanes - 1) / lanes * lanes; }
  Index whole_panels(Index n) const { return (n + width - 1) / width * width; }
  /// Rows to prepare for tiles to read `n` rows.
  Index with_slack(Index n) const { return n % rows == 0 ? n : n + kTileSlack; }
};

/// copy = scale * data, rows padded to whole vectors and `copy_rows` rows with zeros.
template <class T>
void copy_rows(
    const T* data, Index row, Index rows, Index cols, const unsigned char* flags, T scale, T* copy, Index copy_row, Index copy_rows) {
  const detail::RowsSource<T> source{data, row, rows, cols, flags};
  dispatch<detail::CopyRows<T>, T>(&source, static_cast<const T*>(&scale), copy, copy_row, copy_rows);
}
HEED_COMPILE_ONCE(copy_rows);

/// Rows that tiles may read in place as their right operand, or a copy of them that they may.
template <class T>
struct RightRows {
  const T* data;
  Index row;
};

/// Whether `right_rows` copies (apart from flags, for which it always does).
template <class T>
bool needs_copy(Index row, Index cols, const TileSizes<T>& sizes) {
  // Rows a multiple of 2 KiB apart share cache sets; rows that do not fill vectors would be read beyond their end.
  return cols % sizes.lanes != 0 || (row != cols && row * static_cast<Index>(sizeof(T)) % 2048 == 0);
}

/// `scratch` holds rows * whole_vectors(cols) elements.
template <class T>
RightRows<T> right_rows(
    const T* data, Index row, Index rows, Index cols, const unsigned char* flags, const TileSizes<T>& sizes, T* scratch) {
  if (!flags && !needs_copy(row, cols, sizes)) return {data, row};
  const Index copy_row = sizes.whole_vectors(cols);
  copy_rows(data, row, rows, cols, flags, T(1), scratch, copy_row, rows);
  return {scratch, copy_row};
}

}  // namespace heed::inline HEED_ABI::kernels
