// SPDX-License-Identifier: MIT
#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include <heed/core/buffer_pool.hpp>
#include <heed/optim/muon.hpp>

#include "catch.hpp"
#include "reference/orthogonalize_reference.hpp"

using namespace heed;

namespace {

/// Weights of the given shapes: "w0", "w1", ... Values and gradients are written out in the tests' torch program in the same words.
template <class T>
struct Weights {
  std::vector<std::unique_ptr<Parameter<T>>> parameters;

  explicit Weights(const std::vector<Shape>& shapes) {
    for (const Shape& shape : shapes) {
      parameters.push_back(std::make_unique<Parameter<T>>(shape));
      for (Index i = 0; i < shape.size(); ++i) parameters.back()->value()[i] = static_cast<T>(static_cast<double>(i * 7 % 5 - 2) / 4);
    }
  }
  void draw_gradients(Index step) {
    for (auto& p : parameters)
      for (Index i = 0; i < p->size(); ++i) p->gradient()[i] = static_cast<T>(static_cast<double>((i * i * 3 + step * 5 + i) % 11 - 5) / 8);
  }
  std::vector<NamedParameter<T>> named() const {
    std::vector<NamedParameter<T>> list;
    for (std::size_t k = 0; k < parameters.size(); ++k) list.push_back({"w" + std::to_string(k), parameters[k].get()});
    return list;
  }
  std::vector<T> value(std::size_t k) const {
    const T* v = std::as_const(*parameters[k]).value();
    return {v, v + parameters[k]->size()};
  }
};

template <class T>
std::vector<T> three_steps(const Shape& shape, const MuonOptions& options) {
  Weights<T> weights({shape});
  Muon<T> optimizer(weights.named(), options);
  for (Index step = 0; step < 3; ++step) {
    weights.draw_gradients(step);
    optimizer.step();
  }
  return weights.value(0);
}

std::string message_of(const Shape& shape, const MuonOptions& options) {
  Weights<float> weights({shape});
  try {
    Muon<float> optimizer(weights.named(), options);
  } catch (const std::invalid_argument& error) {
    return error.what();
  }
  return "";
}

}  // namespace

TEST_CASE("Muon agrees with torch.optim.Muon, whose iteration was made to run in double") {
  const MuonOptions plain{.learning_rate = 0.1};
  const MuonOptions rms{
      .learning_rate = 0.1, .weight_decay = 0.5, .momentum = 0.6, .nesterov = false, .ns_steps = 3, .adjust_lr = AdjustLr::match_rms_adamw};
  const MuonOptions spectral{
      .learning_rate = 0.1, .ns_coefficients = {2.0, -1.5, 0.5}, .ns_steps = 7, .adjust_lr = AdjustLr::spectral_unclamped};
  const struct {
    Shape shape;
    const MuonOptions& options;
    std::vector<double> expected;
  } cases[] = {
      {{2, 3}, plain,
          {-0.4285236953058, -0.025787585681920928, 0.5270813751619896, -0.24417473226007275, 0.1370949556257404, -0.4303771350290702}},
      {{2, 3}, rms,
          {-0.4172940336148983, -0.00978154404719137, 0.44190284712538663, -0.20751850961467125, 0.19372855409289302, -0.4139801128125499}},
      {{2, 3}, spectral,
          {-0.4374706807507796, -0.02012346443266392, 0.5365176963746235, -0.25707213326685857, 0.17113903729229704, -0.44442533309858795}},
      {{3, 2}, plain,
          {-0.47690069828364096, -0.0626551581621607, 0.46690385998015205, -0.3761884109883705, 0.21589979122942174, -0.3907398994316074}},
      {{3, 2}, rms,
          {-0.4203859994269703, -0.021048283892839408, 0.4234666443705452, -0.2556197925347058, 0.19990156439534176, -0.40171523255358227}},
      {{3, 2}, spectral,
          {-0.4802946421666665, -0.09868932031930064, 0.45333689782847875, -0.4079632528802691, 0.20768571876804012, -0.37378567356897174}},
      {{1, 4}, plain, {-0.44426699691507476, -0.028450129096648246, 0.5190159584630516, -0.28461770908003653}},
      {{1, 4}, rms, {-0.41488464292682053, -0.01466042768261923, 0.44123644478865154, -0.2296532662032875}},
      {{1, 4}, spectral, {-0.45579828966045716, -0.020425503829064055, 0.5094636067889001, -0.2727590988568087}},
      {{3, 3}, plain,
          {-0.43928146157555314, -0.0327126987147519, 0.510107305652575, -0.3014772368562669, 0.182289202394507, -0.48736907419840486,
              -0.050095352691798316, 0.5694321627677353, -0.16502169945270717}},
      {{3, 3}, rms,
          {-0.42253742857567195, -0.009733001367833541, 0.4388145199302841, -0.2281855250159163, 0.1913240683069348, -0.4355766487653144,
              -0.013624872789093915, 0.4491217980177277, -0.18910931375486342}},
      {{3, 3}, spectral,
          {-0.4448136090942978, -0.03529662002580315, 0.5210666306419846, -0.30189105758680085, 0.174273983394629, -0.47244384615642726,
              -0.050907583100235014, 0.5540319267175589, -0.15230865617383052}},
  };
  for (const auto& c : cases) {
    INFO(c.shape.to_string() << ", adjust_lr " << static_cast<int>(c.options.adjust_lr));
    const auto found = three_steps<double>(c.shape, c.options);
    const auto in_float = three_steps<float>(c.shape, c.options);
    REQUIRE(found.size() == c.expected.size());
    for (std::size_t i = 0; i < found.size(); ++i) {
      CHECK(found[i] == Approx(c.expected[i]).margin(1e-13));
      CHECK(static_cast<double>(in_float[i]) == Approx(c.expected[i]).margin(1e-5));
    }
  }
}

TEST_CASE("Muon agrees with plain loops; a schedule's factor acts on the step and the decay") {
  const Index rows = 33, cols = 17;
  const MuonOptions o{.learning_rate = 0.1};
  Weights<double> weights({Shape{rows, cols}});
  Muon<double> optimizer(weights.named(), o);
  std::vector<double> value = weights.value(0), buffer(value.size());
  for (Index step = 0; step < 3; ++step) {
    const double rate = 0.1 / static_cast<double>(step + 1);
    weights.draw_gradients(step);
    optimizer.step(1.0 / static_cast<double>(step + 1));
    const double* g = std::as_const(*weights.parameters[0]).gradient();
    std::vector<double> direction(value.size());
    for (std::size_t i = 0; i < value.size(); ++i) {
      buffer[i] = 0.95 * buffer[i] + 0.05 * g[i];
      direction[i] = 0.95 * buffer[i] + 0.05 * g[i];
    }
    direction = reference::orthogonalize(direction, rows, cols, o.ns_coefficients, o.ns_steps, o.eps);
    for (std::size_t i = 0; i < value.size(); ++i) value[i] = value[i] * (1 - rate * 0.1) - rate * std::sqrt(33.0 / 17.0) * direction[i];
  }
  for (std::size_t i = 0; i < value.size(); ++i) CHECK(weights.value(0)[i] == Approx(value[i]).margin(1e-12));
  REQUIRE(optimizer.named_state().size() == 1);
  CHECK(optimizer.named_state()[0].name == "w0.momentum_buffer");
  CHECK((*optimizer.named_state()[0].tensor)[5] == Approx(buffer[5]).epsilon(1e-13));
  CHECK(optimizer.kind() == "Muon");
}

TEST_CASE("convolutions are read as (out, rest)") {
  CHECK(three_steps<double>({4, 3, 2, 5}, {.learning_rate = 0.1}) == three_steps<double>({4, 30}, {.learning_rate = 0.1}));
  CHECK(three_steps<double>({30, 1, 2, 2}, {.learning_rate = 0.1}) == three_steps<double>({30, 4}, {.learning_rate = 0.1}));
}

TEST_CASE("rules change any option of Muon") {
  Weights<float> weights({{2, 2}, {2, 2}});
  Muon<float> optimizer(weights.named(), {},
      {{"w1", {.learning_rate = 1.0,
                  .weight_decay = 2.0,
                  .momentum = 0.5,
                  .nesterov = false,
                  .ns_coefficients = std::array<double, 3>{1, 2, 3},
                  .eps = 0.25,
                  .ns_steps = 4,
                  .adjust_lr = AdjustLr::match_rms_adamw}}});
  const MuonOptions o = optimizer.options_of("w1");
  CHECK(o.learning_rate == 1);
  CHECK(o.weight_decay == 2);
  CHECK(o.momentum == 0.5);
  CHECK_FALSE(o.nesterov);
  CHECK(o.ns_coefficients[2] == 3);
  CHECK(o.eps == 0.25);
  CHECK(o.ns_steps == 4);
  CHECK(o.adjust_lr == AdjustLr::match_rms_adamw);
  CHECK(optimizer.options_of("w0").momentum == 0.95);
}

TEST_CASE("frozen weights stand still, tied ones are stepped once, and state goes on with the same bits") {
  Weights<float> weights({{3, 4}, {4, 3}}), twin({{3, 4}, {4, 3}});
  auto list = weights.named();
  list.push_back({"tied", list[0].parameter});
  weights.parameters[1]->freeze();
  twin.parameters[1]->freeze();
  const auto frozen = weights.value(1);
  Muon<float> optimizer(list, {.learning_rate = 0.1}), other(twin.named(), {.learning_rate = 0.1});
  for (Index step = 0; step < 2; ++step) {
    weights.draw_gradients(step);
    optimizer.step();
  }
  CHECK(weights.value(1) == frozen);
  REQUIRE(optimizer.named_step_counts().size() == 1);
  CHECK(*optimizer.named_step_counts()[0].count == 2);
  std::copy_n(std::as_const(*weights.parameters[0]).value(), 12, twin.parameters[0]->value());
  *other.named_state()[0].tensor = *optimizer.named_state()[0].tensor;
  *other.named_step_counts()[0].count = 2;
  weights.draw_gradients(2);
  twin.draw_gradients(2);
  optimizer.step();
  other.step();
  CHECK(weights.value(0) == twin.value(0));
}

TEST_CASE("one thread and two give the same bits, and later steps take nothing from the system") {
  const std::vector<Shape> shapes = {{64, 3, 3, 3}, {150, 90}, {10, 64}, {1, 1}};
  Weights<float> one(shapes), two(shapes);
  Muon<float> first(one.named()), second(two.named());
  std::uint64_t from_system = 0;
  for (Index step = 0; step < 3; ++step) {
    one.draw_gradients(step);
    two.draw_gradients(step);
    if (step == 2) from_system = BufferPool::instance().from_system();
    {
      const ThreadScope threads(1);
      first.step();
    }
    const ThreadScope threads(2);
    second.step();
  }
  CHECK(BufferPool::instance().from_system() == from_system);
  for (std::size_t k = 0; k < shapes.size(); ++k) CHECK(one.value(k) == two.value(k));
}

TEST_CASE("vectors belong to another optimiser, frozen or fixed ones may stay") {
  CHECK(message_of({10}, {}) ==
        "Muon: w0 is a vector (10), the rule is for matrices and convolutions; give vectors to a second optimiser, AdamW for example");
  Weights<float> weights({{10}, {2, 3}});
  weights.parameters[0]->freeze();
  weights.draw_gradients(0);
  Muon<float> optimizer(weights.named());
  optimizer.step();
  weights.parameters[0]->freeze(false);
  const auto before = weights.value(1);
  CHECK_THROWS_WITH(optimizer.step(),
      "Muon: w0 is a vector (10), the rule is for matrices and convolutions; give vectors to a second optimiser, AdamW for example");
  CHECK(weights.value(1) == before);  // nothing has moved
  for (const auto& [name, count] : optimizer.named_step_counts()) CHECK(*count == (name == "w1.step" ? 1 : 0));
}

TEST_CASE("options of Muon out of range get a sentence") {
  const Shape square{2, 2};
  CHECK(message_of(square, {.learning_rate = -1}) == "Muon: learning_rate must be finite and not negative, is -1");
  CHECK(message_of(square, {.weight_decay = -1}) == "Muon: weight_decay must be finite and not negative, is -1");
  CHECK(message_of(square, {.momentum = 0}).empty());
  CHECK(message_of(square, {.momentum = 1}) == "Muon: momentum must lie in [0, 1), is 1");
  CHECK(message_of(square, {.momentum = -0.5}) == "Muon: momentum must lie in [0, 1), is -0.5");
  CHECK(message_of(square, {.eps = 0}) == "Muon: eps must be positive, is 0");
  CHECK(message_of(square, {.ns_steps = -1}) == "Muon: ns_steps must not be negative, is -1");
  CHECK(message_of(square, {}) == "");
}
