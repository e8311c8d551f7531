// SPDX-License-Identifier: MIT
#include <filesystem>
#include <string>
#include <system_error>
#include <utility>

#include <fmt/core.h>
#include <nlohmann/json.hpp>

#include <heed/core/initialize.hpp>
#include <heed/data/batches.hpp>
#include <heed/io/model_file.hpp>
#include <heed/io/safetensors.hpp>
#include <heed/train/trainer.hpp>

#include "../program/threads.hpp"
#include "data_source.hpp"
#include "nets.hpp"
#include "recipe.hpp"
#include "whitening.hpp"

namespace cifar10 {

namespace {

/// A file in the folder that steps would replace or remove; empty if there is none.
std::string file_of_steps(const std::string& folder) {
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(folder, ignored)) {
    const std::string name = entry.path().filename().string();
    const bool whole =
        name == "initial.safetensors" || name == "batches.safetensors" || name == "final.safetensors" || name == "losses.json";
    const bool of_step = (name.starts_with("weights.") || name.starts_with("gradients.")) && name.ends_with(".safetensors");
    if (whole || of_step) return name;
  }
  return "";
}

/// The gradients of all trained parameters under the parameters' names.
template <class T>
void save_gradients(const std::string& path, Net<T>& net) {
  heed::SafetensorsWriter writer;
  for (const auto& [name, parameter] : heed::named_parameters(net))
    if (!parameter->frozen()) writer.add(name, heed::TensorView<const T, 1>(parameter->gradient(), {parameter->size()}));
  writer.write(path);
}

/// Writes initial.safetensors, batches.safetensors and losses.json: what a twin needs to make the same steps, and what came out here. With
/// `each_step` also weights.<step>.safetensors and gradients.<step>.safetensors: the twin can make every step from equal weights.
template <class T>
void export_as(const ExportOptions& options, const DataSource& data) {
  namespace fs = std::filesystem;
  const fs::path folder = options.folder;
  const heed::Normalization normalization = normalization_of(data, data.images.train);
  TrainOptions recipe;
  recipe.net = options.net;
  recipe.optimizer = options.optimizer;
  recipe = options_of_run(recipe, options.net.net);
  heed::Batches<T> batches(data.images.train, {.batch_size = options.batch_size,
                                                  .shuffle = true,
                                                  .drop_last = true,
                                                  .seed = options.seed,
                                                  .augmentation = {.translate = recipe.translate, .flip = heed::Flip::alternating},
                                                  .normalization = normalization});
  std::error_code ignored;
  for (Index step = 0; fs::remove(folder / heed::text("weights.", step, ".safetensors"), ignored); ++step)
    fs::remove(folder / heed::text("gradients.", step, ".safetensors"), ignored);  // of steps that are replaced
  const heed::SeedScope seed(options.seed);
  Net<T> net = make_net<T>(options.net, "direct");  // rules are compared, not roundings
  set_whitening(net, first_images<T>(data.images.train, 5000, normalization));
  // Blocks that start at zero would hide what lies behind them in the first steps.
  for (const auto& [name, parameter] : heed::named_parameters(net))
    if (name == "attention.out.weight") heed::initialize(*parameter, heed::Initializer::normal, {.value = 0.02});
  heed::io::save((folder / "initial.safetensors").string(), net);

  const auto optimizer = make_optimizer<T>(recipe, heed::named_parameters(net));
  // The first steps of a whole run, warm-up and all.
  heed::Trainer trainer(net, heed::CrossEntropyLoss<T>({.label_smoothing = recipe.label_smoothing}), *optimizer,
      make_schedule(recipe.epochs * batches.size()), {.seed = options.seed});
  std::vector<heed::Tensor<T, 4>> images;
  std::vector<heed::Tensor<std::int64_t, 1>> labels;
  nlohmann::ordered_json losses = nlohmann::ordered_json::array(), factors = nlohmann::ordered_json::array(), rates;
  Index epoch = 0;
  batches.start_epoch(0);
  for (Index step = 0; step < options.steps; ++step) {
    const heed::Batch<T>* batch = batches.next();
    if (!batch) {
      batches.start_epoch(++epoch);
      batch = batches.next();
    }
    images.push_back(batch->images);
    heed::Tensor<std::int64_t, 1> copied({batch->size()});
    for (Index i = 0; i < batch->size(); ++i) copied[i] = batch->labels[static_cast<std::size_t>(i)];
    labels.push_back(std::move(copied));
    if (options.each_step) heed::io::save((folder / heed::text("weights.", step, ".safetensors")).string(), net);
    const heed::StepReport report = trainer.step(batch->images, batch->labels);
    if (options.each_step) save_gradients((folder / heed::text("gradients.", step, ".safetensors")).string(), net);
    losses.push_back(report.loss);
    factors.push_back(report.learning_rate_factor);
  }
  heed::SafetensorsWriter writer;
  for (std::size_t step = 0; step < images.size(); ++step) {
    writer.add(heed::text("images.", step), images[step]);
    writer.add(heed::text("labels.", step), labels[step]);
  }
  writer.write((folder / "batches.safetensors").string());
  heed::io::save((folder / "final.safetensors").string(), net);

  const Rates main = main_rates(recipe), attention = attention_rates(recipe);
  for (const auto& [name, parameter] : heed::named_parameters(net)) {
    const Rates own = rates_of(name, parameter->shape(), main, attention);
    rates[name] = {{"learning_rate", own.learning_rate}, {"weight_decay", own.weight_decay}, {"frozen", parameter->frozen()}};
  }
  const nlohmann::ordered_json record{{"net", options.net.net}, {"attention", options.net.attention},
      {"logit_scale", options.net.logit_scale}, {"precision", options.precision}, {"optimizer", options.optimizer},
      {"label_smoothing", recipe.label_smoothing}, {"learning_rate_factors", factors}, {"rates", rates}, {"losses", losses}};
  heed::write_file((folder / "losses.json").string(), record.dump(1) + '\n');
  fmt::print("{} steps of {} in {}: loss {:.6f} to {:.6f}; written to {}\n", options.steps, options.net.net, options.precision,
      losses.front().get<double>(), losses.back().get<double>(), options.folder);
}

}  // namespace

int export_steps(const ExportOptions& options) {
  if (!options.onnx.empty()) return export_onnx(options);
  const program::Threads threads(options.threads);
  std::error_code error;
  if (const std::string file = file_of_steps(options.folder); !options.overwrite && !file.empty())
    heed::fail<heed::FileError>(
        options.folder, ": the folder holds ", file, " already; choose another one, or replace what it holds with --overwrite");
  const DataSource data = find_data(options.data);
  std::filesystem::create_directories(options.folder, error);
  if (error) heed::fail<heed::FileError>(options.folder, ": cannot make the folder: ", error.message());
  if (options.precision == "double")
    export_as<double>(options, data);
  else
    export_as<float>(options, data);
  return 0;
}

}  // namespace cifar10
