// SPDX-License-Identifier: MIT
#include "catch.hpp"

#include <limits>
#include <thread>
#include <vector>

#include <heed/core/anomaly.hpp>

using namespace heed;

TEMPLATE_TEST_CASE("the first number that is none is found, wherever it is", "", float, double) {
  using T = TestType;
  using limits = std::numeric_limits<T>;
  for (const T anomaly : {limits::infinity(), -limits::infinity(), limits::quiet_NaN(), -limits::quiet_NaN()})
    for (Index place = 0; place < 40; ++place) {
      std::vector<T> x(40, limits::max());
      x[0] = limits::denorm_min(), x[1] = limits::lowest();
      x[static_cast<std::size_t>(place)] = anomaly;
      x.back() = anomaly;
      CHECK(first_anomaly(x.data(), 40) == place);
      CHECK(first_anomaly(x.data(), place) == -1);
    }
  CHECK(first_anomaly<T>(nullptr, 0) == -1);
}

TEST_CASE("whole numbers are never anomalies") {
  const std::int64_t x[] = {std::numeric_limits<std::int64_t>::min(), -1};
  CHECK(first_anomaly(x, 2) == -1);
}

TEST_CASE("AnomalyScope nests, restores, and belongs to its thread") {
  CHECK_FALSE(context().anomaly);
  {
    const AnomalyScope outer;
    {
      const AnomalyScope inner;
      CHECK(context().anomaly);
    }
    CHECK(context().anomaly);
    bool elsewhere = true;
    std::thread([&] { elsewhere = context().anomaly; }).join();
    CHECK_FALSE(elsewhere);
  }
  CHECK_FALSE(context().anomaly);
}
