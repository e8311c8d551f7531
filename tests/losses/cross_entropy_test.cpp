// SPDX-License-Identifier: MIT
#include <array>
#include <cmath>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include <heed/core/dual.hpp>
#include <heed/core/random.hpp>
#include <heed/losses/cross_entropy.hpp>

#include "catch.hpp"
#include "extreme_inputs.hpp"
#include "reference/cross_entropy_reference.hpp"

using namespace heed;

namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

template <class T>
Tensor<T, 2> matrix(Index rows, Index columns, const std::vector<double>& values) {
  Tensor<T, 2> m({rows, columns});
  for (Index i = 0; i < m.size(); ++i) m[i] = static_cast<T>(values[static_cast<std::size_t>(i)]);
  return m;
}

/// A case with everything in it: some rows ignored, some classes without weight.
struct Case {
  Index rows, classes;
  CrossEntropyOptions options;
  std::vector<double> logits, targets;
  std::vector<int> labels;

  Case(Index r, Index c, double smoothing, bool weighted, bool ignoring, Reduction reduction) : rows(r), classes(c) {
    const CounterRandom random{3, static_cast<std::uint64_t>(r), static_cast<std::uint64_t>(c)};
    options = {.label_smoothing = smoothing, .ignore_index = ignoring ? 0 : -100, .reduction = reduction};
    if (weighted)
      for (Index k = 0; k < c; ++k) options.weight.push_back(k == 1 ? 0.0 : 0.25 * static_cast<double>(k % 5 + 1));
    for (Index i = 0; i < r * c; ++i) {
      logits.push_back(static_cast<float>(2 * random.normal(static_cast<std::uint64_t>(i))));  // equal in float and double
      targets.push_back(static_cast<float>(random.uniform(static_cast<std::uint64_t>(i) + 100000)));
    }
    for (Index i = 0; i < r; ++i)
      labels.push_back(static_cast<int>(random.below(static_cast<std::uint64_t>(i), static_cast<std::uint64_t>(c))));
    labels.back() = c > 2 ? 2 : 0;
  }
  bool mean() const { return options.reduction == Reduction::mean; }
  /// Something is left to take the mean of.
  bool defined() const { return !(options.ignore_index == 0 && classes <= 2 && std::count(labels.begin(), labels.end(), 0) == rows); }

  /// Value of the plain reference, and its derivative along logit `along`.
  Dual<1> reference(bool soft, std::size_t along) const {
    std::vector<Dual<1>> z(logits.begin(), logits.end());
    z[along].tangent[0] = 1;
    const int c = static_cast<int>(classes);
    if (soft) return reference::cross_entropy_soft(z, targets, c, options.label_smoothing, options.weight, mean());
    return reference::cross_entropy(z, labels, c, options.label_smoothing, options.weight, static_cast<int>(options.ignore_index), mean());
  }
};

template <class F>
void each_case(const F& f) {
  for (Index rows : {1, 2, 3, 17})
    for (Index classes : {1, 2, 3, 10, 33})
      for (double smoothing : {0.0, 0.1, 1.0})
        for (bool weighted : {false, true})
          for (bool ignoring : {false, true})
            for (Reduction reduction : {Reduction::mean, Reduction::sum}) {
              if (weighted && classes == 2) continue;  // one class without weight: the plain formula would divide by 0
              const Case c(rows, classes, smoothing, weighted, ignoring, reduction);
              if (!c.defined()) continue;
              INFO(rows << " rows, " << classes << " classes, smoothing " << smoothing << ", weighted " << weighted << ", ignoring "
                        << ignoring);
              f(c);
            }
}

std::string message_of(const CrossEntropyOptions& options) {
  try {
    CrossEntropyLoss<float> loss(options);
  } catch (const std::invalid_argument& error) {
    return error.what();
  }
  return "";
}

}  // namespace

TEMPLATE_TEST_CASE("cross_entropy: values and gradients agree with the derivative of the plain loss", "", float, double) {
  using T = TestType;
  const double tolerance = sizeof(T) == 4 ? 2e-7 : 1e-12;
  Tensor<T, 2> d_logits;
  each_case([&](const Case& c) {
    const CrossEntropyLoss<T> loss(c.options);
    const auto logits = matrix<T>(c.rows, c.classes, c.logits), targets = matrix<T>(c.rows, c.classes, c.targets);
    for (bool soft : {false, true}) {
      const double value = soft ? loss(logits, targets, d_logits) : loss(logits, c.labels, d_logits);
      CHECK(value == (soft ? loss.value(logits, targets) : loss.value(logits, c.labels)));
      double worst = 0;
      for (Index i = 0; i < logits.size(); ++i) {
        const Dual<1> expected = c.reference(soft, static_cast<std::size_t>(i));
        if (i == 0) CHECK(value == Approx(expected.value).epsilon(1e-12).margin(1e-13));  // double inside, so float is as good
        worst = std::max(worst, std::abs(static_cast<double>(d_logits[i]) - expected.tangent[0]) / (1 + std::abs(expected.tangent[0])));
      }
      CHECK(worst < tolerance);
    }
  });
}

TEST_CASE("the loss of dual numbers carries the derivative that the loss of doubles returns") {
  const Case c(3, 4, 0.1, true, true, Reduction::mean);
  Tensor<double, 2> d_logits;
  CrossEntropyLoss<double>(c.options)(matrix<double>(3, 4, c.logits), c.labels, d_logits);
  Tensor<Dual<12>, 2> logits({3, 4}), d_dual;
  for (int i = 0; i < 12; ++i) {
    logits[i] = c.logits[static_cast<std::size_t>(i)];
    logits[i].tangent[i] = 1;
  }
  const Dual<12> value = CrossEntropyLoss<Dual<12>>(c.options)(logits, c.labels, d_dual);
  for (int i = 0; i < 12; ++i) {
    CHECK(value.tangent[i] == Approx(d_logits[i]).margin(1e-15));
    CHECK(d_dual[i].value == Approx(d_logits[i]).margin(1e-15));
  }
}

TEST_CASE("cross_entropy: numbers printed by torch 2") {
  const auto logits = matrix<double>(4, 3, {1.0, -0.5, 0.25, 0.0, 2.0, -1.0, 0.5, 0.5, -0.25, 3.0, 0.0, 1.0});
  const auto targets = matrix<double>(4, 3, {.2, .3, .5, 0, 1, 0, .6, .4, 0, .5, .25, .25});
  const std::vector<int> labels = {2, 1, -100, 0};
  const std::vector<double> weight = {0.5, 2.0, 1.5};
  Tensor<double, 2> d_logits;
  const auto check = [&](const CrossEntropyOptions& options, bool soft, double value, const std::vector<double>& gradient) {
    const CrossEntropyLoss<double> loss(options);
    CHECK((soft ? loss(logits, targets, d_logits) : loss(logits, labels, d_logits)) == Approx(value).epsilon(1e-14));
    for (std::size_t i = 0; i < gradient.size(); ++i) CHECK(d_logits[static_cast<Index>(i)] == Approx(gradient[i]).epsilon(1e-13));
  };
  check({}, false, 0.5392225943226271,
      {0.1965992212189375, 0.04386721571563811, -0.2404664369345756, 0.03806506646153149, -0.05206842183955351, 0.01400335537802202, 0, 0,
          0, -0.05206842183955347, 0.01400335537802202, 0.03806506646153149});
  check({.label_smoothing = 0.1, .weight = weight}, false, 0.7109857923171738,
      {0.2145499669394014, 0.03213561081698074, -0.2466855777563821, 0.051027679702554, -0.05883254500068593, 0.007804865298131923, 0, 0, 0,
          0.006386732111862027, -0.01054019868878203, 0.004153466576920029});
  check({.label_smoothing = 0.1, .weight = weight, .reduction = Reduction::sum}, false, 2.843943169268695,
      {0.8581998677576055, 0.1285424432679229, -0.9867423110255285, 0.204110718810216, -0.2353301800027437, 0.03121946119252769, 0, 0, 0,
          0.02554692844744811, -0.04216079475512814, 0.01661386630768012});
  check({.label_smoothing = 0.1, .weight = weight}, true, 1.574696701801947,
      {0.1854147432232622, -0.1043449077134221, -0.08106983550984015, 0.051027679702554, -0.05883254500068593, 0.007804865298131923,
          0.04192220753242189, -0.08307779246757813, 0.04115558493515626, 0.1812953666483004, -0.117132533138679, -0.06416283350962139});
}

TEST_CASE("each row's own loss, and its gradient") {
  const Case c(17, 10, 0.1, true, true, Reduction::mean);
  const auto logits = matrix<double>(17, 10, c.logits), targets = matrix<double>(17, 10, c.targets);
  const CrossEntropyLoss<double> mean(c.options);
  CrossEntropyOptions options = c.options;
  options.reduction = Reduction::sum;
  const CrossEntropyLoss<double> sum(options);
  Tensor<double, 1> losses({40});
  losses.fill(7.0);
  Tensor<double, 2> d_rows, d_sum;

  mean.rows(logits, c.labels, losses, d_rows);
  const auto expected = reference::cross_entropy_rows(c.logits, c.labels, 10, 0.1, c.options.weight, 0);
  CHECK(losses.shape() == Shape{17});
  CHECK(losses.data()[17] == 7);  // the tensor kept its memory, and what lies behind the rows was left alone
  for (Index r = 0; r < 17; ++r) CHECK(losses[r] == Approx(expected[static_cast<std::size_t>(r)]).margin(1e-14));
  sum(logits, c.labels, d_sum);
  for (Index i = 0; i < d_sum.size(); ++i) CHECK(d_rows[i] == d_sum[i]);

  mean.rows(logits, targets, losses, d_rows);
  const double value = sum(logits, targets, d_sum);
  double total = 0;
  for (Index r = 0; r < 17; ++r) total += losses[r];
  CHECK(total == Approx(value).epsilon(1e-13));
  for (Index i = 0; i < d_sum.size(); ++i) CHECK(d_rows[i] == d_sum[i]);
}

TEMPLATE_TEST_CASE("cross_entropy: logits of any size are safe", "", float, double) {
  using T = TestType;
  Tensor<T, 2> d;
  const std::vector<int> labels = {0, 1};
  CHECK(CrossEntropyLoss<T>()(matrix<T>(2, 3, {1e4, 0, -1e4, 1e30, 1e30, -1e30}), labels, d) == Approx(std::log(2.0) / 2));
  CHECK(d[0] == T(0));
  CHECK(static_cast<double>(d[3]) == Approx(0.25));
  CHECK(static_cast<double>(d[4]) == Approx(-0.25));
  CHECK(CrossEntropyLoss<T>()(matrix<T>(2, 3, {0, 1e4, 0, 0, -1e4, 0}), labels, d) == Approx((1e4 + 1e4 + std::log(2.0)) / 2));

  // A class that is masked out takes no part unless it is the target.
  const auto masked = matrix<T>(2, 3, {1, 2, -kInfinity, -kInfinity, 0, 0});
  CHECK(CrossEntropyLoss<T>()(masked, labels, d) == Approx((std::log(1 + std::exp(1.0)) + std::log(2.0)) / 2));
  CHECK(d[2] == T(0));
  CHECK(d[3] == T(0));
  CHECK(CrossEntropyLoss<T>()(masked, matrix<T>(2, 3, {1, 0, 0, 0, 1, 0}), d) == Approx((std::log(1 + std::exp(1.0)) + std::log(2.0)) / 2));
  CHECK(CrossEntropyLoss<T>().value(masked, std::vector<int>{0, 0}) == kInfinity);
  CHECK(std::isnan(CrossEntropyLoss<T>().value(matrix<T>(1, 2, {0, std::nan("")}), std::vector<int>{0})));
}

TEMPLATE_TEST_CASE("cross_entropy: extreme logits, against the formula", "", float, double) {
  using T = TestType;
  constexpr long double kRounding = 16 * std::numeric_limits<T>::epsilon();  // some roundings of the largest term
  for (Index classes : {1, 2, 3, 10, 33})
    for (double smoothing : {0.0, 0.1, 1.0})
      for (bool weighted : {false, true})
        for (bool soft : {false, true}) {
          INFO(classes << " classes, smoothing " << smoothing << ", weighted " << weighted << ", soft " << soft);
          const auto logits = extreme_rows<T>(classes);
          CrossEntropyOptions options{.label_smoothing = smoothing};
          for (Index c = 0; c < classes && weighted; ++c) options.weight.push_back(c % 3 == 0 ? 0.5 : c % 3 == 1 ? 1e-30 : 1e30);
          std::vector<int> labels;
          Tensor<T, 2> targets(logits.shape()), d_rows, d_mean;
          for (Index r = 0; r < logits.rows(); ++r) {
            labels.push_back(static_cast<int>(r % classes));
            targets(r, r % classes) += T(0.75), targets(r, r / 2 % classes) += T(0.25);
          }
          const CrossEntropyLoss<T> loss(options);
          Tensor<T, 1> losses;
          soft ? loss.rows(logits, targets, losses, d_rows) : loss.rows(logits, labels, losses, d_rows);
          const double mean = soft ? loss(logits, targets, d_mean) : loss(logits, labels, d_mean);
          long double sum = 0, divisor = 0;
          const auto weight = [&](Index c) { return weighted ? options.weight[static_cast<std::size_t>(c)] : 1.0; };
          for (Index r = 0; r < logits.rows(); ++r) divisor += soft ? 1 : weight(r % classes);
          for (Index r = 0; r < logits.rows(); ++r) {
            const ExactSoftmax<T, double> exact(logits.data() + r * classes, classes);
            const auto a = [&](Index c) {
              const double target = soft ? static_cast<double>(targets(r, c)) : c == r % classes ? 1.0 : 0.0;
              return static_cast<long double>(weight(c)) * ((1 - smoothing) * target + smoothing / static_cast<double>(classes));
            };
            long double expected = 0, total = 0;
            for (Index c = 0; c < classes; ++c) {
              if (a(c) != 0) expected -= a(c) * exact.log_p[static_cast<std::size_t>(c)];
              total += a(c);
            }
            REQUIRE(is_near(losses[r], expected, kRounding * (total + expected)));
            for (Index c = 0; c < classes; ++c) {
              const long double gradient = total * exact.p[static_cast<std::size_t>(c)] - a(c);
              REQUIRE(is_near(d_rows(r, c), gradient, kRounding * total));
              REQUIRE(is_near(d_mean(r, c), gradient / divisor, kRounding * total / divisor + std::numeric_limits<T>::denorm_min()));
            }
            sum += expected;
          }
          CHECK(is_near(mean, sum / divisor, 1e-13L * (1 + sum / divisor)));
        }
}

TEST_CASE("nothing to take the mean of: 0, with zero gradients") {
  const auto logits = matrix<float>(2, 3, {1, 2, 3, 4, 5, 6});
  Tensor<float, 2> d;
  const auto all_zero = [&] {
    for (Index i = 0; i < d.size(); ++i) CHECK(d[i] == 0.0f);
  };
  for (Reduction reduction : {Reduction::mean, Reduction::sum}) {
    CHECK(CrossEntropyLoss<float>({.label_smoothing = 0.1, .ignore_index = 1, .reduction = reduction})(logits, std::vector<int>{1, 1}, d) ==
          0);
    CHECK(d.size() == 6);
    all_zero();
  }
  CHECK(CrossEntropyLoss<float>({.weight = {0, 1, 1}})(logits, std::vector<int>{0, 0}, d) == 0);
  all_zero();
  CHECK(CrossEntropyLoss<float>()(Tensor<float, 2>({0, 3}), std::vector<int>{}, d) == 0);
  CHECK(d.shape() == Shape{0, 3});
  Tensor<float, 1> losses;
  CrossEntropyLoss<float>().rows(Tensor<float, 2>({0, 3}), std::vector<int>{}, losses, d);
  CHECK(losses.size() == 0);
}

TEST_CASE("a label without weight whose logit is minus infinity adds nothing") {
  const auto logits = matrix<float>(2, 3, {1, 2, -kInfinity, 4, 5, 6});
  Tensor<float, 2> d;
  const CrossEntropyLoss<float> loss({.weight = {1, 1, 0}, .reduction = Reduction::sum});
  const double second = loss.value(matrix<float>(1, 3, {4, 5, 6}), std::vector<int>{1});
  CHECK(loss(logits, std::vector<int>{2, 1}, d) == second);
  for (Index c = 0; c < 3; ++c) CHECK(d[c] == 0);
}

TEST_CASE("tensors of any rank are rows of classes") {
  const Case c(12, 5, 0.1, true, true, Reduction::mean);
  const auto logits = matrix<double>(12, 5, c.logits), targets = matrix<double>(12, 5, c.targets);
  const auto map = logits.reshaped<4>({2, 3, 2, 5}), map_targets = targets.reshaped<4>({2, 3, 2, 5});
  const CrossEntropyLoss<double> loss(c.options);
  Tensor<double, 2> d_logits;
  Tensor<double, 4> d_map;
  Tensor<double, 1> losses, map_losses;
  CHECK(loss(map, c.labels, d_map) == loss(logits, c.labels, d_logits));
  CHECK(d_map.shape() == Shape{2, 3, 2, 5});
  CHECK(std::equal(d_map.span().begin(), d_map.span().end(), d_logits.span().begin()));
  CHECK(loss.value(map, map_targets) == loss.value(logits, targets));
  loss.rows(logits, c.labels, losses, d_logits);
  loss.rows(map, c.labels, map_losses, d_map);
  CHECK(std::equal(losses.span().begin(), losses.span().end(), map_losses.span().begin()));
}

TEST_CASE("labels are integers of any size in any container") {
  const auto logits = matrix<float>(2, 3, {1, 2, 3, 4, 5, 7});
  const CrossEntropyLoss<float> loss({.ignore_index = 255});
  const double expected = loss.value(logits, std::vector<int>{2, 0});
  const std::uint8_t bytes[] = {2, 0};
  const std::array<std::int64_t, 2> words = {2, 0};
  const std::vector<std::uint8_t> vector = {2, 0};
  CHECK(loss.value(logits, bytes) == expected);
  CHECK(loss.value(logits, words) == expected);
  CHECK(loss.value(logits, std::span(vector)) == expected);
  CHECK(loss.value(logits, wrap<1>(words.data(), Shape{2})) == expected);
  const std::vector<std::uint8_t> ignoring = {2, 255};
  CHECK(loss.value(logits, ignoring) == loss.value(logits.slice(0, 1), std::vector<int>{2}));
}

TEST_CASE("the loss does not depend on the number of threads, and allocates nothing after the first call") {
  const Case c(1000, 33, 0.1, true, true, Reduction::mean);
  const auto logits = matrix<float>(1000, 33, c.logits);
  const CrossEntropyLoss<float> loss(c.options);
  Tensor<float, 2> one, two;
  double value[2];
  {
    ThreadScope threads(1);
    value[0] = loss(logits, c.labels, one);
  }
  ThreadScope threads(2);
  value[1] = loss(logits, c.labels, two);
  CHECK(value[0] == value[1]);
  CHECK(std::equal(one.span().begin(), one.span().end(), two.span().begin()));
  const auto from_system = BufferPool::instance().from_system();
  loss(logits, c.labels, two);
  CHECK(BufferPool::instance().from_system() == from_system);

  // A row alone has the bits that it has in a batch.
  Tensor<float, 1> losses, alone;
  loss.rows(logits, c.labels, losses, two);
  loss.rows(logits.slice(7, 8), std::span(c.labels).subspan(7, 1), alone, one);
  CHECK(alone[0] == losses[7]);
  for (Index i = 0; i < 33; ++i) CHECK(one[i] == two(7, i));
}

TEST_CASE("mistakes with losses get a sentence") {
  const CrossEntropyLoss<float> loss;
  const Tensor<float, 2> logits({2, 3});
  Tensor<float, 2> d;
  CHECK_THROWS_WITH(
      loss(logits, std::vector<int>{0, 3}, d), "CrossEntropyLoss: label 3 of row 1 is not in 0 ... 2 and not ignore_index (-100)");
  CHECK_THROWS_WITH(
      loss(logits, std::vector<int>{-1, 0}, d), "CrossEntropyLoss: label -1 of row 0 is not in 0 ... 2 and not ignore_index (-100)");
  CHECK_THROWS_WITH(loss(logits, std::vector<int>{0}, d), "CrossEntropyLoss: the input has 2 rows, but there are 1 labels");
  CHECK_THROWS_AS(loss(logits, std::vector<int>{0}, d), ShapeError);
  CHECK_THROWS_WITH(loss(logits, Tensor<float, 2>({2, 4}), d), "CrossEntropyLoss: the input is 2x3, the targets 2x4");
  CHECK_THROWS_WITH(loss.value(Tensor<float, 2>(), std::vector{0}), "the input of a loss is a tensor without a shape, expected 2 axes");
  const CrossEntropyLoss<float> weighted({.weight = {1, 2}});
  CHECK_THROWS_WITH(weighted(logits, std::vector<int>{0, 0}, d), "CrossEntropyLoss: the input has 3 classes, weight has 2");
  CHECK_THROWS_AS(weighted(logits, Tensor<float, 2>({2, 3}), d), ShapeError);
  CHECK(message_of({.label_smoothing = 1.5}) == "CrossEntropyLoss: label_smoothing must lie in [0, 1], is 1.5");
  CHECK(message_of({.label_smoothing = -0.5}) == "CrossEntropyLoss: label_smoothing must lie in [0, 1], is -0.5");
  CHECK(message_of({.weight = {1, -2}}) == "CrossEntropyLoss: class weights must be finite and not negative, one is -2");
}
