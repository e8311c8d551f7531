// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string>
#include <vector>

#include <heed/optim/optimizer.hpp>

#include "catch.hpp"
#include "reference/parameter_set.hpp"

// What the tests of all methods ask: the plain loop, torch's own numbers, and sentences about options out of range.

/// One array of the state: its name in files, and where the plain loop keeps it.
template <class T, class Reference>
struct StateArray {
  std::string key;
  std::vector<T> Reference::*array;
};

/// `steps` steps beside the plain loop, over all awkward sizes at once, with a factor that changes; `states` in the order of `named_state`.
template <class T, class Method, class Reference>
void check_beside_reference(
    const typename Method::Options& options, int steps, const std::vector<StateArray<T, Reference>>& states, double tolerance) {
  const auto sizes = heed::reference::awkward_sizes();
  heed::reference::ParameterSet<T> model(sizes);
  std::vector<std::vector<T>> expected;
  std::vector<Reference> references(sizes.size());
  for (std::size_t k = 0; k < sizes.size(); ++k) expected.push_back(model.value(k));
  Method optimizer(model.named(), options);
  for (int step = 1; step <= steps; ++step) {
    const double factor = 1.0 / step;
    model.draw_gradients(step);
    optimizer.step(factor);
    for (std::size_t k = 0; k < sizes.size(); ++k)
      references[k].step(expected[k], model.gradient(k), options, options.learning_rate * factor, step);
  }
  double worst = 0;
  const auto compare = [&](const std::vector<T>& reference, const T* ours) {
    for (std::size_t i = 0; i < reference.size(); ++i)
      worst = std::max(worst, std::abs(static_cast<double>(ours[i] - reference[i])) / (0.1 + std::abs(static_cast<double>(reference[i]))));
  };
  const auto found = optimizer.named_state();
  REQUIRE(found.size() == states.size() * sizes.size());
  for (std::size_t k = 0; k < sizes.size(); ++k) {
    compare(expected[k], model.value(k).data());
    for (std::size_t s = 0; s < states.size(); ++s) {
      const auto& state = found[k * states.size() + s];
      CHECK(state.name == "p" + std::to_string(k) + "." + states[s].key);
      compare(references[k].*states[s].array, state.tensor->data());
    }
  }
  CHECK(worst < tolerance);
}

/// Three steps from fixed numbers; what torch makes of them stands in the tests.
template <class Method>
std::vector<double> three_steps(const typename Method::Options& options) {
  heed::Parameter<double> p({3});
  const double start[] = {1.0, -0.5, 0.25}, gradients[3][3] = {{0.5, -1.0, 0.0}, {0.25, 2.0, -0.5}, {-0.125, 0.5, 1.0}};
  std::copy_n(start, 3, p.value());
  Method optimizer({{"p", &p}}, options);
  for (const auto& gradient : gradients) {
    std::copy_n(gradient, 3, p.gradient());
    optimizer.step();
  }
  return {p.value(), p.value() + 3};
}

inline void check_close(const std::vector<double>& ours, const std::vector<double>& torch) {
  REQUIRE(ours.size() == torch.size());
  for (std::size_t i = 0; i < torch.size(); ++i) CHECK(ours[i] == Approx(torch[i]).epsilon(1e-14));
}

/// What the constructor says about options; empty if it takes them.
template <class Method>
std::string message_of(const typename Method::Options& options) {
  heed::Parameter<typename Method::scalar> p({1});
  try {
    Method optimizer({{"p", &p}}, options);
  } catch (const std::invalid_argument& error) {
    return error.what();
  }
  return "";
}
