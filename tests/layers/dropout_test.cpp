// SPDX-License-Identifier: MIT
#include <algorithm>
#include <optional>
#include <thread>

#include "catch.hpp"
#include "reference/layer_rules.hpp"

#include <heed/layers/dropout.hpp>
#include <heed/testing/check_gradients.hpp>

using namespace heed;
using reference::random_tensor;
using reference::same_bits;

TEST_CASE("dropout is certified: backward draws the mask of forward") {
  for (double p : {0.0, 0.2, 0.5, 1.0})
    for (const Shape& shape : {Shape{1, 1}, Shape{3, 7}, Shape{2, 3, 17}}) {
      const auto report = check_gradients(Dropout<double>({.p = p}), shape);
      INFO(report.to_string());
      CHECK(report.passed());
    }
}

TEST_CASE("inference is the identity") {
  const auto x = random_tensor<float, 2>({9, 9}, 1);
  CHECK(same_bits(Dropout<float>({.p = 0.7}).forward(x), x));
  reference::check_layer_rules<4>(Dropout<float>({.p = 0.7}), {3, 30, 30, 9});
}

TEST_CASE("the mask is a function of seed, step and path") {
  const auto x = random_tensor<float, 2>({20, 50}, 1, 1, 2);
  const Dropout<float> layer({.p = 0.5});
  const auto pass = [&](std::uint64_t seed, std::uint64_t step, const char* path) {
    StepScope scope(seed, step);
    LayerScope name(path);
    Dropout<float>::Cache cache;
    return layer.forward(x, cache);
  };
  const auto first = pass(1, 2, "a");
  CHECK(same_bits(pass(1, 2, "a"), first));
  CHECK(!same_bits(pass(2, 2, "a"), first));
  CHECK(!same_bits(pass(1, 3, "a"), first));
  CHECK(!same_bits(pass(1, 2, "b"), first));
}

TEST_CASE("without a step each training pass of each cache draws anew, and backward keeps to the last") {
  const auto x = random_tensor<float, 2>({20, 50}, 1, 1, 2);
  Dropout<float> layer({.p = 0.5});
  Dropout<float>::Cache cache, other;
  const auto first = layer.forward(x, cache), second = layer.forward(x, cache);
  CHECK(!same_bits(first, second));
  const auto third = layer.forward(x, other);  // a cache declared inside the training loop
  CHECK(!same_bits(third, first));
  CHECK(!same_bits(third, second));
  const auto dx = layer.backward(x, cache);
  CHECK(same_bits(dx, second));
}

TEST_CASE("without a step the caches of a thread count from the innermost SeedScope") {
  const auto x = random_tensor<float, 2>({20, 50}, 1, 1, 2);
  const Dropout<float> layer({.p = 0.5});
  const auto pass = [&] {
    Dropout<float>::Cache cache;
    return layer.forward(x, cache);
  };
  const auto run = [&](std::uint64_t seed) {
    SeedScope scope(seed);
    auto first = pass();
    CHECK(!same_bits(pass(), first));
    return first;
  };
  const auto draws = context().init_draws;
  CHECK(same_bits(run(3), run(3)));
  CHECK(!same_bits(run(3), run(4)));
  CHECK(context().init_draws == draws);  // initial weights do not depend on it
}

TEST_CASE("the parts of an accumulated gradient draw differently, and the step can be repeated with any cache") {
  const auto x = random_tensor<float, 2>({20, 50}, 1, 1, 2);
  const Dropout<float> layer({.p = 0.5});
  Dropout<float>::Cache cache, fresh;
  const auto step = [&](std::uint64_t number, Dropout<float>::Cache& used) {
    StepScope scope(1, number);
    std::vector<Tensor<float, 2>> parts;
    for (int part = 0; part < 3; ++part) parts.push_back(layer.forward(x, used));
    return parts;
  };
  layer.forward(x, cache);  // what came before does not matter
  const auto parts = step(5, cache);
  CHECK(!same_bits(parts[0], parts[1]));
  CHECK(!same_bits(parts[1], parts[2]));
  CHECK(!same_bits(parts[0], parts[2]));
  CHECK(!same_bits(step(6, cache)[0], parts[0]));
  const auto again = step(5, cache), with_fresh = step(5, fresh);
  for (std::size_t i = 0; i < parts.size(); ++i) {
    CHECK(same_bits(again[i], parts[i]));
    CHECK(same_bits(with_fresh[i], parts[i]));
  }
  {
    StepScope outer(1, 5);
    Dropout<float>::Cache mine;
    layer.forward(x, mine);
    step(5, fresh);  // a scope inside of another one
    CHECK(same_bits(layer.forward(x, mine), parts[1]));
  }
}

TEST_CASE("a step that another thread repeats with the same cache draws the same") {
  const auto x = random_tensor<float, 2>({20, 50}, 1, 1, 2);
  const Dropout<float> layer({.p = 0.5});
  Dropout<float>::Cache cache;
  const auto elsewhere = [&] {
    Tensor<float, 2> y;
    std::thread([&] {
      const StepScope scope(1, 5);
      y = layer.forward(x, cache);
    }).join();
    return y;
  };
  const auto first = elsewhere();
  CHECK(same_bits(elsewhere(), first));
}

TEST_CASE("dropout's backward refuses a cache that no forward has filled") {
  Dropout<float> layer;
  Dropout<float>::Cache cache;
  const Tensor<float, 2> dy({1, 1});
  CHECK_THROWS_WITH(layer.backward(dy, cache), contains("Dropout: backward follows one forward"));
}

TEST_CASE("dropout refuses a p that is no probability") {
  CHECK_THROWS_WITH(Dropout<float>({.p = 1.5}), contains("p is 1.5"));
  CHECK_THROWS(Dropout<float>({.p = -0.1}));
  CHECK_THROWS(Dropout<float>({.p = std::nan("")}));
}

TEST_CASE("dropout: the default is torch's") { CHECK(DropoutOptions{}.p == 0.5); }

TEST_CASE("a pass under an EvaluationScope draws nothing: training goes on as if it had not been") {
  auto x = random_tensor<double, 2>({8, 8}, 1);
  const Dropout<double> dropout;
  const auto masks = [&](bool evaluates, bool in_step) {
    SeedScope seed(7);
    Dropout<double>::Cache first, second, looks;
    Tensor<double, 3> result({3, 8, 8});
    const auto pass = [&](Index i, Dropout<double>::Cache& cache) {
      const auto y = dropout.forward(x.view(), cache);
      std::copy_n(y.data(), y.size(), result.data() + i * y.size());
    };
    const auto look = [&](Dropout<double>::Cache& cache) {
      if (!evaluates) return;
      EvaluationScope scope;
      CHECK(same_bits(dropout.forward(x.view(), cache), x));
    };
    std::optional<StepScope> step;
    if (in_step) step.emplace(3, 4);
    pass(0, first), look(looks), look(first), pass(1, first), pass(2, second);
    return result;
  };
  for (const bool in_step : {false, true}) CHECK(same_bits(masks(true, in_step), masks(false, in_step)));
}
