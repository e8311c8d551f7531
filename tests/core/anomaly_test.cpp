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

namespace {

/// A layer of one weight, as far as the looks at its passes need it.
struct OneWeight : LayerBase<OneWeight> {
  using scalar = float;
  Parameter<float> weight{Shape{3}};
  template <class Self, class V>
  static void describe_members(Self& self, V& visitor) {
    visitor.kind("OneWeight");
    visitor.parameter("weight", self.weight);
  }
};

}  // namespace

TEST_CASE("a look at a pass: silent about numbers, names what is none, and takes place under a scope alone") {
  constexpr float infinite = std::numeric_limits<float>::infinity();
  OneWeight layer;
  layer.weight.gradient()[0] = 1;
  Tensor<float, 1> x({4});
  const auto forward = [&] { heed::detail::watch_forward(layer, x); };
  const auto backward = [&] { heed::detail::watch_backward(layer, x); };
  {
    const AnomalyScope scope;
    CHECK_NOTHROW((forward(), backward()));
    layer.weight.gradient()[1] = infinite;
    CHECK_NOTHROW(forward());
    CHECK_THROWS_WITH(backward(), contains("backward gives a gradient of weight that is inf at element 1 of 3"));
    layer.weight.gradient()[0] = infinite;
    CHECK_THROWS_WITH(backward(), contains("a gradient of weight that is inf at element 0 of 3"));
    layer.weight.gradient()[0] = layer.weight.gradient()[1] = 0, x[2] = infinite;
    CHECK_THROWS_WITH(forward(), contains("forward gives inf") && contains("what it was given was finite"));
    CHECK_THROWS_WITH(backward(), contains("backward gives inf"));
    layer.weight.value()[2] = infinite;
    CHECK_THROWS_WITH(forward(), contains("forward gives inf, since its weight holds inf at element 2 of 3: an earlier step made it so"));
    layer.weight.value()[0] = infinite;
    CHECK_THROWS_WITH(forward(), contains("its weight holds inf at element 0 of 3"));
  }
  CHECK_NOTHROW((forward(), backward()));
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
