// SPDX-License-Identifier: MIT
#include "catch.hpp"
#include "reference/random_tensor.hpp"

#include <heed/kernels/gemm.hpp>
#include <heed/kernels/layer_norm.hpp>
#include <heed/kernels/narrow_rows.hpp>
#include <heed/kernels/softmax.hpp>

using namespace heed;
using reference::random_tensor;

namespace {

/// Reads rows, adds their number's lane to nothing, counts what is not zero beside them, and stores them twice, the second time added.
template <class T>
struct ThereAndBack {
  template <class Isa>
  HEED_INLINE static void run(Index rows, Index width, const T* x, T* copy, T* twice, Index* most, T* beside) {
    using Rows = kernels::detail::NarrowRows<Isa, T>;
    if constexpr (Packet<Isa, T>::lanes > 1) run<Rows, Packet<Isa, T>>(rows, width, x, copy, twice, most, beside);
  }

 private:
  template <class Rows, class P>
  HEED_INLINE static void run(Index rows, Index width, const T* x, T* copy, T* twice, Index* most, T* beside) {
    *most = width <= Rows::most_features ? Rows::most_rows : 0;
    if (rows > *most) return;
    const Rows v(rows, width, x);
    v.store(rows, width, copy);
    v.store(rows, width, twice);
    v.store(rows, width, twice, true);
    const Index padded = (rows + P::lanes - 1) / P::lanes * P::lanes;
    for (Index i = rows; i < padded; ++i)
      for (Index j = 0; j < width; ++j) *beside += v.elements[j][i] == T(0) ? T(0) : T(1);
    Rows doubled(rows, width, x);
    for (Index i = 0; i < padded; i += P::lanes)
      for (Index j = 0; j < width; ++j) doubled.set(i, j, v.load(i, j) + v.load(i, j));
    for (Index i = 0; i < rows; ++i)
      for (Index j = 0; j < width; ++j) *beside += doubled.elements[j][i] == T(2) * x[i * width + j] ? T(0) : T(1);
  }
};

template <class T>
void check_there_and_back() {
  for (Index width = 1; width <= 9; ++width)
    for (Index rows = 1; rows <= 64; ++rows) {
      const auto x = random_tensor<T, 1>({rows * width}, 1, 1, 2);
      Tensor<T, 1> copy({rows * width + 1}), twice({rows * width + 1});
      Index most = 0;
      T wrong = 0;
      dispatch<ThereAndBack<T>, T>(rows, width, x.data(), copy.data(), twice.data(), &most, &wrong);
      if (rows > most) continue;
      INFO(rows << " rows of " << width);
      CHECK(wrong == 0);
      CHECK((copy[rows * width] == 0 && twice[rows * width] == 0));
      for (Index i = 0; i < rows * width; ++i) REQUIRE((copy[i] == x[i] && twice[i] == 2 * x[i]));
    }
}

/// Is every row of `run(rows, x, y)` what it is alone? x has `in` features, y `width`.
template <class T, class Run>
bool rows_stay_themselves(Index width, Index in, const Run& run) {
  constexpr Index kRows = 150;  // two blocks of 64 and a rest
  const auto x = random_tensor<T, 1>({kRows * in}, 3, -4, 4);
  Tensor<T, 1> all({kRows * width}), one({width});
  run(kRows, x.data(), all.data());
  for (Index i = 0; i < kRows; ++i) {
    run(1, x.data() + i * in, one.data());
    if (!std::equal(one.data(), one.data() + width, all.data() + i * width)) return false;
  }
  return true;
}

}  // namespace

TEST_CASE("narrow rows come back as they were, with zeros beside them") {
  check_there_and_back<float>();
  check_there_and_back<double>();
}

TEST_CASE("a narrow row has the same bits alone and among others") {
  for (Index width = 1; width <= 9; ++width) {
    INFO(width);
    CHECK(rows_stay_themselves<float>(width, width, [&](Index rows, const float* x, float* y) {
      kernels::layer_norm_forward<float>({rows, width, nullptr, nullptr, 1e-5}, x, y, nullptr, nullptr);
    }));
    CHECK(rows_stay_themselves<float>(width, width, [&](Index rows, const float* x, float* y) {
      Tensor<float, 1> mean({rows}), inv_std({rows});
      Tensor<float, 1> unused({rows * width}), weight({width}), bias({width});
      const kernels::LayerNormShape<float> shape{rows, width, nullptr, nullptr, 1e-5};
      kernels::layer_norm_forward(shape, x, unused.data(), mean.data(), inv_std.data());
      kernels::layer_norm_backward(shape, x, x, mean.data(), inv_std.data(), y, false, weight.data(), bias.data());
    }));
    CHECK(rows_stay_themselves<float>(width, width, [&](Index rows, const float* x, float* y) {
      kernels::softmax_forward<float>({rows, width}, x, y);
    }));
    CHECK(rows_stay_themselves<double>(width, width, [&](Index rows, const double* x, double* y) {
      kernels::log_softmax_backward_again<double>({rows, width}, x, x, y);
    }));
    for (Index depth = 1; depth <= 9; ++depth) {
      const auto b = random_tensor<float, 1>({depth * width}, 5);
      CHECK(rows_stay_themselves<float>(width, depth, [&](Index rows, const float* x, float* y) {
        kernels::gemm<float>(rows, width, depth, {x, depth}, {b.data(), width}, y, width, false, b.data());
      }));
    }
  }
}

TEST_CASE("products of narrow rows: with gaps, whatever strides B has, with a bias and on top of what is there") {
  for (Index depth : {1, 2, 5, 8, 9})
    for (Index cols : {1, 3, 4, 7, 8})
      for (Index rows : {1, 3, 16, 17, 70})
        for (Index a_gap : {0, 1})
          for (Index c_gap : {0, 2}) {
            INFO(rows << "x" << depth << " by " << depth << "x" << cols << ", gaps " << a_gap << " and " << c_gap);
            const Index a_row = depth + a_gap, c_row = cols + c_gap;
            const auto a = random_tensor<double, 1>({rows * a_row}, 1), b = random_tensor<double, 1>({2 * depth * cols}, 2);
            const auto bias = random_tensor<double, 1>({cols}, 3), before = random_tensor<double, 1>({rows * c_row}, 4);
            for (bool transposed : {false, true})
              for (bool accumulate : {false, true}) {
                const kernels::MatrixRef<double> matrix{b.data(), transposed ? 1 : 2 * cols, transposed ? 2 * depth : 1};
                auto c = before;
                kernels::gemm<double>(rows, cols, depth, {a.data(), a_row}, matrix, c.data(), c_row, accumulate, bias.data());
                for (Index i = 0; i < rows; ++i)
                  for (Index j = 0; j < c_row; ++j) {
                    double expected = j < cols ? bias[j] + (accumulate ? before[i * c_row + j] : 0) : before[i * c_row + j];
                    for (Index k = 0; j < cols && k < depth; ++k) expected += a[i * a_row + k] * b[k * matrix.row + j * matrix.col];
                    REQUIRE(c[i * c_row + j] == Approx(expected).margin(1e-14));
                  }
              }
          }
}
