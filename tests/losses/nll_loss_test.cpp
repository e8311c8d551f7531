// SPDX-License-Identifier: MIT
#include <algorithm>
#include <limits>
#include <vector>

#include <heed/core/dual.hpp>
#include <heed/core/random.hpp>
#include <heed/kernels/softmax.hpp>
#include <heed/losses/cross_entropy.hpp>
#include <heed/losses/nll_loss.hpp>

#include "catch.hpp"
#include "extreme_inputs.hpp"
#include "reference/loss_reference.hpp"

using namespace heed;

namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

template <class T>
Tensor<T, 2> matrix(Index rows, Index columns, const std::vector<double>& values) {
  Tensor<T, 2> m({rows, columns});
  for (Index i = 0; i < m.size(); ++i) m[i] = static_cast<T>(values[static_cast<std::size_t>(i)]);
  return m;
}

}  // namespace

TEMPLATE_TEST_CASE("nll_loss: values and gradients agree with the derivative of the plain loss", "", float, double) {
  using T = TestType;
  const double tolerance = sizeof(T) == 4 ? 1e-7 : 1e-14;
  for (Index rows : {1, 2, 17})
    for (Index classes : {1, 3, 10})
      for (bool weighted : {false, true})
        for (int ignore_index : {-100, 0})
          for (Reduction reduction : {Reduction::mean, Reduction::sum}) {
            INFO(rows << " rows, " << classes << " classes, weighted " << weighted << ", ignoring " << ignore_index);
            const CounterRandom random{5, static_cast<std::uint64_t>(rows), static_cast<std::uint64_t>(classes)};
            std::vector<double> x, weight;
            std::vector<int> labels;
            for (Index i = 0; i < rows * classes; ++i) x.push_back(static_cast<float>(-3 * random.uniform(static_cast<std::uint64_t>(i))));
            for (Index r = 0; r < rows; ++r)
              labels.push_back(static_cast<int>(random.below(static_cast<std::uint64_t>(r), static_cast<std::uint64_t>(classes))));
            for (Index c = 0; c < classes && weighted; ++c) weight.push_back(0.25 * static_cast<double>(c % 5 + 1));
            if (std::count(labels.begin(), labels.end(), ignore_index) == rows) continue;  // the plain formula would divide by 0
            const NLLLoss<T> loss({.weight = weight, .ignore_index = ignore_index, .reduction = reduction});
            Tensor<T, 2> dx;
            const double value = loss(matrix<T>(rows, classes, x), labels, dx);
            CHECK(value == loss.value(matrix<T>(rows, classes, x), labels));
            double worst = 0;
            for (std::size_t i = 0; i < x.size(); ++i) {
              std::vector<Dual<1>> dual(x.begin(), x.end());
              dual[i].tangent[0] = 1;
              const Dual<1> expected = reference::negative_log_likelihood(
                  dual, labels, static_cast<int>(classes), weight, ignore_index, reduction == Reduction::mean);
              if (i == 0) CHECK(value == Approx(expected.value).epsilon(1e-13));
              worst = std::max(worst, std::abs(static_cast<double>(dx[static_cast<Index>(i)]) - expected.tangent[0]));
            }
            CHECK(worst < tolerance);
          }
}

TEST_CASE("nll_loss: numbers printed by torch 2") {
  const auto x = matrix<double>(4, 3, {-0.5, -1.25, -2.0, -0.25, -3.0, -1.5, -1.0, -1.0, -1.5, -0.75, -2.25, -0.125});
  const std::vector<int> labels = {2, 1, -100, 0};
  const std::vector<double> weight = {0.5, 2.0, 1.5};
  Tensor<double, 2> dx;
  const auto check = [&](const NLLLossOptions& options, double value, double first, double second, double last) {
    CHECK(NLLLoss<double>(options)(x, labels, dx) == Approx(value).epsilon(1e-15));
    const double expected[] = {0, 0, first, 0, second, 0, 0, 0, 0, last, 0, 0};
    for (Index i = 0; i < 12; ++i) CHECK(dx[i] == Approx(expected[i]).epsilon(1e-15));
  };
  check({}, 1.9166666666666667, -1.0 / 3, -1.0 / 3, -1.0 / 3);
  check({.weight = weight}, 2.34375, -0.375, -0.5, -0.125);
  check({.weight = weight, .reduction = Reduction::sum}, 9.375, -1.5, -2, -0.5);
  Tensor<double, 1> losses;
  NLLLoss<double>({.weight = weight}).rows(x, labels, losses, dx);
  const double rows[] = {3, 6, 0, 0.375};
  for (Index r = 0; r < 4; ++r) CHECK(losses[r] == rows[r]);
  CHECK(dx[4] == -2);
}

TEST_CASE("of logarithms of a softmax it is the cross-entropy, of a tensor of any rank") {
  const CounterRandom random{9, 9};
  Tensor<double, 4> logits({2, 3, 2, 5}), x({2, 3, 2, 5}), d_logits, dx;
  std::vector<int> labels;
  for (Index i = 0; i < logits.size(); ++i) logits[i] = random.normal(static_cast<std::uint64_t>(i));
  for (Index r = 0; r < 12; ++r) {
    double sum = 0;
    for (Index c = 0; c < 5; ++c) sum += std::exp(logits[r * 5 + c]);
    for (Index c = 0; c < 5; ++c) x[r * 5 + c] = logits[r * 5 + c] - std::log(sum);
    labels.push_back(static_cast<int>(r % 5));
  }
  const std::vector<double> weight = {1, 0, 2, 3, 0.5};
  CHECK(NLLLoss<double>({.weight = weight, .ignore_index = 2})(x, labels, dx) ==
        Approx(CrossEntropyLoss<double>({.weight = weight, .ignore_index = 2})(logits, labels, d_logits)).epsilon(1e-13));
  CHECK(dx.shape() == logits.shape());
}

TEST_CASE("what counts nowhere may hold anything, and the mean of nothing is 0") {
  Tensor<float, 2> dx({1, 1});
  dx.fill(7.0f);
  const auto x = matrix<float>(2, 3, {-kInfinity, -1, std::nan(""), -2, -kInfinity, -1});
  CHECK(NLLLoss<float>({.ignore_index = 2})(x, std::vector<int>{1, 2}, dx) == 1.0);
  CHECK(dx[1] == -1.0f);
  for (Index i : {0, 2, 3, 4, 5}) CHECK(dx[i] == 0.0f);
  CHECK(NLLLoss<float>({.weight = {0, 1, 1}})(x, std::vector<int>{0, 0}, dx) == 0.0);
  for (Index i = 0; i < 6; ++i) CHECK(dx[i] == 0.0f);
  CHECK(NLLLoss<float>().value(x, std::vector<int>{1, 1}) == kInfinity);
  CHECK(NLLLoss<float>()(Tensor<float, 2>({0, 3}), std::vector<int>{}, dx) == 0.0);
}

TEMPLATE_TEST_CASE("nll_loss: extreme numbers, against the formula", "", float, double) {
  using T = TestType;
  const auto x = extreme_rows<T>(3);
  std::vector<int> labels;
  for (Index r = 0; r < x.rows(); ++r) labels.push_back(static_cast<int>(r % 3));
  const NLLLoss<T> loss({.weight = {0.5, 1e-30, 2}});
  Tensor<T, 1> losses;
  Tensor<T, 2> dx;
  loss.rows(x, labels, losses, dx);
  for (Index r = 0; r < x.rows(); ++r) {
    const long double weight = loss.options().weight[static_cast<std::size_t>(r % 3)], expected = -weight * x(r, r % 3);
    REQUIRE(
        is_near(losses[r], expected, 2 * std::numeric_limits<T>::epsilon() * std::abs(expected) + std::numeric_limits<T>::denorm_min()));
    for (Index c = 0; c < 3; ++c) REQUIRE(dx(r, c) == static_cast<T>(c == r % 3 ? -weight : 0.0L));
  }
  // Of the logarithms of a softmax it stays the cross-entropy.
  const auto logits = extreme_rows<T>(5);
  for (Index r = 0; r < logits.rows(); ++r) {
    const ExactSoftmax<T> exact(logits.data() + 5 * r, 5);
    Tensor<T, 2> row({1, 5});
    kernels::log_softmax_forward({1, 5}, logits.data() + 5 * r, row.data());
    REQUIRE(is_near(NLLLoss<T>().value(row, std::vector<int>{2}), -static_cast<T>(exact.log_p[2]),
        8 * std::numeric_limits<T>::epsilon() * (1 - exact.log_p[2])));
  }
}

TEST_CASE("mistakes get a sentence") {
  Tensor<float, 2> dx;
  CHECK_THROWS_WITH(NLLLoss<float>()(Tensor<float, 2>({2, 3}), std::vector<int>{0, 3}, dx),
      "NLLLoss: label 3 of row 1 is not in 0 ... 2 and not ignore_index (-100)");
  CHECK_THROWS_WITH(NLLLoss<float>({.weight = {1, -2}}), "NLLLoss: class weights must be finite and not negative, one is -2");
  CHECK_THROWS_WITH(NLLLoss<float>({.weight = {1, 2}}).value(Tensor<float, 2>({2, 3}), std::vector<int>{0, 0}),
      "NLLLoss: the input has 3 classes, weight has 2");
}
