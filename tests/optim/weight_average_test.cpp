// SPDX-License-Identifier: MIT
#include <cmath>
#include <vector>

#include <heed/optim/weight_average.hpp>

#include "catch.hpp"
#include "reference/parameter_set.hpp"

using namespace heed;
using heed::reference::ParameterSet;

namespace {

/// Moves the weights somewhere that depends on the step.
template <class T>
void move_weights(ParameterSet<T>& model, Tensor<T, 1>& buffer, int step) {
  for (std::size_t k = 0; k < model.names.size(); ++k)
    for (Index i = 0; i < model[k].size(); ++i) model[k].value()[i] += static_cast<T>(0.1 * step + 0.001 * static_cast<double>(i % 10));
  for (Index i = 0; i < buffer.size(); ++i) buffer[i] += static_cast<T>(step);
}

}  // namespace

TEMPLATE_TEST_CASE("the average follows the recursion, for parameters and buffers of all sizes", "", float, double) {
  using T = TestType;
  for (bool warm_up : {false, true}) {
    ParameterSet<T> model(reference::awkward_sizes());
    Tensor<T, 1> buffer({19});
    buffer.fill(T(2));
    WeightAverage<T> average(model.named(), {{"running_mean", &buffer}}, {.decay = 0.3, .warm_up = warm_up});
    std::vector<std::vector<double>> expected;
    for (std::size_t k = 0; k < model.names.size(); ++k) {
      const std::vector<T> start = model.value(k);
      expected.emplace_back(start.begin(), start.end());
    }
    double expected_buffer = 2;
    for (int step = 1; step <= 5; ++step) {
      move_weights(model, buffer, step);
      average.update();
      const double decay = warm_up ? std::min(0.3, step / (step + 9.0)) : 0.3;  // 0.1, 0.18, 0.25, 0.3, 0.3
      for (std::size_t k = 0; k < model.names.size(); ++k) {
        const std::vector<T> weight = model.value(k);
        for (std::size_t i = 0; i < weight.size(); ++i)
          expected[k][i] = decay * expected[k][i] + (1 - decay) * static_cast<double>(weight[i]);
      }
      expected_buffer = decay * expected_buffer + (1 - decay) * static_cast<double>(buffer[0]);
    }
    CHECK(average.updates() == 5);
    const auto averages = average.named_averages();
    REQUIRE(averages.size() == model.names.size() + 1);
    const double tolerance = sizeof(T) == 4 ? 1e-5 : 1e-13;
    double worst = 0;
    for (std::size_t k = 0; k < model.names.size(); ++k) {
      CHECK(averages[k].name == model.names[k]);
      for (std::size_t i = 0; i < expected[k].size(); ++i)
        worst = std::max(worst, std::abs(static_cast<double>((*averages[k].buffer)[static_cast<Index>(i)]) - expected[k][i]));
    }
    CHECK(worst < tolerance);
    CHECK(averages.back().name == "running_mean");
    for (Index i = 0; i < 19; ++i) CHECK(static_cast<double>((*averages.back().buffer)[i]) == Approx(expected_buffer).epsilon(tolerance));
  }
}

TEST_CASE("weights that do not move keep their bits in the average") {
  ParameterSet<float> model({1000});
  const auto before = model.value(0);
  WeightAverage<float> average(model.named(), {}, {.decay = 0.9});
  for (int i = 0; i < 10; ++i) average.update();
  average.copy_to_model();
  CHECK(model.value(0) == before);
}

TEST_CASE("averaging leaves alone what lies behind the end") {
  const std::vector<float> weight(60, 3.0f);
  for (Index count = 1; count < 40; ++count) {
    std::vector<float> average(60, 1.0f);
    dispatch<detail::AverageKernel<float>, float>(average.data(), weight.data(), count, 0.5f);
    for (Index i = 0; i < 60; ++i) CHECK(average[static_cast<std::size_t>(i)] == (i < count ? 2.0f : 1.0f));
  }
}

TEST_CASE("the averages go into the model for a scope, and out again") {
  ParameterSet<double> model({40000, 3});
  Tensor<double, 1> buffer({2});
  const auto start = model.value(0);
  WeightAverage<double> average(model.named(), {{"b", &buffer}}, {.decay = 0.5});
  move_weights(model, buffer, 1);
  const auto moved = model.value(0);
  {
    AverageScope scope(average);
    CHECK(average.swapped());
    CHECK(model.value(0) == start);
    CHECK(buffer[1] == 0);
    CHECK_THROWS_AS(average.update(), std::invalid_argument);
    CHECK_THROWS_AS(average.copy_to_model(), std::invalid_argument);
  }
  {
    AverageScope outer(average);
    {
      AverageScope inner(average);  // of a helper, say
      CHECK(model.value(0) == start);
    }
    CHECK(model.value(0) == start);
  }
  CHECK_FALSE(average.swapped());
  CHECK(model.value(0) == moved);
  CHECK(buffer[1] == 1);
  average.update();
  average.copy_to_model();
  CHECK(model.value(0)[39999] == Approx((start[39999] + moved[39999]) / 2));
  CHECK(buffer[1] == 0.5);
}

TEST_CASE("tied weights and shared buffers are averaged and exchanged once") {
  ParameterSet<double> model({40, 3});
  Tensor<double, 1> buffer({2});
  auto parameters = model.named();
  parameters.push_back({"tied", &model[0]});
  const auto start = model.value(0);
  WeightAverage<double> average(parameters, {{"b", &buffer}, {"b.again", &buffer}}, {.decay = 0.5});
  REQUIRE(average.named_averages().size() == 3);
  CHECK(average.named_averages()[2].name == "b");
  move_weights(model, buffer, 1);
  const auto moved = model.value(0);
  {
    AverageScope scope(average);
    CHECK(model.value(0) == start);
    CHECK(buffer[0] == 0);
  }
  CHECK(model.value(0) == moved);
  CHECK(buffer[0] == 1);
  average.update();
  average.copy_to_model();
  CHECK(model.value(0)[7] == Approx((start[7] + moved[7]) / 2));
  CHECK(buffer[0] == 0.5);
}

TEST_CASE("a restored average goes on where the first one stood") {
  ParameterSet<float> model({33}), twin({33});
  Tensor<float, 1> none;
  WeightAverage<float> average(model.named(), {}, {.warm_up = true}), other(twin.named(), {}, {.warm_up = true});
  move_weights(model, none, 1);
  average.update();
  *other.named_averages()[0].buffer = *average.named_averages()[0].buffer;
  other.set_updates(average.updates());
  move_weights(model, none, 2);
  std::copy_n(std::as_const(model[0]).value(), 33, twin[0].value());
  average.update();
  other.update();
  for (Index i = 0; i < 33; ++i) CHECK((*other.named_averages()[0].buffer)[i] == (*average.named_averages()[0].buffer)[i]);
}

TEST_CASE("mistakes with averages get a sentence") {
  ParameterSet<float> model({2});
  CHECK_THROWS_AS(WeightAverage<float>(model.named(), {}, {.decay = 1}), std::invalid_argument);
  CHECK_THROWS_AS(WeightAverage<float>(model.named(), {}, {.decay = -0.1}), std::invalid_argument);
  Tensor<float, 1> buffer({4});
  WeightAverage<float> average(model.named(), {{"running_var", &buffer}});
  buffer.resize({3});
  CHECK_THROWS_AS(average.update(), ShapeError);
  Parameter<float> weight({3});
  WeightAverage<float> replaced({{"weight", &weight}}, {});
  weight = Parameter<float>({2});
  CHECK_THROWS_WITH(replaced.update(), "WeightAverage: weight had 3 elements and has 2");
}

TEST_CASE("one thread and two average to the same bits") {
  ParameterSet<float> one(reference::awkward_sizes()), two(reference::awkward_sizes());
  Tensor<float, 1> none;
  WeightAverage<float> first(one.named(), {}), second(two.named(), {});
  move_weights(one, none, 3);
  move_weights(two, none, 3);
  {
    ThreadScope threads(1);
    first.update();
    first.copy_to_model();
  }
  ThreadScope threads(2);
  second.update();
  second.copy_to_model();
  for (std::size_t k = 0; k < one.names.size(); ++k) CHECK(one.value(k) == two.value(k));
}
