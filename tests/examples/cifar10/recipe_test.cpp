// SPDX-License-Identifier: MIT
#include "cifar10/recipe.hpp"

#include "catch.hpp"

using namespace heed;
using cifar10::attention_rates, cifar10::main_rates, cifar10::Rates, cifar10::TrainOptions;

TEST_CASE("the recipe's three groups") {
  const Rates main{6e-3, 0.5};
  const auto rates_of = [](std::string_view name, const Shape& shape, const Rates& all, double learning_rate = -1, double decay = -1) {
    return cifar10::rates_of(name, shape, all, attention_rates(1.0 / 3, all, learning_rate, decay));
  };
  CHECK(rates_of("block1.conv1.weight", {24, 24, 3, 3}, main) == main);
  CHECK(rates_of("head.weight", {10, 96}, main) == main);
  CHECK(rates_of("head.bias", {10}, main) == Rates{6e-3, 0});
  for (const char* name : {"block1.norm1.bias", "whiten.bias"}) {
    CHECK(rates_of(name, {24}, main).learning_rate == Approx(2e-2));
    CHECK(rates_of(name, {24}, main).weight_decay == 0);
  }
  CHECK(rates_of("attention.qkv.weight", {192, 64}, main).learning_rate == Approx(2e-3));
  CHECK(rates_of("attention.qkv.weight", {192, 64}, main).weight_decay == 0.02);
  CHECK(rates_of("attention.qkv.weight", {192, 64}, {6e-3, 0.01}).weight_decay == 0.01);
  CHECK(rates_of("attention.norm.weight", {64}, main).weight_decay == 0);
  CHECK(rates_of("attention.relative.relative_position_bias_table", {169, 4}, main).weight_decay == 0);
  CHECK(rates_of("attention.1.feed_forward.branch.linear1.weight", {128, 64}, main, 5e-3) == Rates{5e-3, 0.02});
  CHECK(rates_of("attention.qkv.weight", {192, 64}, main, -1, 0.3) == Rates{6e-3 / 3, 0.3});
  CHECK(rates_of("attention.norm.weight", {64}, main, -1, 0.3).weight_decay == 0);
  CHECK(rates_of("block1.conv1.weight", {24, 24, 3, 3}, main, 5e-3) == main);
}

TEST_CASE("options beat the recipe, the recipe depends on net and optimiser") {
  TrainOptions options;
  CHECK(main_rates(options) == Rates{6e-3, 0.02});
  options.net.net = "large";
  CHECK(main_rates(options) == Rates{6e-3, 0.5});
  options.optimizer = "sgd";
  CHECK(main_rates(options) == Rates{0.1, 5e-4});
  options.optimizer = "adam";
  CHECK(main_rates(options) == Rates{6e-3, 0});
  options.learning_rate = 0;  // a number like others
  options.weight_decay = 0.3;
  CHECK(main_rates(options) == Rates{0, 0.3});
}

TEST_CASE("an average that is not asked for is the recipe's, and 0 is asked for") {
  TrainOptions options;
  CHECK(cifar10::options_of_run(options, "small").average == 0.99);
  CHECK(cifar10::options_of_run(options, "large").average == 0);
  options.average = 0;
  CHECK(cifar10::options_of_run(options, "small").average == 0);
  CHECK(cifar10::recipe_words(cifar10::options_of_run(options, "demo"))["translate"] == 2);
  CHECK(cifar10::options_of_run(options, "large").translate == 4);
  options.translate = 0;
  CHECK(cifar10::options_of_run(options, "large").translate == 0);
}

TEST_CASE("the attention block of `article` learns faster than the rest, those of the other nets more slowly") {
  TrainOptions options;
  CHECK(attention_rates(options).learning_rate == Approx(2e-3));
  options.net.net = "article";
  CHECK(attention_rates(options).learning_rate == Approx(1.2e-2));
  options.learning_rate = 1e-3;
  CHECK(attention_rates(options).learning_rate == Approx(2e-3));
  options.attention_learning_rate = 0;
  CHECK(attention_rates(options).learning_rate == 0);
  options = TrainOptions{};
  options.optimizer = "sgd";
  options.net.net = "article";
  CHECK(attention_rates(options).learning_rate == Approx(0.1 / 3));
}

TEST_CASE("the optimiser steps each parameter at the rates of its group") {
  Parameter<float> conv({8, 8, 3, 3}), bias({8}), qkv({12, 4});
  const std::vector<NamedParameter<float>> parameters{
      {"block1.conv1.weight", &conv}, {"block1.norm1.bias", &bias}, {"attention.qkv.weight", &qkv}};
  TrainOptions options;
  options.weight_decay = 0.5;
  const auto optimizer = cifar10::make_optimizer<float>(options, parameters);
  REQUIRE(optimizer->kind() == "AdamW");
  const auto& adamw = dynamic_cast<const AdamW<float>&>(*optimizer);
  CHECK(adamw.options_of("block1.conv1.weight").learning_rate == 6e-3);
  CHECK(adamw.options_of("block1.conv1.weight").weight_decay == 0.5);
  CHECK(adamw.options_of("block1.norm1.bias").learning_rate == Approx(2e-2));
  CHECK(adamw.options_of("block1.norm1.bias").weight_decay == 0);
  CHECK(adamw.options_of("attention.qkv.weight").weight_decay == 0.02);
  CHECK(adamw.options_of("attention.qkv.weight").beta2 == 0.98);
  options.attention_learning_rate = 0;
  const auto still = cifar10::make_optimizer<float>(options, parameters);
  CHECK(dynamic_cast<const AdamW<float>&>(*still).options_of("attention.qkv.weight").learning_rate == 0);
  options.optimizer = "sgd";
  CHECK(cifar10::make_optimizer<float>(options, parameters)->kind() == "SGD");
  options.optimizer = "adam";
  CHECK(cifar10::make_optimizer<float>(options, parameters)->kind() == "Adam");
}

TEST_CASE("the learning rate warms up over a fifth of the steps and ends at a hundredth") {
  const WarmupSchedule schedule = cifar10::make_schedule(585);
  CHECK(schedule(0) == Approx(0.05));
  CHECK(schedule(117) == Approx(1));
  CHECK(schedule(351) == Approx(0.505));
  CHECK(schedule(585) == Approx(0.01));
}
