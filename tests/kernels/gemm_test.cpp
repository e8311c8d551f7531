// SPDX-License-Identifier: MIT
#include "catch.hpp"
#include "reference/gemm_reference.hpp"
#include "reference/random_tensor.hpp"

#include <algorithm>
#include <cstring>
#include <limits>
#include <vector>

#include <heed/kernels/gemm.hpp>

using namespace heed;
using kernels::MatrixRef;
using reference::random_tensor;
using reference::same_bits;

namespace {

/// Both operands plain and transposed, C with room between its rows, with and without adding.
template <class T>
void check(Index rows, Index cols, Index depth) {
  const auto a = random_tensor<T, 1>({rows * depth}, 1), b = random_tensor<T, 1>({depth * cols}, 2);
  const Index c_row = cols + 5;
  const auto before = random_tensor<T, 1>({rows * c_row}, 3);
  // Partial sums grow as the root of the depth, and each is rounded: errors grow as the depth.
  const double tolerance = (std::is_same_v<T, float> ? 1.2e-7 : 2.3e-16) * (4 + 0.7 * static_cast<double>(depth));
  for (bool a_transposed : {false, true})
    for (bool b_transposed : {false, true})
      for (bool add : {false, true}) {
        INFO(rows << "x" << depth << (a_transposed ? "ᵀ" : "") << " by " << depth << "x" << cols << (b_transposed ? "ᵀ" : "")
                  << (add ? ", added" : ""));
        const MatrixRef<T> left = a_transposed ? MatrixRef<T>{a.data(), rows}.transposed() : MatrixRef<T>{a.data(), depth};
        const MatrixRef<T> right = b_transposed ? MatrixRef<T>{b.data(), depth}.transposed() : MatrixRef<T>{b.data(), cols};
        auto c = before;
        kernels::gemm(rows, cols, depth, left, right, c.data(), c_row, add);
        const auto expected = reference::gemm(rows, cols, depth, a.data(), left.row, left.col, b.data(), right.row, right.col);
        double worst = 0;
        bool kept = true;
        for (Index i = 0; i < rows; ++i)
          for (Index j = 0; j < c_row; ++j) {
            const T now = c[i * c_row + j], old = before[i * c_row + j];
            if (j >= cols)
              kept = kept && now == old;
            else
              worst = std::max(worst, std::abs(static_cast<double>(now) - (add ? static_cast<double>(old) : 0) -
                                               static_cast<double>(expected[static_cast<std::size_t>(i * cols + j)])));
          }
        CHECK(worst < tolerance);
        CHECK(kept);
      }
}

struct Negate {
  template <class T>
  void operator()(Index, Index rows, Index, Index cols, T* c, Index c_row) const {
    for (Index i = 0; i < rows; ++i)
      for (Index j = 0; j < cols; ++j) c[i * c_row + j] = -c[i * c_row + j];
  }
};

/// C = A B for 300 x 130, A 300 x `depth`.
Tensor<float, 2> product(Index rows, Index depth, int threads) {
  ThreadScope limit(threads);
  const auto a = random_tensor<float, 2>({300, depth}, 1), b = random_tensor<float, 2>({depth, 130}, 2);
  auto c = Tensor<float, 2>::uninitialized({rows, 130});
  kernels::gemm<float>(rows, 130, depth, {a.data(), depth}, {b.data(), 130}, c.data(), 130);
  return c;
}

}  // namespace

TEST_CASE("gemm against three loops over awkward sizes") {
  for (Index rows : {1, 2, 13, 14, 15, 57})
    for (Index cols : {1, 15, 16, 17, 33, 65})
      for (Index depth : {1, 3, 16, 65}) {
        check<float>(rows, cols, depth);
        check<double>(rows, cols, depth);
      }
}

TEST_CASE("an operand with gaps between its rows and between its columns") {
  const Index cols = 19, depth = 65;
  const auto a = random_tensor<float, 1>({40 * 3 * depth}, 1), b = random_tensor<float, 1>({depth * cols}, 2);
  const MatrixRef<float> left{a.data(), 3 * depth, 3};
  std::vector<float> first_row;
  for (const Index rows : {1, 3, 8, 40}) {
    std::vector<float> c(static_cast<std::size_t>(rows * cols));
    kernels::gemm<float>(rows, cols, depth, left, {b.data(), cols}, c.data(), cols);
    const auto expected = reference::gemm(rows, cols, depth, a.data(), left.row, left.col, b.data(), cols, 1);
    double worst = 0;
    for (std::size_t i = 0; i < c.size(); ++i)
      worst = std::max(worst, std::abs(static_cast<double>(c[i]) - static_cast<double>(expected[i])));
    CHECK(worst < 1e-4);
    if (rows == 1) first_row = c;
    CHECK(std::equal(first_row.begin(), first_row.end(), c.begin()));
  }
}

TEST_CASE("gemm over several blocks of depth, rows and columns") {
  for (Index depth : {383, 767, 768, 769, 1600}) check<float>(9, 17, depth);
  check<float>(250, 100, 60);
  check<float>(40, 5, 512);  // rows that share cache sets are copied
  check<double>(20, 7, 256);
  check<double>(3, 700, 9);
  check<float>(2100, 40, 256);  // more than L2 holds: the next rows are asked for, in place and copied
  check<float>(1050, 40, 512);
}

TEST_CASE("the bits of a row do not depend on threads or on other rows") {
  for (Index depth : {7, 64, 500, 512}) {
    const auto c = product(300, depth, 1);
    for (int threads : {2, 3, 8}) CHECK(same_bits(product(300, depth, threads), c));
    for (Index rows : {1, 5, 13, 15, 299}) CHECK(same_bits(product(rows, depth, 2), c.slice(0, rows)));
  }
}

TEST_CASE("an epilogue sees every element once, after the last block of depth") {
  struct Size {
    Index cols, depth;
  };
  for (const auto& [cols, depth] : {Size{70, 0}, Size{70, 5}, Size{70, 900}, Size{600, 900}})  // the last B lies beyond L2
    for (int threads : {1, 4}) {
      ThreadScope limit(threads);
      const auto a = random_tensor<float, 2>({90, depth + 1}, 1), b = random_tensor<float, 2>({depth + 1, cols}, 2);
      auto plain = Tensor<float, 2>::uninitialized({90, cols}), negated = plain, biased = plain;
      kernels::gemm<float>(90, cols, depth, {a.data(), depth + 1}, {b.data(), cols}, plain.data(), cols);
      kernels::gemm<float>(90, cols, depth, {a.data(), depth + 1}, {b.data(), cols}, negated.data(), cols, false, nullptr, Negate{});
      const auto bias = random_tensor<float, 1>({cols}, 3);
      kernels::gemm<float>(90, cols, depth, {a.data(), depth + 1}, {b.data(), cols}, biased.data(), cols, false, bias.data());
      Index wrong = 0;
      for (Index i = 0; i < 90; ++i)
        for (Index j = 0; j < cols; ++j) {
          wrong += negated(i, j) == -plain(i, j) ? 0 : 1;
          wrong += biased(i, j) == Approx(plain(i, j) + bias[j]).margin(1e-5) ? 0 : 1;
        }
      CHECK(wrong == 0);
    }
}

TEST_CASE("empty products") {
  Tensor<float, 2> c({2, 3});
  c.fill(5);
  kernels::gemm<float>(2, 3, 0, {nullptr, 0}, {nullptr, 3}, c.data(), 3, true);
  CHECK(c(1, 2) == 5);
  kernels::gemm<float>(2, 3, 0, {nullptr, 0}, {nullptr, 3}, c.data(), 3);
  CHECK(c(1, 2) == 0);
  kernels::gemm<float>(0, 3, 4, {nullptr, 4}, {c.data(), 0}, nullptr, 3);
  kernels::gemm<float>(2, 0, 4, {c.data(), 0}, {nullptr, 0}, nullptr, 0);
}

TEST_CASE("a packed operand serves many products") {
  const auto b = random_tensor<float, 2>({500, 40}, 2);
  kernels::PackedOperand<float> packed;
  packed.pack(500, 40, {b.data(), 40});
  for (Index rows : {1, 20}) {
    const auto a = random_tensor<float, 2>({rows, 500}, 3);
    auto c = Tensor<float, 2>::uninitialized({rows, 40}), direct = c;
    kernels::packed_gemm(rows, kernels::MatrixRef<float>{a.data(), 500}, packed, c.data(), 40);
    kernels::gemm<float>(rows, 40, 500, {a.data(), 500}, {b.data(), 40}, direct.data(), 40);
    CHECK(same_bits(c, direct));
  }
}

TEST_CASE("blocks cover every tile and panel once, differ by one at most and leave hardly a thread idle") {
  for (const heed::Index tiles : {1, 2, 5, 17, 74, 293})
    for (const heed::Index panels : {1, 3, 32})
      for (const heed::Index threads : {1, 2, 3, 16}) {
        const heed::kernels::GemmBlocks blocks(tiles, panels, threads);
        CAPTURE(tiles, panels, threads, blocks.rows, blocks.cols);
        CHECK(blocks.tile(0) == 0);
        CHECK(blocks.tile(blocks.rows) == tiles);
        CHECK(blocks.panel(blocks.cols) == panels);
        for (heed::Index row = 0; row < blocks.rows; ++row) {
          const heed::Index size = blocks.tile(row + 1) - blocks.tile(row);
          CHECK((size >= 1 && size <= blocks.most_tiles() && size >= blocks.most_tiles() - 1 && size <= 16));
        }
        for (heed::Index col = 0; col < blocks.cols; ++col) CHECK(blocks.panel(col + 1) > blocks.panel(col));
        if (tiles * panels >= 8 * threads) CHECK(16 * blocks.rows * blocks.cols >= 15 * threads);
      }
}

TEST_CASE("a wide operand, packed in bands of rows and panels, and results beyond L2 against three loops") {
  for (const int threads : {1, 3}) {
    ThreadScope limit(threads);
    check<float>(33, 1100, 100);  // bands of 8 panels, rows 32, 32, 32 and 4 at a time
    check<float>(40, 1100, 800);  // two blocks of depth, asked for ahead
  }
}

TEMPLATE_TEST_CASE("few columns: dot products and transposed products against three loops, and a row has the bits that it has among many",
    "", float, double) {
  using T = TestType;
  for (const Index rows : {1, 3, 63, 65, 130, 300})
    for (const Index depth : {1, 2, 15, 16, 17, 63, 64, 65, 130, 1100}) {
      for (const Index cols : {1, 2, 4}) check<T>(rows, cols, depth);
      const auto before = random_tensor<T, 2>({rows, 6}, 4);
      const auto left = random_tensor<T, 2>({rows, depth}, 1);
      std::vector<T> a(left.data(), left.data() + left.size());
      a.insert(a.end(), 64, std::numeric_limits<T>::quiet_NaN());  // what lies behind takes no part
      const auto b = random_tensor<T, 1>({4 * depth}, 2), numbers = random_tensor<T, 1>({4}, 3);
      for (const Index cols : {1, 2, 4})
        for (const bool add : {false, true}) {
          CAPTURE(rows, cols, depth, add);
          const std::vector<T> bias(numbers.data(), numbers.data() + cols);
          std::vector<T> used(b.data(), b.data() + cols * depth);
          used.insert(used.end(), 64, std::numeric_limits<T>::quiet_NaN());
          const MatrixRef<T> right = MatrixRef<T>{used.data(), depth}.transposed();
          auto all = before, one = before;
          kernels::gemm(rows, cols, depth, {a.data(), depth}, right, all.data(), 6, add, bias.data(), Negate());
          for (Index i = 0; i < rows; ++i)
            kernels::gemm(1, cols, depth, {a.data() + i * depth, depth}, right, one.data() + i * 6, 6, add, bias.data(), Negate());
          CHECK(same_bits(all, one));
          ThreadScope threads(3);
          auto parallel = before;
          kernels::gemm(rows, cols, depth, {a.data(), depth}, right, parallel.data(), 6, add, bias.data(), Negate());
          CHECK(same_bits(all, parallel));
          const auto expected = reference::gemm(rows, cols, depth, a.data(), depth, 1, used.data(), 1, depth);
          double worst = 0;
          for (Index i = 0; i < rows; ++i)
            for (Index j = 0; j < cols; ++j)
              worst = std::max(worst, std::abs(static_cast<double>(-all(i, j)) - (add ? static_cast<double>(before(i, j)) : 0) -
                                               static_cast<double>(bias[static_cast<std::size_t>(j)]) -
                                               static_cast<double>(expected[static_cast<std::size_t>(i * cols + j)])));
          CHECK(worst < (std::is_same_v<T, float> ? 1.2e-7 : 2.3e-16) * (8 + 0.7 * static_cast<double>(depth)));
        }
    }
}

TEMPLATE_TEST_CASE(
    "one column made of columns is the same product transposed: its rows have the bits that they have alone", "", float, double) {
  using T = TestType;
  for (const Index rows : {2, 31, 32, 100})
    for (const Index depth : {0, 1, 7, 64, 600})
      for (const bool add : {false, true})
        for (const bool biased : {false, true}) {
          CAPTURE(rows, depth, add, biased);
          const auto a = random_tensor<T, 2>({depth, rows}, 1);  // element (i, k) at (k, i)
          const auto b = random_tensor<T, 1>({depth}, 2), before = random_tensor<T, 1>({rows}, 3);
          const T bias(0.75);
          auto all = before, alone = before;
          const MatrixRef<T> left = MatrixRef<T>{a.data(), rows}.transposed();
          kernels::gemm(rows, 1, depth, left, {b.data(), 1}, all.data(), 1, add, biased ? &bias : nullptr);
          for (Index i = 0; i < rows; ++i)
            kernels::gemm(1, 1, depth, {a.data() + i, 1, rows}, {b.data(), 1}, alone.data() + i, 1, add, biased ? &bias : nullptr);
          CHECK(same_bits(all, alone));
          for (Index i = 0; i < rows; ++i) {
            double sum = (add ? static_cast<double>(before[i]) : 0) + (biased ? 0.75 : 0);
            for (Index k = 0; k < depth; ++k) sum += static_cast<double>(a(k, i)) * static_cast<double>(b[k]);
            CHECK(std::abs(static_cast<double>(all[i]) - sum) <
                  (std::is_same_v<T, float> ? 1.2e-7 : 2.3e-16) * (8 + 0.7 * static_cast<double>(depth)));
          }
        }
}

TEMPLATE_TEST_CASE("a few rows have the bits that they have among many, wherever B's numbers lie", "", float, double) {
  for (const Index depth : {1, 37, 600, 1300})
    for (const Index cols : {1, 31, 130, 333})
      for (const bool transposed : {false, true})
        for (const bool add : {false, true}) {
          CAPTURE(depth, cols, transposed, add);
          const auto a = random_tensor<TestType, 2>({64, depth}, 1), b = random_tensor<TestType, 2>({depth, cols}, 2);
          const auto numbers = random_tensor<TestType, 1>({cols}, 3);
          const std::vector<TestType> bias(numbers.data(), numbers.data() + cols);  // not one more: the address sanitizer watches
          const auto before = random_tensor<TestType, 2>({64, cols + 3}, 4);
          const MatrixRef<TestType> right =
              transposed ? MatrixRef<TestType>{b.data(), depth}.transposed() : MatrixRef<TestType>{b.data(), cols};
          auto all = before;
          kernels::gemm(64, cols, depth, {a.data(), depth}, right, all.data(), cols + 3, add, bias.data(), Negate());
          for (const Index rows : {1, 2, 7}) {
            auto some = before;
            ThreadScope threads(static_cast<int>(rows));
            kernels::gemm(rows, cols, depth, {a.data() + 20 * depth, depth}, right, some.data() + 20 * (cols + 3), cols + 3, add,
                bias.data(), Negate());
            for (Index i = 20; i < 20 + rows; ++i)
              CHECK(std::memcmp(&some[i * (cols + 3)], &all[i * (cols + 3)], static_cast<std::size_t>(cols + 3) * sizeof(TestType)) == 0);
          }
        }
}
