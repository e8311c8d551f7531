// SPDX-License-Identifier: MIT
#include "catch.hpp"
#include "extreme_inputs.hpp"
#include "reference/random_tensor.hpp"

#include <heed/kernels/sequence_pool.hpp>

using namespace heed;
using reference::random_tensor;

namespace {

template <class T>
void check(Index sequences, Index tokens, Index width, double range, double tolerance) {
  INFO(sequences << "x" << tokens << "x" << width << " in ±" << range);
  const auto x = random_tensor<T, 3>({sequences, tokens, width}, 1, -range, range);
  const auto g = random_tensor<T, 1>({width}, 2);
  const auto dy = random_tensor<T, 2>({sequences, width}, 3);
  Tensor<T, 2> weights({sequences, tokens}), y({sequences, width});
  Tensor<T, 3> dx(x.shape());
  Tensor<T, 1> d_g({width});
  d_g.fill(T(1));
  const kernels::SequencePoolShape<T> shape{sequences, tokens, width, g.data()};
  kernels::sequence_pool_forward(shape, x.data(), weights.data(), y.data());
  kernels::sequence_pool_backward(shape, x.data(), weights.data(), dy.data(), dx.data(), d_g.data());
  Tensor<T, 3> dx_alone(x.shape());
  kernels::sequence_pool_backward(shape, x.data(), weights.data(), dy.data(), dx_alone.data(), static_cast<T*>(nullptr));
  CHECK(reference::same_bits(dx, dx_alone));

  // softmax, weighted mean, and the chain rule through the quotient e[t] / sum(e), in long double
  const auto at = [&](Index n, Index t, Index c) { return static_cast<long double>(x(n, t, c)); };
  std::vector<long double> d_direction(static_cast<std::size_t>(width), 1);
  for (Index n = 0; n < sequences; ++n) {
    std::vector<long double> e(static_cast<std::size_t>(tokens)), d_w(e.size());
    long double sum = 0, top = -1e30L, mean = 0;
    for (Index t = 0; t < tokens; ++t) {
      for (Index c = 0; c < width; ++c) e[static_cast<std::size_t>(t)] += at(n, t, c) * static_cast<long double>(g[c]);
      top = std::max(top, e[static_cast<std::size_t>(t)]);
    }
    for (auto& v : e) sum += v = std::exp(v - top);
    for (Index t = 0; t < tokens; ++t) {
      const auto i = static_cast<std::size_t>(t);
      for (Index c = 0; c < width; ++c) d_w[i] += static_cast<long double>(dy(n, c)) * at(n, t, c);
      mean += e[i] / sum * d_w[i];
      CHECK(std::abs(static_cast<double>(weights(n, t) - e[i] / sum)) < tolerance);
    }
    for (Index c = 0; c < width; ++c) {
      long double expected = 0;
      for (Index t = 0; t < tokens; ++t) {
        const auto i = static_cast<std::size_t>(t);
        const long double w = e[i] / sum, d_s = w * (d_w[i] - mean);
        expected += w * at(n, t, c);
        d_direction[static_cast<std::size_t>(c)] += d_s * at(n, t, c);
        CHECK(std::abs(static_cast<double>(dx(n, t, c) - (w * dy(n, c) + d_s * g[c]))) < tolerance);
      }
      CHECK(std::abs(static_cast<double>(y(n, c) - expected)) < tolerance);
    }
  }
  for (Index c = 0; c < width; ++c)
    CHECK(
        std::abs(static_cast<double>(d_g[c] - d_direction[static_cast<std::size_t>(c)])) < 10 * tolerance * static_cast<double>(sequences));
}

}  // namespace

TEST_CASE("sequence pooling against the reference over awkward sizes") {
  for (Index sequences : {1, 3, 40})
    for (Index tokens : {1, 2, 15, 16, 17, 49})
      for (Index width : {1, 7, 16, 33}) {
        if (sequences * tokens * width > 5000) continue;
        check<float>(sequences, tokens, width, 1, 2e-6);
        check<double>(sequences, tokens, width, 1, 5e-15);
      }
}

TEST_CASE("large scores do not overflow") {
  // Scores of some 1e4 pick one token; the error of a score in float is 1e-3 of a unit.
  check<double>(3, 9, 11, 1e3, 1e-9);
  const auto x = random_tensor<float, 3>({1, 9, 11}, 1, -1e4, 1e4);
  const auto g = random_tensor<float, 1>({11}, 2, 50, 100);
  Tensor<float, 1> weights({9}), y({11});
  kernels::sequence_pool_forward<float>({1, 9, 11, g.data()}, x.data(), weights.data(), y.data());
  float sum = 0;
  for (Index t = 0; t < 9; ++t) sum += weights[t];
  CHECK(sum == Approx(1));
}

TEMPLATE_TEST_CASE("sequence pooling of extreme scores, against the formulas", "", float, double) {
  using T = TestType;
  constexpr long double kRounding = 16 * std::numeric_limits<T>::epsilon();
  for (Index tokens : {1, 2, 5, 17, 40}) {
    const auto scores = extreme_rows<T>(tokens);
    const Index sequences = scores.rows();
    // The first feature is the score, the second what is pooled.
    auto x = random_tensor<T, 3>({sequences, tokens, 2}, 1);
    for (Index i = 0; i < scores.size(); ++i) x[2 * i] = scores[i];
    auto dy = random_tensor<T, 2>({sequences, 2}, 2);
    for (Index n = 0; n < sequences; ++n) dy(n, 0) = 0;
    const T direction[] = {1, 0};
    Tensor<T, 2> weights({sequences, tokens}), y({sequences, 2});
    Tensor<T, 3> dx(x.shape());
    const kernels::SequencePoolShape<T> shape{sequences, tokens, 2, direction};
    kernels::sequence_pool_forward(shape, x.data(), weights.data(), y.data());
    kernels::sequence_pool_backward(shape, x.data(), weights.data(), dy.data(), dx.data(), static_cast<T*>(nullptr));
    for (Index n = 0; n < sequences; ++n) {
      INFO(tokens << " tokens, sequence " << n);
      const ExactSoftmax<T> exact(scores.data() + n * tokens, tokens);
      long double mean = 0;
      for (Index t = 0; t < tokens; ++t) mean += exact.p[static_cast<std::size_t>(t)] * x(n, t, 1);
      REQUIRE(is_near(y(n, 1), mean, kRounding));
      for (Index t = 0; t < tokens; ++t) {
        const long double p = exact.p[static_cast<std::size_t>(t)];
        REQUIRE(is_near(weights(n, t), p, kRounding));
        REQUIRE(is_near(dx(n, t, 0), p * dy(n, 1) * (x(n, t, 1) - mean), kRounding));
        REQUIRE(is_near(dx(n, t, 1), p * dy(n, 1), kRounding));
      }
    }
  }
}
