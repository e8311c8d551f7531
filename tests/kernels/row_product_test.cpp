// SPDX-License-Identifier: MIT
#include <limits>
#include <vector>

#include <heed/kernels/attention.hpp>
#include <heed/kernels/gemm.hpp>

#include "catch.hpp"
#include "reference/layer_rules.hpp"

using namespace heed;
using namespace heed::kernels;

TEMPLATE_TEST_CASE("a row times rows that lie in place: sums in order, nothing of what lies beside them", "", float, double) {
  using T = TestType;
  const Index width = panel_width<T>(), row = 41;
  const T nan = std::numeric_limits<T>::quiet_NaN();
  for (const Index count : {Index(1), Index(3), width, width + 1, 2 * width - 1})
    for (const Index depth : {0, 1, 4, 15, 16, 33, 41}) {
      const auto y = reference::random_tensor<T, 2>({count, row}, 4);
      const auto x = reference::random_tensor<T, 1>({row}, 5);
      for (const bool with_flags : {false, true}) {
        std::vector<unsigned char> flags(static_cast<std::size_t>(count), 1);
        if (with_flags && count > 2) flags[2] = 0;
        auto rows = y;
        for (Index i = 0; i < count; ++i)
          for (Index d = 0; d < row; ++d)
            if (d >= depth || (!flags[static_cast<std::size_t>(i)])) rows(i, d) = nan;
        const Index padded = (count + width - 1) / width * width;
        std::vector<T> products(static_cast<std::size_t>(padded) + 1, T(7));
        row_products<T>(1, x.data(), 0, {rows.data(), row, count, depth, with_flags ? flags.data() : nullptr}, {products.data(), 0, padded},
            depth % 2 == 1);
        for (Index j = 0; j < padded; ++j) {
          double sum = 0;
          for (Index d = 0; d < depth && j < count && flags[static_cast<std::size_t>(j)]; ++d)
            sum += static_cast<double>(x[d]) * static_cast<double>(rows(j, d));
          INFO("count " << count << ", depth " << depth << ", row " << j << ", flags " << with_flags);
          REQUIRE(std::abs(static_cast<double>(products[static_cast<std::size_t>(j)]) - sum) <=
                  60 * static_cast<double>(std::numeric_limits<T>::epsilon()));
          if (j >= count) REQUIRE(products[static_cast<std::size_t>(j)] == T(0));
        }
        REQUIRE(products.back() == T(7));
      }
    }
}

TEMPLATE_TEST_CASE("asking for rows ahead changes no bit", "", float, double) {
  using T = TestType;
  const Index width = panel_width<T>(), count = 3 * width + 1, depth = 70;
  const auto y = reference::random_tensor<T, 2>({count, depth}, 4);
  const auto x = reference::random_tensor<T, 1>({depth}, 5);
  std::vector<T> plain(static_cast<std::size_t>(4 * width)), fetched = plain;
  row_products<T>(1, x.data(), 0, {y.data(), depth, count, depth, nullptr}, {plain.data(), 0, 4 * width});
  row_products<T>(1, x.data(), 0, {y.data(), depth, count, depth, nullptr}, {fetched.data(), 0, 4 * width}, true);
  REQUIRE(plain == fetched);
}

TEMPLATE_TEST_CASE(
    "a row alone has the bits that it has among others, however deep, with bias and on top of what is there", "", float, double) {
  using T = TestType;
  for (const Index depth : {5, 64, 767, 769, 1601})
    for (const Index cols : {17, 64, 100})
      for (const bool accumulate : {false, true})
        for (const bool with_bias : {false, true}) {
          const Index rows = 40;
          const auto x = reference::random_tensor<T, 2>({rows, depth}, 6), w = reference::random_tensor<T, 2>({cols, depth + 3}, 7);
          const auto bias = reference::random_tensor<T, 1>({cols}, 8);
          Tensor<T, 2> all({rows, cols});
          all.fill(T(0.5));
          const T* added = with_bias ? bias.data() : nullptr;
          const auto weight = MatrixRef<T>{w.data(), depth + 3}.transposed();
          gemm(rows, cols, depth, {x.data(), depth}, weight, all.data(), cols, accumulate, added);
          for (const Index few : {1, 2, 3, 4, 5}) {
            Tensor<T, 2> alone({few + 1, cols});
            alone.fill(T(0.5));
            gemm(few, cols, depth, {x.data() + 7 * depth, depth}, weight, alone.data(), cols, accumulate, added);
            INFO(few << " rows, depth " << depth << ", columns " << cols << ", accumulate " << accumulate << ", bias " << with_bias);
            Index wrong = 0;
            for (Index i = 0; i < few; ++i)
              for (Index j = 0; j < cols; ++j) wrong += alone(i, j) != all(7 + i, j);
            REQUIRE(wrong == 0);
            for (Index j = 0; j < cols; ++j) REQUIRE(alone(few, j) == T(0.5));
          }
        }
}

TEMPLATE_TEST_CASE("few queries have the bits that they have among others", "", float, double) {
  using T = TestType;
  const Index keys = 600, width = 24, value_width = 40, queries = 30;
  const auto q = reference::random_tensor<T, 2>({queries, width}, 1), k = reference::random_tensor<T, 2>({keys, width}, 2),
             v = reference::random_tensor<T, 2>({keys, value_width}, 3);
  Tensor<bool, 1> mask({keys});
  for (Index j = 0; j < keys; ++j) mask[j] = j % 7 != 3;
  Attention<T> a;
  a.batches = a.heads = a.kv_heads = 1, a.queries = queries, a.keys = keys, a.width = width, a.value_width = value_width, a.scale = 0.4;
  a.q = {q.data(), 0, 0, width}, a.k = {k.data(), 0, 0, width}, a.v = {v.data(), 0, 0, value_width};
  for (const bool masked : {false, true}) {
    if (masked) a.key_mask = {mask.data(), 0, 0, 0, 1};
    Tensor<T, 2> all({queries, value_width});
    attention_forward(a, HeadRows<T>{all.data(), 0, 0, value_width});
    for (const Index few : {1, 2, 3, 4, 5}) {
      Attention<T> part = a;
      part.queries = few, part.q.data = q.data() + 11 * width;
      Tensor<T, 2> alone({few, value_width});
      attention_forward(part, HeadRows<T>{alone.data(), 0, 0, value_width});
      INFO(few << " queries, masked " << masked);
      Index wrong = 0;
      for (Index i = 0; i < alone.size(); ++i) wrong += alone[i] != all[11 * value_width + i];
      REQUIRE(wrong == 0);
    }
  }
}
