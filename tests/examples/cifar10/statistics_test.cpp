// SPDX-License-Identifier: MIT
#include "cifar10/statistics.hpp"

#include <vector>

#include "catch.hpp"

using cifar10::student_quantile, cifar10::summarize, cifar10::Summary;

TEST_CASE("a summary has mean, deviation over n - 1, and the interval of Student's t") {
  const std::vector<double> values = {2, 4, 9};
  const Summary s = summarize(values);
  CHECK(s.count == 3);
  CHECK(s.mean == Approx(5));
  CHECK(s.deviation == Approx(std::sqrt(13.0)));  // (9 + 1 + 16) / 2
  CHECK(s.margin() == Approx(4.303 * std::sqrt(13.0 / 3)));
}

TEST_CASE("one run has a mean alone, none has nothing") {
  const std::vector<double> one = {3}, none;
  CHECK(summarize(one).mean == 3);
  CHECK(std::isnan(summarize(one).deviation));
  CHECK(std::isnan(summarize(one).margin()));
  CHECK(summarize(none).count == 0);
}

TEST_CASE("Student's quantiles are those of the tables, and fall towards the normal's") {
  CHECK(student_quantile(1) == 12.706);
  CHECK(student_quantile(4) == 2.776);
  CHECK(student_quantile(30) == 2.042);
  CHECK(student_quantile(40) == Approx(2.0211).margin(2e-4));
  CHECK(student_quantile(120) == Approx(1.9799).margin(2e-4));
  for (std::size_t d = 1; d < 200; ++d) CHECK(student_quantile(d) > student_quantile(d + 1));
  CHECK(student_quantile(100000) == Approx(1.96).margin(1e-4));
  CHECK(std::isnan(student_quantile(0)));
}
