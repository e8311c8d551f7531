// SPDX-License-Identifier: MIT
#include <cmath>
#include <string>
#include <vector>

#include <heed/optim/adam.hpp>
#include <heed/optim/sgd.hpp>

#include "catch.hpp"
#include "reference/parameter_set.hpp"

using namespace heed;
using heed::reference::ParameterSet;

namespace {

template <class Method>
std::vector<std::string> state_names(Method& optimizer) {
  std::vector<std::string> names;
  for (const auto& state : optimizer.named_state()) names.push_back(state.name);
  return names;
}

/// A method of one's own: adds gradients to the value and to a state, through the loop that all methods share.
class Adder final : public ParameterOptimizer<float> {
 public:
  explicit Adder(const std::vector<NamedParameter<float>>& parameters) : ParameterOptimizer<float>(parameters, Adam<float>::Rules{}) {}
  std::string_view kind() const override { return "Adder"; }

  /// The loop alone, on arrays of the caller.
  static void add(float* value, const float* gradient, float* sum, Index count) {
    run(Rule{}, {.group = 0, .step = 1, .learning_rate_factor = 1, .value = value, .gradient = gradient, .state = {sum}, .count = count});
  }

 protected:
  struct Rule {
    static constexpr int kStates = 1;
    template <class P>
    HEED_INLINE void operator()(P& value, const P& gradient, P* state) const {
      value = value + gradient;
      state[0] = state[0] + gradient + gradient;
    }
  };
  std::span<const std::string_view> state_keys(std::size_t) const override {
    static constexpr std::string_view keys[] = {"sum"};
    return keys;
  }
  void update(const Piece& piece) const override { run(Rule{}, piece); }
};

std::string message_of(const std::vector<NamedParameter<float>>& parameters, const Adam<float>::Rules& rules) {
  try {
    Adam<float> optimizer(parameters, {}, rules);
  } catch (const std::invalid_argument& error) {
    return error.what();
  }
  return "";
}

}  // namespace

TEST_CASE("frozen parameters and those without a gradient stand still, with their state and step count") {
  ParameterSet<double> model({20, 30, 40});
  model.draw_gradients(0);
  ParameterSet<double> bare;
  NamedParameter<double> without_gradient{"bare", &bare.add("bare", 5)};
  auto parameters = model.named();
  parameters.push_back(without_gradient);
  const auto before1 = model.value(1), before_bare = bare.value(0);
  model[1].freeze();

  Adam<double> optimizer(parameters, {.learning_rate = 0.1});
  optimizer.step();
  CHECK(model.value(1) == before1);
  CHECK(bare.value(0) == before_bare);
  CHECK_FALSE(bare[0].has_gradient());
  CHECK(optimizer.named_step_counts().size() == 3);  // the frozen one shows no state
  CHECK(*optimizer.named_step_counts()[0].count == 1);
  CHECK(*optimizer.named_step_counts()[2].count == 0);

  // Thawed, it makes its first step with the first step's bias correction: |m / sqrt(v)| = 1, so every element moves by the rate.
  model[1].freeze(false);
  optimizer.step();
  const auto after = model.value(1);
  for (std::size_t i = 0; i < after.size(); ++i) CHECK(std::abs(after[i] - before1[i]) == Approx(0.1).epsilon(1e-5));
  CHECK(optimizer.named_step_counts()[1].name == "p1.step");
  CHECK(*optimizer.named_step_counts()[0].count == 2);
  CHECK(*optimizer.named_step_counts()[1].count == 1);
}

TEST_CASE("a step leaves gradients alone; zero_gradients clears them all, frozen ones too") {
  ParameterSet<float> model(reference::awkward_sizes());
  ParameterSet<float> bare({4});
  auto parameters = model.named();
  parameters.push_back({"bare", &bare[0]});
  model.draw_gradients(3);
  const auto gradient = model.gradient(17);
  Sgd<float> optimizer(parameters);
  optimizer.step();
  CHECK(model.gradient(17) == gradient);
  model[2].freeze();
  optimizer.zero_gradients();
  for (std::size_t k = 0; k < model.parameters.size(); ++k) CHECK(model.gradient(k) == std::vector<float>(model.gradient(k).size(), 0.0f));
  CHECK_FALSE(bare[0].has_gradient());
}

TEST_CASE("groups: every parameter follows the first rule that matches its name") {
  ParameterSet<double> model;
  for (const char* name : {"conv.weight", "conv.bias", "attention.weight", "attention.bias"}) model.add(name, 10);
  model.draw_gradients(1);
  Sgd<double> optimizer(model.named(), {.learning_rate = 0.5, .weight_decay = 0.25},
      {{"*.bias", {.learning_rate = 2.0, .weight_decay = 0.0}}, {"attention.*", {.learning_rate = 0.125}}});
  const double rate[] = {0.5, 2.0, 0.125, 2.0}, decay[] = {0.25, 0, 0.25, 0};
  std::vector<std::vector<double>> expected;
  for (std::size_t k = 0; k < 4; ++k) {
    expected.push_back(model.value(k));
    for (std::size_t i = 0; i < 10; ++i) expected[k][i] -= 0.5 * rate[k] * (model.gradient(k)[i] + decay[k] * expected[k][i]);
  }
  optimizer.step(0.5);  // the factor of a schedule acts on every group
  for (std::size_t k = 0; k < 4; ++k)
    for (std::size_t i = 0; i < 10; ++i) CHECK(model.value(k)[i] == Approx(expected[k][i]).epsilon(1e-14));
  CHECK(optimizer.options_of("attention.weight").learning_rate == 0.125);
  CHECK(optimizer.options_of("attention.weight").weight_decay == 0.25);
  CHECK(optimizer.options_of("conv.weight").learning_rate == 0.5);
  CHECK_THROWS_AS(optimizer.options_of("conv"), std::invalid_argument);
}

TEST_CASE("state has torch's names, and what is restored goes on with the same bits") {
  ParameterSet<float> model({17, 5}), twin({17, 5});
  const AdamWOptions options{.learning_rate = 0.1};
  const AdamW<float>::Rules rules = {{"p1", {.amsgrad = true}}};
  AdamW<float> optimizer(model.named(), options, rules);
  for (int step = 0; step < 3; ++step) {
    model.draw_gradients(step);
    optimizer.step();
  }
  CHECK(state_names(optimizer) ==
        std::vector<std::string>{"p0.exp_avg", "p0.exp_avg_sq", "p1.exp_avg", "p1.exp_avg_sq", "p1.max_exp_avg_sq"});
  CHECK(optimizer.kind() == "AdamW");

  AdamW<float> other(twin.named(), options, rules);
  for (std::size_t k = 0; k < 2; ++k) std::copy_n(std::as_const(model[k]).value(), model[k].size(), twin[k].value());
  const auto from = optimizer.named_state(), to = other.named_state();
  for (std::size_t s = 0; s < from.size(); ++s) {
    REQUIRE(to[s].tensor->shape() == from[s].tensor->shape());
    *to[s].tensor = *from[s].tensor;
  }
  const auto from_count = optimizer.named_step_counts(), to_count = other.named_step_counts();
  for (std::size_t s = 0; s < from_count.size(); ++s) *to_count[s].count = *from_count[s].count;
  for (int step = 3; step < 5; ++step) {
    model.draw_gradients(step);
    twin.draw_gradients(step);
    optimizer.step();
    other.step();
  }
  CHECK(twin.value(0) == model.value(0));
  CHECK(twin.value(1) == model.value(1));
}

TEST_CASE("tied parameters are stepped once") {
  ParameterSet<double> model({10});
  auto parameters = model.named();
  parameters.push_back({"tied", parameters[0].parameter});
  model.draw_gradients(0);
  const auto before = model.value(0), gradient = model.gradient(0);
  Sgd<double> optimizer(parameters, {.learning_rate = 1});
  optimizer.step();
  for (std::size_t i = 0; i < 10; ++i) CHECK(model.value(0)[i] == Approx(before[i] - gradient[i]));
  // A rule for the second name would change nothing.
  CHECK_THROWS_WITH((Sgd<double>(parameters, {}, {{"tied", {.momentum = 0.9}}})), contains("\"tied\" matches none of the 1 parameters"));
}

TEST_CASE("a method of one's own is a rule and the names of its state") {
  ParameterSet<float> model({5, 40000});
  model.draw_gradients(0);
  const auto before = model.value(1), gradient = model.gradient(1);
  Adder optimizer(model.named());
  optimizer.step();
  optimizer.step();
  CHECK(state_names(optimizer) == std::vector<std::string>{"p0.sum", "p1.sum"});
  const Tensor<float, 1>& sum = *optimizer.named_state()[1].tensor;
  const auto after = model.value(1);
  bool equal = true;
  for (std::size_t i = 0; i < 40000; ++i)
    equal = equal && after[i] == before[i] + gradient[i] + gradient[i] && sum[static_cast<Index>(i)] == 4 * gradient[i];
  CHECK(equal);
}

TEST_CASE("a pass leaves alone what lies behind the end") {
  const std::vector<float> gradient(60, 2.0f);
  for (Index count = 1; count < 40; ++count) {
    std::vector<float> value(60, 1.0f), sum(60, 0.0f);
    Adder::add(value.data(), gradient.data(), sum.data(), count);
    for (Index i = 0; i < 60; ++i) {
      CHECK(value[static_cast<std::size_t>(i)] == (i < count ? 3.0f : 1.0f));
      CHECK(sum[static_cast<std::size_t>(i)] == (i < count ? 4.0f : 0.0f));
    }
  }
}

TEST_CASE("mistakes get a sentence") {
  ParameterSet<float> model({3});
  CHECK(message_of({}, {}) == "Optimizer: there are no parameters");
  CHECK(message_of(model.named(), {{"q*", {}}}).find("\"q*\" matches none of the 1 parameters") != std::string::npos);
}

TEST_CASE("a factor that is no learning rate is refused before anything moves") {
  ParameterSet<double> model({3});
  model.draw_gradients(0);
  const auto before = model.value(0);
  AdamW<double> optimizer(model.named());
  CHECK_THROWS_WITH(
      optimizer.step(std::nan("")), contains("AdamW: the learning rate's factor of a step must be finite and not negative, is nan"));
  CHECK_THROWS_AS(optimizer.step(-1), std::invalid_argument);
  CHECK_THROWS_AS(optimizer.step(HUGE_VAL), std::invalid_argument);
  CHECK(model.value(0) == before);
  CHECK(*optimizer.named_step_counts()[0].count == 0);
  optimizer.step(0);
  CHECK(model.value(0) == before);
}

TEST_CASE("one thread and two give the same bits, and later steps allocate nothing") {
  std::vector<Index> sizes = reference::awkward_sizes();
  ParameterSet<float> one(sizes), two(sizes);
  AdamW<float> first(one.named()), second(two.named());
  std::uint64_t acquired = 0;
  for (int step = 0; step < 3; ++step) {
    one.draw_gradients(step);
    two.draw_gradients(step);
    if (step == 1) acquired = BufferPool::instance().acquired();
    {
      ThreadScope threads(1);
      first.step();
      first.zero_gradients();
    }
    ThreadScope threads(2);
    second.step();
    second.zero_gradients();
  }
  CHECK(BufferPool::instance().acquired() == acquired);
  for (std::size_t k = 0; k < sizes.size(); ++k) CHECK(one.value(k) == two.value(k));
}

TEST_CASE("a parameter that was replaced by one of another size is refused before anything moves") {
  Parameter<float> first({4}), second({4});
  Adam<float> optimizer({{"first", &first}, {"second", &second}});
  for (Parameter<float>* p : {&first, &second}) p->gradient()[0] = 1;
  optimizer.step();
  second = Parameter<float>({400});
  second.gradient()[0] = 1;
  const float before = first.value()[0];
  CHECK_THROWS_WITH(optimizer.step(), contains("Adam: second had 4 elements and is 400 now"));
  CHECK(first.value()[0] == before);
  CHECK(*optimizer.named_step_counts()[0].count == 1);
}

TEST_CASE("an optimiser names its parameters, frozen ones too, each once") {
  Parameter<float> first({4}), second({2});
  second.freeze();
  Adam<float> optimizer({{"first", &first}, {"tied", &first}, {"second", &second}});
  const auto own = optimizer.named_parameters();
  REQUIRE(own.size() == 2);
  CHECK(own[0].name == "first");
  CHECK(own[1].parameter == &second);
}
