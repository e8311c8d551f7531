// SPDX-License-Identifier: MIT
#include "catch.hpp"
#include "reference/orthogonalize_reference.hpp"
#include "reference/random_tensor.hpp"

#include <vector>

#include <heed/kernels/orthogonalize.hpp>

using namespace heed;
using reference::random_tensor;
using reference::same_bits;

TEMPLATE_TEST_CASE("orthogonalize against plain loops over awkward sizes", "", float, double) {
  using T = TestType;
  const kernels::NewtonSchulz methods[] = {{}, {.coefficients = {2, -1.5, 0.5}, .steps = 3}, {.steps = 0}, {.steps = 1}};
  for (Index rows : {1, 2, 7, 16, 33})
    for (Index cols : {1, 3, 7, 17, 40})
      for (const auto& method : methods) {
        INFO(rows << " x " << cols << ", " << method.steps << " steps");
        auto x = random_tensor<T, 2>({rows, cols}, 1);
        const std::vector<T> before(x.span().begin(), x.span().end());
        const auto expected =
            reference::orthogonalize(before, static_cast<int>(rows), static_cast<int>(cols), method.coefficients, method.steps, method.eps);
        kernels::orthogonalize(method, x);
        double worst = 0;
        for (Index i = 0; i < x.size(); ++i)
          worst = std::max(worst, std::abs(static_cast<double>(x[i] - expected[static_cast<std::size_t>(i)])));
        CHECK(worst < (sizeof(T) == 4 ? 1e-4 : 1e-12));  // small singular values grow by 3.4 a step, and with them their rounding
      }
}

TEST_CASE("singular values move to 1 and their vectors stay") {
  // X = U diag(3, 1, 0.2) V^T with rotations U and V: the result is U diag(s') V^T.
  const double u = 0.4, v = 1.1;
  const double U[3][3] = {{std::cos(u), -std::sin(u), 0}, {std::sin(u), std::cos(u), 0}, {0, 0, 1}};
  const double V[3][3] = {{1, 0, 0}, {0, std::cos(v), -std::sin(v)}, {0, std::sin(v), std::cos(v)}};
  const double values[] = {3, 1, 0.2};
  Tensor<double, 2> x({3, 3});
  for (Index i = 0; i < 3; ++i)
    for (Index j = 0; j < 3; ++j)
      for (Index k = 0; k < 3; ++k) x(i, j) += U[i][k] * values[k] * V[j][k];
  auto muon = x, slow = x;
  kernels::orthogonalize({}, muon);
  kernels::orthogonalize({.coefficients = {2, -1.5, 0.5}, .steps = 30}, slow);  // this polynomial stays at 1 when it is there
  for (Index a = 0; a < 3; ++a)
    for (Index b = 0; b < 3; ++b) {
      double fast = 0, exact = 0;
      for (Index i = 0; i < 3; ++i)
        for (Index j = 0; j < 3; ++j) fast += U[i][a] * muon(i, j) * V[j][b], exact += U[i][a] * slow(i, j) * V[j][b];
      CHECK(exact == Approx(a == b ? 1 : 0).margin(1e-12));
      if (a == b)
        CHECK((fast > 0.65 && fast < 1.25));
      else
        CHECK(std::abs(fast) < 1e-13);
    }
}

TEST_CASE("orthogonalize gives the same bits with any number of threads") {
  // In double, and of several matrices: sums that are cut in other places differ in their last bits, if not in all of them.
  for (std::uint64_t seed = 1; seed <= 8; ++seed) {
    const auto x = random_tensor<double, 2>({100, 1000 + 100 * static_cast<Index>(seed)}, seed);  // seven pieces and more for the norm
    const kernels::NewtonSchulz method{.steps = seed == 1 ? 1 : 0};
    Tensor<double, 2> first;
    for (int threads : {1, 2, 3, 5}) {
      const ThreadScope scope(threads);
      auto result = x;
      kernels::orthogonalize(method, result);
      if (threads == 1) first = result;
      CHECK(same_bits(result, first));
    }
  }
}

TEST_CASE("zeros stay zeros, tiny matrices are lifted to eps, empty ones pass") {
  Tensor<float, 2> zero({4, 3}), empty({0, 3}), large({1, 2});
  kernels::orthogonalize({}, zero);
  for (Index i = 0; i < zero.size(); ++i) CHECK(zero[i] == 0.0f);
  kernels::orthogonalize({}, empty);
  CHECK(empty.shape() == Shape{0, 3});
  large[0] = 3e30f, large[1] = 4e30f;  // the norm is summed in double
  kernels::orthogonalize({.steps = 0}, large);
  CHECK(large[0] == Approx(0.6f));
  Tensor<double, 2> tiny({1, 1});
  tiny[0] = 1e-9;
  kernels::orthogonalize({.steps = 0, .eps = 1e-7}, tiny);
  CHECK(tiny[0] == Approx(1e-2));
}

TEST_CASE("orthogonalize gives the same bits with one thread and two, and takes no memory after the first call") {
  const auto x = random_tensor<float, 2>({150, 90}, 3);
  auto one = x, two = x;
  {
    const ThreadScope threads(1);
    kernels::orthogonalize({}, one);
  }
  const ThreadScope threads(2);
  kernels::orthogonalize({}, two);
  CHECK(same_bits(one, two));
  two = x;
  kernels::orthogonalize({}, two);
  const auto from_system = BufferPool::instance().from_system();
  kernels::orthogonalize({}, two);
  CHECK(BufferPool::instance().from_system() == from_system);
}
