// SPDX-License-Identifier: MIT
#include <cmath>
#include <limits>
#include <vector>

#include <heed/optim/clip_gradient_norm.hpp>

#include "catch.hpp"
#include "reference/parameter_set.hpp"

using namespace heed;
using heed::reference::ParameterSet;

namespace {

template <class T>
double plain_norm(const ParameterSet<T>& model) {
  long double sum = 0;
  for (std::size_t k = 0; k < model.parameters.size(); ++k)
    for (T g : model.gradient(k)) sum += static_cast<long double>(g) * static_cast<long double>(g);
  return static_cast<double>(std::sqrt(sum));
}

}  // namespace

TEMPLATE_TEST_CASE("gradients are scaled together to the norm", "", float, double) {
  using T = TestType;
  for (Index size : reference::awkward_sizes()) {
    ParameterSet<T> model({size, 3, size});
    model.draw_gradients(1);
    const double norm = plain_norm(model);
    const auto before = model.gradient(2);
    CHECK(clip_gradient_norm(model.named(), norm * 1.01) == Approx(norm).epsilon(1e-13));
    CHECK(model.gradient(2) == before);  // small enough: untouched
    CHECK(clip_gradient_norm(model.named(), norm / 4) == Approx(norm).epsilon(1e-13));
    const double factor = norm / 4 / (norm + 1e-6);
    const auto after = model.gradient(2);
    double worst = 0;
    for (std::size_t i = 0; i < before.size(); ++i)
      worst = std::max(worst, std::abs(static_cast<double>(after[i]) - static_cast<double>(before[i]) * factor));
    CHECK(worst < factor * (sizeof(T) == 4 ? 1e-6 : 1e-14));  // gradients are below 5, each is rounded twice
    CHECK(plain_norm(model) == Approx(norm / 4).epsilon(1e-5));
  }
}

TEST_CASE("torch's rule near the limit: 1e-6 is added to the norm") {
  ParameterSet<double> model({2});
  model[0].gradient()[0] = 3;
  model[0].gradient()[1] = 4;
  CHECK(clip_gradient_norm(model.named(), 5) == 5);
  CHECK(model.gradient(0)[0] == Approx(3 * 5 / 5.000001).epsilon(1e-15));
  CHECK(model.gradient(0)[0] != 3);
  CHECK(clip_gradient_norm(model.named(), 0) == Approx(5).epsilon(1e-6));
  CHECK(model.gradient(0)[1] == 0);
  CHECK(clip_gradient_norm(model.named(), 1) == 0);
  CHECK_THROWS_AS(clip_gradient_norm(model.named(), -1), std::invalid_argument);
}

TEST_CASE("frozen parameters and those without a gradient do not count") {
  ParameterSet<double> model({1, 1, 1});
  model[0].gradient()[0] = 3;
  model[1].gradient()[0] = 100;
  model[1].freeze();
  CHECK(clip_gradient_norm(model.named(), 1.5) == 3);
  CHECK(model.gradient(0)[0] == Approx(1.5).epsilon(1e-6));
  CHECK(model.gradient(1)[0] == 100);
  CHECK_FALSE(model[2].has_gradient());
}

TEST_CASE("tied weights count once and are scaled once") {
  ParameterSet<double> model({1, 40000});
  model[0].gradient()[0] = 3;
  model[1].gradient()[0] = 4;
  auto parameters = model.named();
  parameters.insert(parameters.begin(), {"tied", &model[1]});
  parameters.push_back({"tied.again", &model[1]});
  CHECK(clip_gradient_norm(parameters, 2.5) == 5);
  CHECK(model.gradient(0)[0] == Approx(1.5).epsilon(1e-6));
  CHECK(model.gradient(1)[0] == Approx(2).epsilon(1e-6));
}

TEST_CASE("squares that overflow in float still have a norm") {
  ParameterSet<float> model({30});
  for (int i = 0; i < 30; ++i) model[0].gradient()[i] = 1e30f;
  CHECK(clip_gradient_norm(model.named(), 1) == Approx(1e30 * std::sqrt(30.0)));
  CHECK(model.gradient(0)[7] == Approx(1 / std::sqrt(30.0)));
}

TEST_CASE("a norm that is not finite spoils all gradients and is returned") {
  ParameterSet<double> model({3, 3});
  model.draw_gradients(0);
  model[1].gradient()[1] = std::numeric_limits<double>::quiet_NaN();
  CHECK(std::isnan(clip_gradient_norm(model.named(), 1)));
  for (double g : model.gradient(0)) CHECK(std::isnan(g));

  model.draw_gradients(0);
  model[1].gradient()[1] = std::numeric_limits<double>::infinity();
  CHECK(std::isinf(clip_gradient_norm(model.named(), 1)));
  CHECK(model.gradient(0)[0] == 0);
  CHECK(std::isnan(model.gradient(1)[1]));
}

TEST_CASE("one thread and two find the same bits") {
  ParameterSet<float> one(reference::awkward_sizes()), two(reference::awkward_sizes());
  one.draw_gradients(5);
  two.draw_gradients(5);
  double norm[2];
  {
    ThreadScope threads(1);
    norm[0] = clip_gradient_norm(one.named(), 1);
  }
  {
    ThreadScope threads(2);
    norm[1] = clip_gradient_norm(two.named(), 1);
  }
  CHECK(norm[0] == norm[1]);
  for (std::size_t k = 0; k < one.names.size(); ++k) CHECK(one.gradient(k) == two.gradient(k));
}
