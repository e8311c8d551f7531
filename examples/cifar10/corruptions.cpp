// SPDX-License-Identifier: MIT
#include <cmath>
#include <optional>
#include <string>
#include <vector>

#include <fmt/core.h>
#include <nlohmann/json.hpp>

#include <heed/io/atomic_file.hpp>
#include <heed/train/robustness.hpp>

#include "../program/interrupt.hpp"
#include "../program/json_text.hpp"
#include "../program/progress.hpp"
#include "data_source.hpp"
#include "stored_model.hpp"

namespace cifar10 {

namespace {

using Json = nlohmann::ordered_json;

/// Models of one kind, one of each seed, and how they stand it.
struct Side {
  std::string words;  ///< "demo with attention full (a/model.safetensors, b/model.safetensors)"
  std::vector<heed::Robustness> each;
  Json models = Json::array();

  double clean() const {
    return mean([](const heed::Robustness& r) { return r.clean_accuracy(); });
  }
  double accuracy(std::size_t k, int severity) const {
    return mean([&](const heed::Robustness& r) { return r.accuracy(k, severity); });
  }
  double accuracy(std::size_t k) const {
    return mean([&](const heed::Robustness& r) { return r.accuracy(k); });
  }

 private:
  template <class Figure>
  double mean(const Figure& figure) const {
    double sum = 0;
    for (const heed::Robustness& r : each) sum += figure(r);
    return sum / static_cast<double>(each.size());
  }
};

Json json_of(const std::string& path, const StoredModel& model, const heed::Robustness& robustness) {
  Json corruptions;
  for (std::size_t k = 0; k < robustness.corruptions().size(); ++k)
    for (int severity = 1; severity <= heed::kSeverities; ++severity)
      corruptions[std::string(heed::corruption_name(robustness.corruptions()[k]))].push_back(robustness.accuracy(k, severity));
  return {{"model", path}, {"kind", words_of(model.options)}, {"net", model.options.net}, {"attention", model.options.attention},
      {"weights_hash", heed::weights_hash(model.net)}, {"clean_accuracy", robustness.clean_accuracy()}, {"accuracy", corruptions}};
}

/// Reads and judges the models; nothing if the user ended it. Throws FileError for a model of other data or another kind than the first.
std::optional<Side> judge(
    const std::vector<std::string>& paths, const EvaluateOptions& options, const DataSource& data, const heed::ImageDataset& images) {
  const auto say = [terminal = program::is_terminal(stdout)](const std::string& words) {
    if (terminal) program::redraw(stdout, words);
  };
  Side side;
  std::optional<NetOptions> kind;
  for (const std::string& path : paths) {
    const StoredModel model = load(path, options.convolution);
    require_own_data(model, path, data);
    const std::string hash = heed::weights_hash(model.net);
    for (const Json& other : side.models)
      heed::require<heed::FileError>(other["weights_hash"] != hash, path, ": the model is that of ", other["model"].get<std::string>(),
          "; expected models that differ by their seeds");
    if (!kind) kind = model.options;
    heed::require<heed::FileError>(model.options == *kind, path, ": the model is ", words_of(model.options), ", the first is ",
        words_of(*kind), "; expected models that differ by their seeds");
    side.each.push_back(heed::measure_robustness(
        model.net, images, {.evaluation = {.views = options.views, .normalization = model.normalization}}, [&](std::size_t k) {
          say(fmt::format("{}: {} ({} of {})", path, heed::corruption_name(heed::all_corruptions()[k]), k + 1, heed::kCorruptions));
          return !program::InterruptScope::requested();
        }));
    say("");
    if (program::InterruptScope::requested()) return std::nullopt;
    side.models.push_back(json_of(path, model, side.each.back()));
    side.words += (side.words.empty() ? "" : ", ") + path;
  }
  side.words = fmt::format("{} ({})", words_of(*kind), side.words);
  return side;
}

/// "0.873 (0.851 to 0.894)", or a dash for what cannot be said.
std::string text(const heed::Estimate& e) {
  return std::isfinite(e.value) && std::isfinite(e.low) ? fmt::format("{:.3f} ({:.3f} to {:.3f})", e.value, e.low, e.high) : "–";
}
Json json(const heed::Estimate& e) { return {{"value", e.value}, {"low", e.low}, {"high", e.high}}; }  // NaN becomes null

void print_accuracies(const Side& side) {
  fmt::print("{}{}: {:.2f} % of the images as they are, and of the corrupted ones\n\n", side.words, side.each.size() > 1 ? ", mean" : "",
      100 * side.clean());
  fmt::print("{:<18} {:>8} {:>8} {:>8} {:>8} {:>8}   {:>8}\n", "severity", 1, 2, 3, 4, 5, "mean");
  const auto& kinds = side.each.front().corruptions();
  double sum = 0;
  for (std::size_t k = 0; k < kinds.size(); ++k) {
    fmt::print("{:<18}", heed::corruption_name(kinds[k]));
    for (int severity = 1; severity <= heed::kSeverities; ++severity) fmt::print(" {:6.2f} %", 100 * side.accuracy(k, severity));
    fmt::print("   {:6.2f} %\n", 100 * side.accuracy(k));
    sum += side.accuracy(k);
  }
  fmt::print("{:<18} {:>44}   {:6.2f} %\n\n", "all", "", 100 * sum / static_cast<double>(kinds.size()));
}

void print_comparison(const Side& side, const Side& baseline, const heed::RobustnessComparison& c) {
  const auto& kinds = side.each.front().corruptions();
  fmt::print("{} against {}: corruption errors, below 1 where the first is better, with 95 % intervals\n\n", side.words, baseline.words);
  fmt::print("{:<18} {:<28} {}\n", "", "CE", "relative CE (without clean errors)");
  for (std::size_t k = 0; k < kinds.size(); ++k)
    fmt::print("{:<18} {:<28} {}\n", heed::corruption_name(kinds[k]), text(c.ce[k]), text(c.relative_ce[k]));
  fmt::print("{:<18} {:<28} {}\n\n", "mean", text(c.mean_ce), text(c.mean_relative_ce));
}

}  // namespace

int evaluate_corruptions(const EvaluateOptions& options, const DataSource& data) {
  const Index all = data.images.test.size(), count = options.judged(all);
  heed::require(options.against.empty() || options.against.size() == options.models.size(), "--against names ", options.against.size(),
      " models, expected ", options.models.size(), ": for each model one of the same seed");
  const heed::ImageDataset images = data.images.test.first(count);
  const program::InterruptScope interrupt;

  const std::optional<Side> own = judge(options.models, options, data, images);
  if (!own) return program::kInterrupted;
  print_accuracies(*own);
  Json result = {{"dataset", data.name()}, {"images", count}, {"views", options.views}, {"models", own->models}};
  if (!options.against.empty()) {
    const std::optional<Side> baseline = judge(options.against, options, data, images);
    if (!baseline) return program::kInterrupted;
    print_accuracies(*baseline);
    const heed::RobustnessComparison c = heed::compare_robustness(own->each, baseline->each);
    print_comparison(*own, *baseline, c);
    for (const Json& model : baseline->models) result["models"].push_back(model);
    for (std::size_t k = 0; k < c.ce.size(); ++k) {
      const std::string name(heed::corruption_name(own->each.front().corruptions()[k]));
      result["ce"][name] = json(c.ce[k]), result["relative_ce"][name] = json(c.relative_ce[k]);
    }
    result["mean_ce"] = json(c.mean_ce), result["mean_relative_ce"] = json(c.mean_relative_ce);
  }
  fmt::print(
      "The first {} of {} test images of {}, seed 0. Not comparable with results on the published CIFAR-10-C files: random numbers and "
      "rounding differ.\n",
      count, all, data.name());
  if (!options.output.empty()) {
    heed::write_file(options.output, program::json_text(result, 2) + "\n");
    fmt::print("all figures: {}\n", options.output);
  }
  return 0;
}

}  // namespace cifar10
