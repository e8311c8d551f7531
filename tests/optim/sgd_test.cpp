// SPDX-License-Identifier: MIT
#include <cmath>
#include <string>
#include <vector>

#include <heed/optim/sgd.hpp>

#include "catch.hpp"
#include "reference/optimizer_reference.hpp"
#include "reference/parameter_set.hpp"

using namespace heed;
using heed::reference::ParameterSet;
using heed::reference::SgdReference;

namespace {

/// Four steps beside the plain loop, over all awkward sizes at once, with a factor that changes.
template <class T>
void agrees(const SgdOptions& options, double tolerance) {
  const auto sizes = reference::awkward_sizes();
  ParameterSet<T> model(sizes);
  std::vector<std::vector<T>> expected;
  std::vector<SgdReference<T>> states(sizes.size());
  for (std::size_t k = 0; k < sizes.size(); ++k) expected.push_back(model.value(k));
  Sgd<T> optimizer(model.named(), options);
  for (int step = 1; step <= 4; ++step) {
    const double factor = 1.0 / step;
    model.draw_gradients(step);
    optimizer.step(factor);
    for (std::size_t k = 0; k < sizes.size(); ++k)
      states[k].step(expected[k], model.gradient(k), options, options.learning_rate * factor, step);
  }
  double worst = 0;
  const auto compare = [&](const std::vector<T>& reference, const T* ours) {
    for (std::size_t i = 0; i < reference.size(); ++i)
      worst = std::max(worst, std::abs(static_cast<double>(ours[i] - reference[i])) / (0.1 + std::abs(static_cast<double>(reference[i]))));
  };
  const auto state = optimizer.named_state();
  REQUIRE(state.size() == (options.momentum != 0 ? sizes.size() : 0));
  for (std::size_t k = 0; k < sizes.size(); ++k) {
    compare(expected[k], model.value(k).data());
    if (options.momentum != 0) {
      CHECK(state[k].name == "p" + std::to_string(k) + ".momentum_buffer");
      compare(states[k].momentum_buffer, state[k].tensor->data());
    }
  }
  CHECK(worst < tolerance);
}

std::vector<double> three_steps(const SgdOptions& options) {
  Parameter<double> p({3});
  const double start[] = {1.0, -0.5, 0.25}, gradients[3][3] = {{0.5, -1.0, 0.0}, {0.25, 2.0, -0.5}, {-0.125, 0.5, 1.0}};
  std::copy_n(start, 3, p.value());
  Sgd<double> optimizer({{"p", &p}}, options);
  for (const auto& gradient : gradients) {
    std::copy_n(gradient, 3, p.gradient());
    optimizer.step();
  }
  return {p.value(), p.value() + 3};
}

void check_close(const std::vector<double>& ours, const std::vector<double>& torch) {
  for (std::size_t i = 0; i < torch.size(); ++i) CHECK(ours[i] == Approx(torch[i]).epsilon(1e-14));
}

std::string message_of(const SgdOptions& options) {
  Parameter<float> p({1});
  try {
    Sgd<float> optimizer({{"p", &p}}, options);
  } catch (const std::invalid_argument& error) {
    return error.what();
  }
  return "";
}

}  // namespace

TEST_CASE("Sgd agrees with the plain loop") {
  for (double weight_decay : {0.0, 0.2})
    for (bool maximize : {false, true}) {
      INFO("weight decay " << weight_decay << ", maximize " << maximize);
      const SgdOptions forms[] = {{}, {.momentum = 0.9}, {.momentum = 0.9, .dampening = 0.3}, {.momentum = 0.9, .nesterov = true}};
      for (SgdOptions options : forms) {
        options.learning_rate = 0.1;
        options.weight_decay = weight_decay;
        options.maximize = maximize;
        INFO("momentum " << options.momentum << ", dampening " << options.dampening << ", nesterov " << options.nesterov);
        agrees<double>(options, 1e-13);
        agrees<float>(options, 1e-5);
      }
    }
}

TEST_CASE("Sgd agrees with numbers printed by torch 2") {
  check_close(three_steps({.learning_rate = 0.1}), {0.9375, -0.65, 0.2});
  check_close(three_steps({.learning_rate = 0.1, .momentum = 0.9, .dampening = 0.3, .weight_decay = 0.1}),
      {0.7943645599999999, -0.5081323549999999, 0.2344836275});
  check_close(three_steps({.learning_rate = 0.1, .momentum = 0.9, .weight_decay = 0.1, .nesterov = true, .maximize = true}),
      {1.130826736, -0.1643375605, 0.28652848525});
}

TEST_CASE("rules change any option of Sgd") {
  ParameterSet<float> model({2, 2});
  Sgd<float> optimizer(model.named(), {},
      {{"p1", {.learning_rate = 1, .momentum = 0.25, .dampening = 0.0, .weight_decay = 3, .nesterov = true, .maximize = true}}});
  const SgdOptions o = optimizer.options_of("p1");
  CHECK(o.learning_rate == 1);
  CHECK(o.momentum == 0.25);
  CHECK(o.dampening == 0);
  CHECK(o.weight_decay == 3);
  CHECK(o.nesterov);
  CHECK(o.maximize);
  CHECK(optimizer.options_of("p0").momentum == 0);
  REQUIRE(optimizer.named_state().size() == 1);
  CHECK(optimizer.named_state()[0].name == "p1.momentum_buffer");
  CHECK(optimizer.kind() == "SGD");
}

TEST_CASE("options of Sgd out of range get a sentence") {
  CHECK(message_of({.learning_rate = -1}) == "SGD: learning_rate must not be negative, is -1");
  CHECK(message_of({.momentum = -1}) == "SGD: momentum must not be negative, is -1");
  CHECK(message_of({.weight_decay = -1}) == "SGD: weight_decay must not be negative, is -1");
  CHECK(message_of({.nesterov = true}) == "SGD: nesterov needs momentum and no dampening, they are 0 and 0");
  CHECK(message_of({.momentum = 0.9, .dampening = 0.1, .nesterov = true}) ==
        "SGD: nesterov needs momentum and no dampening, they are 0.9 and 0.1");
  CHECK(message_of({.momentum = 0.9, .nesterov = true}) == "");
}
