// SPDX-License-Identifier: MIT
#include <vector>

#include <heed/optim/sgd.hpp>

#include "beside_reference.hpp"
#include "catch.hpp"
#include "reference/optimizer_reference.hpp"
#include "reference/parameter_set.hpp"

using namespace heed;
using heed::reference::ParameterSet;
using heed::reference::SgdReference;

namespace {

template <class T>
void agrees(const SgdOptions& options, double tolerance) {
  using Reference = SgdReference<T>;
  std::vector<StateArray<T, Reference>> states;
  if (options.momentum != 0) states.push_back({"momentum_buffer", &Reference::momentum_buffer});
  check_beside_reference<T, Sgd<T>, Reference>(options, 4, states, tolerance);
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
  check_close(three_steps<Sgd<double>>({.learning_rate = 0.1}), {0.9375, -0.65, 0.2});
  check_close(three_steps<Sgd<double>>({.learning_rate = 0.1, .momentum = 0.9, .dampening = 0.3, .weight_decay = 0.1}),
      {0.7943645599999999, -0.5081323549999999, 0.2344836275});
  check_close(three_steps<Sgd<double>>({.learning_rate = 0.1, .momentum = 0.9, .weight_decay = 0.1, .nesterov = true, .maximize = true}),
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
  CHECK(message_of<Sgd<float>>({.learning_rate = -1}) == "SGD: learning_rate must be finite and not negative, is -1");
  CHECK(message_of<Sgd<float>>({.momentum = -1}) == "SGD: momentum must not be negative, is -1");
  CHECK(message_of<Sgd<float>>({.dampening = 1.5}) == "SGD: dampening must lie in [0, 1], is 1.5");
  CHECK(message_of<Sgd<float>>({.dampening = -0.1}).find("dampening must lie") != std::string::npos);
  CHECK(message_of<Sgd<float>>({.weight_decay = -1}) == "SGD: weight_decay must be finite and not negative, is -1");
  CHECK(message_of<Sgd<float>>({.nesterov = true}) == "SGD: nesterov needs momentum and no dampening, they are 0 and 0");
  CHECK(message_of<Sgd<float>>({.momentum = 0.9, .dampening = 0.1, .nesterov = true}) ==
        "SGD: nesterov needs momentum and no dampening, they are 0.9 and 0.1");
  CHECK(message_of<Sgd<float>>({.momentum = 0.9, .nesterov = true}) == "");
}
