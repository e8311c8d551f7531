// SPDX-License-Identifier: MIT
#include <cmath>
#include <limits>
#include <vector>

#include <heed/optim/adam.hpp>

#include "beside_reference.hpp"
#include "catch.hpp"
#include "reference/optimizer_reference.hpp"
#include "reference/parameter_set.hpp"

using namespace heed;
using heed::reference::AdamReference;
using heed::reference::ParameterSet;

namespace {

template <class T, bool decoupled>
void agrees(const BasicAdamOptions<decoupled>& options, double tolerance) {
  using Reference = AdamReference<T>;
  std::vector<StateArray<T, Reference>> states = {{"exp_avg", &Reference::exp_avg}, {"exp_avg_sq", &Reference::exp_avg_sq}};
  if (options.amsgrad) states.push_back({"max_exp_avg_sq", &Reference::max_exp_avg_sq});
  check_beside_reference<T, BasicAdam<T, decoupled>, Reference>(options, 5, states, tolerance);
}

template <bool decoupled>
void agrees_everywhere() {
  for (bool amsgrad : {false, true})
    for (bool maximize : {false, true})
      for (double weight_decay : {0.0, 0.3}) {
        const BasicAdamOptions<decoupled> options{.learning_rate = 0.05,
            .beta1 = 0.8,
            .beta2 = 0.7,
            .eps = 1e-3,
            .weight_decay = weight_decay,
            .amsgrad = amsgrad,
            .maximize = maximize};
        INFO("decoupled " << decoupled << ", amsgrad " << amsgrad << ", maximize " << maximize << ", weight decay " << weight_decay);
        agrees<double>(options, 1e-12);
        agrees<float>(options, 2e-6);  // some tens of roundings in five steps
      }
}

}  // namespace

TEST_CASE("Adam agrees with the plain loop") { agrees_everywhere<false>(); }

TEST_CASE("AdamW agrees with the plain loop") { agrees_everywhere<true>(); }

TEST_CASE("Adam and AdamW agree with numbers printed by torch 2") {
  check_close(three_steps<Adam<double>>({.learning_rate = 0.1, .beta1 = 0.8, .beta2 = 0.9, .eps = 1e-3, .weight_decay = 0.1}),
      {0.7403889185490817, -0.4817733616859917, 0.1878627223511535});
  check_close(three_steps<Adam<double>>({.learning_rate = 0.1, .beta1 = 0.8, .beta2 = 0.5, .amsgrad = true, .maximize = true}),
      {1.231284601125935, -0.524195638717345, 0.2126279423825852});
  check_close(three_steps<AdamW<double>>({.learning_rate = 0.1, .beta1 = 0.8, .beta2 = 0.9, .eps = 1e-3, .weight_decay = 0.1}),
      {0.7300989974903997, -0.4739057016656795, 0.2816584427764434});
  check_close(three_steps<AdamW<double>>({.learning_rate = 0.1}), {0.7477120214856359, -0.4768402622923028, 0.292161399859536});
}

TEST_CASE("the defaults are torch's") {
  const AdamOptions adam;
  CHECK(adam.learning_rate == 1e-3);
  CHECK(adam.beta1 == 0.9);
  CHECK(adam.beta2 == 0.999);
  CHECK(adam.eps == 1e-8);
  CHECK(adam.weight_decay == 0);
  CHECK(AdamWOptions{}.weight_decay == 0.01);
}

TEST_CASE("rules change any option of Adam") {
  ParameterSet<float> model({2, 2});
  Adam<float> optimizer(model.named(), {},
      {{"p1", {.learning_rate = 1, .beta1 = 0.5, .beta2 = 0.25, .eps = 2, .weight_decay = 3, .amsgrad = true, .maximize = true}}});
  const AdamOptions o = optimizer.options_of("p1");
  CHECK(o.learning_rate == 1);
  CHECK(o.beta1 == 0.5);
  CHECK(o.beta2 == 0.25);
  CHECK(o.eps == 2);
  CHECK(o.weight_decay == 3);
  CHECK(o.amsgrad);
  CHECK(o.maximize);
  CHECK_FALSE(optimizer.options_of("p0").amsgrad);
  CHECK(optimizer.named_state().size() == 2 + 3);
}

TEST_CASE("zero gradients move nothing and make no NaN") {
  ParameterSet<float> model({37});
  model.draw_gradients(0, 0.0);
  const auto before = model.value(0);
  Adam<float> optimizer(model.named());
  for (int step = 0; step < 3; ++step) optimizer.step();
  CHECK(model.value(0) == before);
}

TEST_CASE("huge gradients, whose squares overflow in float, make no NaN") {
  for (bool amsgrad : {false, true}) {
    ParameterSet<float> model({37});
    const auto before = model.value(0);
    Adam<float> optimizer(model.named(), {.amsgrad = amsgrad});
    for (int step = 0; step < 3; ++step) {
      model.draw_gradients(step, 1e30);
      optimizer.step();
    }
    CHECK(model.value(0) == before);  // as in torch: the mean square is infinite, so the step is 0
    model.draw_gradients(3);
    optimizer.step();
    for (float value : model.value(0)) CHECK(std::isfinite(value));
  }
}

TEST_CASE("a NaN in one gradient spoils one element") {
  ParameterSet<double> model({37});
  model.draw_gradients(0);
  model[0].gradient()[20] = std::numeric_limits<double>::quiet_NaN();
  Adam<double> optimizer(model.named(), {.amsgrad = true});
  optimizer.step();
  for (std::size_t i = 0; i < 37; ++i) CHECK(std::isnan(model.value(0)[i]) == (i == 20));
}

TEST_CASE("options of Adam out of range get a sentence") {
  CHECK(message_of<Adam<float>>({.learning_rate = -1}) == "Adam: learning_rate must be finite and not negative, is -1");
  CHECK(message_of<Adam<float>>({.beta1 = 1}) == "Adam: beta1 must lie in [0, 1), is 1");
  CHECK(message_of<Adam<float>>({.beta1 = -0.5}) == "Adam: beta1 must lie in [0, 1), is -0.5");
  CHECK(message_of<Adam<float>>({.beta2 = 1}) == "Adam: beta2 must lie in [0, 1), is 1");
  CHECK(message_of<Adam<float>>({.beta2 = -0.5}) == "Adam: beta2 must lie in [0, 1), is -0.5");
  CHECK(message_of<Adam<float>>({.eps = -1}) == "Adam: eps must not be negative, is -1");
  CHECK(message_of<Adam<float>>({.weight_decay = -1}) == "Adam: weight_decay must be finite and not negative, is -1");
  CHECK(message_of<Adam<float>>({.learning_rate = 0, .beta1 = 0, .beta2 = 0, .eps = 0}) == "");

  CHECK(message_of<Adam<float>>({.learning_rate = std::numeric_limits<double>::infinity()}) ==
        "Adam: learning_rate must be finite and not negative, is inf");
}
