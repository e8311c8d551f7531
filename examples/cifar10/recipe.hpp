// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <heed/core/isa.hpp>
#include <heed/optim/adam.hpp>
#include <heed/optim/schedule.hpp>
#include <heed/optim/sgd.hpp>

#include "options.hpp"
#include "run_log.hpp"

namespace cifar10 {

/// Learning rate and weight decay of one parameter.
struct Rates {
  double learning_rate, weight_decay;
  friend bool operator==(const Rates&, const Rates&) = default;
};

/// Those of the attention block: as given, or `factor` times the others' learning rate and a decay of at most 0.02.
inline Rates attention_rates(double factor, const Rates& main, double learning_rate = -1, double weight_decay = -1) {
  return {learning_rate >= 0 ? learning_rate : main.learning_rate * factor,
      weight_decay >= 0 ? weight_decay : std::min(main.weight_decay, 0.02)};
}

/// The three groups of the recipe (docs/cifar10.md), from the rates of convolutions and head:
/// - weights of convolutions and head: as given. The head's bias does not decay;
/// - biases of batch norms and of the whitening convolution: 10/3 of the learning rate (2e-2 at 6e-3), no decay;
/// - the attention block: its own; its matrices alone decay. (A table of relative positions is no matrix.)
inline Rates rates_of(std::string_view name, const heed::Shape& shape, const Rates& main, const Rates& attention) {
  const bool matrix = shape.rank() >= 2 && !name.ends_with("_table");
  if (name.starts_with("attention.")) return {attention.learning_rate, matrix ? attention.weight_decay : 0.0};
  if (name.starts_with("head.")) return {main.learning_rate, matrix ? main.weight_decay : 0.0};
  if (!matrix) return {main.learning_rate * 10 / 3, 0.0};
  return main;
}

/// The rates of convolutions and head: the options' numbers or the recipe's.
inline Rates main_rates(const TrainOptions& options) {
  const bool sgd = options.optimizer == "sgd", adamw = options.optimizer == "adamw";
  const double decay = adamw ? recipe_of(options.net.net).weight_decay : sgd ? 5e-4 : 0.0;
  return {options.learning_rate >= 0 ? options.learning_rate : sgd ? 0.1 : 6e-3, options.weight_decay >= 0 ? options.weight_decay : decay};
}

/// The rates of the attention block: the options' numbers or the recipe's.
inline Rates attention_rates(const TrainOptions& options) {
  const double factor = options.optimizer == "sgd" ? 1.0 / 3 : recipe_of(options.net.net).attention_factor;
  return attention_rates(factor, main_rates(options), options.attention_learning_rate, options.attention_weight_decay);
}

/// The options with the numbers of the net's recipe in place of "not given".
inline TrainOptions options_of_run(TrainOptions options, std::string_view net) {
  const Recipe recipe = recipe_of(net);
  if (options.epochs < 0) options.epochs = recipe.epochs;
  if (options.label_smoothing < 0) options.label_smoothing = recipe.label_smoothing;
  if (options.average < 0) options.average = recipe.average;
  if (options.translate < 0) options.translate = recipe.translate;
  if (options.shards == 0) options.shards = std::min(kShards, options.batch_size);
  options.net.net = net;
  return options;
}

/// Counts changes of what a run computes that no option tells. 2: batch norm's running statistics keep 0.9 of their old value a step (before: 0.6).
inline constexpr int kRecipeRevision = 2;

/// All that changes what a run computes but net, attention, seed and data, as its log says it.
inline Json recipe_words(const TrainOptions& options) {
  const Rates main = main_rates(options), attention = attention_rates(options);
  return {{"epochs", options.epochs}, {"batch_size", options.batch_size}, {"shards", options.shards}, {"optimizer", options.optimizer},
      {"learning_rate", main.learning_rate}, {"attention_learning_rate", attention.learning_rate},
      {"attention_weight_decay", attention.weight_decay}, {"weight_decay", main.weight_decay}, {"label_smoothing", options.label_smoothing},
      {"average", options.average}, {"translate", options.translate}, {"cutout", options.cutout}, {"convolution", options.convolution},
      {"validation", options.validation}, {"train_images", options.train_images}, {"attention_blocks", options.net.attention_blocks},
      {"attention_after", options.net.attention_after}, {"feed_forward", options.net.feed_forward},
      {"relative_bias", options.net.relative_bias}, {"logit_scale", options.net.logit_scale}, {"recipe_revision", kRecipeRevision}};
}

/// All that runs must have in common to be compared, as their logs say it: the recipe, the data, and how the machine rounds.
inline Json compared_words(const TrainOptions& options, std::string_view dataset, Index training_images, std::string_view images_hash) {
  Json words = recipe_words(options);
  words.update(
      {{"dataset", dataset}, {"training_images", training_images}, {"images_hash", images_hash}, {"isa", std::string(heed::isa_name())}});
  return words;
}
/// The same from the start of a log; null for what it does not say.
inline Json compared_words(const Json& start) {
  Json words = compared_words(TrainOptions(), "", 0, "");
  for (auto& [key, value] : words.items()) value = start.value(key, Json());
  return words;
}

/// The optimiser of a run over the parameters of its net.
template <class T>
std::unique_ptr<heed::Optimizer<T>> make_optimizer(const TrainOptions& options, const std::vector<heed::NamedParameter<T>>& parameters) {
  const Rates main = main_rates(options), attention = attention_rates(options);
  const auto rules = [&](auto result) {
    for (const auto& [name, parameter] : parameters) {
      const Rates own = rates_of(name, parameter->shape(), main, attention);
      if (own == main) continue;
      auto& rule = result.emplace_back();
      rule.pattern = name;
      rule.changes.learning_rate = own.learning_rate;
      rule.changes.weight_decay = own.weight_decay;
    }
    return result;
  };
  if (options.optimizer == "sgd")
    return std::make_unique<heed::Sgd<T>>(parameters,
        heed::SgdOptions{.learning_rate = main.learning_rate, .momentum = 0.9, .weight_decay = main.weight_decay, .nesterov = true},
        rules(std::vector<heed::ParameterRule<heed::SgdChanges>>()));
  const auto adam_rules = rules(std::vector<heed::ParameterRule<heed::AdamChanges>>());
  if (options.optimizer == "adamw")
    return std::make_unique<heed::AdamW<T>>(parameters,
        heed::AdamWOptions{
            .learning_rate = main.learning_rate, .beta1 = 0.9, .beta2 = 0.98, .eps = 1e-8, .weight_decay = main.weight_decay},
        adam_rules);
  return std::make_unique<heed::Adam<T>>(parameters,
      heed::AdamOptions{.learning_rate = main.learning_rate, .beta1 = 0.9, .beta2 = 0.98, .eps = 1e-8, .weight_decay = main.weight_decay},
      adam_rules);
}

/// Linear warm-up from 5 % over a fifth of the steps, then linear to 1 %.
inline heed::WarmupSchedule make_schedule(Index steps) {
  return {.steps = steps, .warmup_steps = steps / 5, .start_factor = 0.05, .end_factor = 0.01};
}

}  // namespace cifar10
