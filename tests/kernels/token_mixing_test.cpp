// SPDX-License-Identifier: MIT
#include "catch.hpp"
#include "reference/random_tensor.hpp"

#include <heed/kernels/token_mixing.hpp>

using namespace heed;
using reference::random_tensor;

namespace {

template <class T>
void check(bool uniform, Index sequences, Index tokens, Index width) {
  INFO((uniform ? "uniform " : "identity ") << sequences << "x" << tokens << "x" << width);
  const Index in_row = 3 * width, out_row = width + 2;
  const auto in = random_tensor<T, 1>({sequences * tokens * in_row}, 1);
  Tensor<T, 1> out({sequences * tokens * out_row});
  out.fill(T(9));
  kernels::mix_tokens<T>(uniform, sequences, tokens, width, {in.data() + 2 * width, in_row}, {out.data(), out_row});
  Tensor<T, 2> weights({tokens, tokens});
  kernels::mixing_weights(uniform, 1, tokens, weights.data());
  for (Index n = 0; n < sequences; ++n)
    for (Index t = 0; t < tokens; ++t) {
      for (Index c = 0; c < width; ++c) {
        double expected = 0;
        for (Index s = 0; s < tokens; ++s)
          expected += static_cast<double>(weights(t, s)) * static_cast<double>(in[(n * tokens + s) * in_row + 2 * width + c]);
        REQUIRE(static_cast<double>(out[(n * tokens + t) * out_row + c]) == Approx(expected).margin(1e-6));
      }
      for (Index c = width; c < out_row; ++c) REQUIRE(out[(n * tokens + t) * out_row + c] == T(9));  // nothing beyond a row is touched
    }
}

}  // namespace

TEST_CASE("tokens mixed by A = I and A = 1/T") {
  for (bool uniform : {false, true})
    for (Index sequences : {1, 3, 60})
      for (Index tokens : {1, 2, 49})
        for (Index width : {1, 7, 16, 17, 40}) {
          check<float>(uniform, sequences, tokens, width);
          if (sequences < 60) check<double>(uniform, sequences, tokens, width);
        }
}

TEST_CASE("weights of several sequences and heads") {
  Tensor<float, 3> weights({2, 3, 3});
  kernels::mixing_weights(false, 2, 3, weights.data());
  for (Index n = 0; n < 2; ++n)
    for (Index i = 0; i < 3; ++i)
      for (Index j = 0; j < 3; ++j) CHECK(weights(n, i, j) == (i == j ? 1.0f : 0.0f));
  kernels::mixing_weights(true, 2, 3, weights.data());
  for (Index i = 0; i < 18; ++i) CHECK(weights[i] == 1.0f / 3);
}
