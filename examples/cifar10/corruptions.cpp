// SPDX-License-Identifier: MIT
#include <cmath>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include <fmt/core.h>
#include <nlohmann/json.hpp>

#include <heed/io/atomic_file.hpp>
#include <heed/train/robustness.hpp>

#include "../program/interrupt.hpp"
#include "../program/progress.hpp"
#include "data_source.hpp"
#include "stored_model.hpp"

namespace cifar10 {

namespace {

using Json = nlohmann::ordered_json;

/// A model's robustness with all that tells which model it was.
struct Judged {
  std::string path;
  const StoredModel& model;
  heed::Robustness robustness;

  std::string words() const { return fmt::format("{} with attention {} ({})", model.options.net, model.options.attention, path); }
  Json json() const {
    Json corruptions;
    for (std::size_t k = 0; k < robustness.corruptions().size(); ++k)
      for (int severity = 1; severity <= heed::kSeverities; ++severity)
        corruptions[std::string(heed::corruption_name(robustness.corruptions()[k]))].push_back(robustness.accuracy(k, severity));
    return {{"model", path}, {"net", model.options.net}, {"attention", model.options.attention},
        {"weights_hash", heed::weights_hash(model.net)}, {"clean_accuracy", robustness.clean_accuracy()}, {"accuracy", corruptions}};
  }
};

/// Empty if the user ended it.
std::optional<Judged> judge(const std::string& path, const StoredModel& model, const heed::ImageDataset& images, int views) {
  const auto say = [&, terminal = program::is_terminal(stdout)](const std::string& words) {
    if (terminal) fmt::print("\r{:<60}\r{}", "", words), std::fflush(stdout);
  };
  heed::Robustness found = heed::measure_robustness(
      model.net, images, {.evaluation = {.views = views, .normalization = model.normalization}}, [&](std::size_t k) {
        say(fmt::format("{}: {} ({} of {})", path, heed::corruption_name(heed::all_corruptions()[k]), k + 1, heed::kCorruptions));
        return !program::InterruptScope::requested();
      });
  say("");
  if (program::InterruptScope::requested()) return std::nullopt;
  return Judged{path, model, std::move(found)};
}

/// "0.873 (0.851 to 0.894)", or a dash for what cannot be said.
std::string text(const heed::Estimate& e) {
  return std::isfinite(e.value) && std::isfinite(e.low) ? fmt::format("{:.3f} ({:.3f} to {:.3f})", e.value, e.low, e.high) : "–";
}
Json json(const heed::Estimate& e) { return {{"value", e.value}, {"low", e.low}, {"high", e.high}}; }  // NaN becomes null

void print_accuracies(const Judged& judged) {
  const heed::Robustness& r = judged.robustness;
  fmt::print("{}: {:.2f} % of the images as they are, and of the corrupted ones\n\n", judged.words(), 100 * r.clean_accuracy());
  fmt::print("{:<18} {:>8} {:>8} {:>8} {:>8} {:>8}   {:>8}\n", "severity", 1, 2, 3, 4, 5, "mean");
  double sum = 0;
  for (std::size_t k = 0; k < r.corruptions().size(); ++k) {
    fmt::print("{:<18}", heed::corruption_name(r.corruptions()[k]));
    for (int severity = 1; severity <= heed::kSeverities; ++severity) fmt::print(" {:6.2f} %", 100 * r.accuracy(k, severity));
    fmt::print("   {:6.2f} %\n", 100 * r.accuracy(k));
    sum += r.accuracy(k);
  }
  fmt::print("{:<18} {:>44}   {:6.2f} %\n\n", "all", "", 100 * sum / static_cast<double>(r.corruptions().size()));
}

void print_comparison(const Judged& model, const Judged& baseline, const heed::RobustnessComparison& c) {
  const auto& kinds = model.robustness.corruptions();
  fmt::print(
      "{} against {}: corruption errors, below 1 where the first is better, with 95 % intervals\n\n", model.words(), baseline.words());
  fmt::print("{:<18} {:<28} {}\n", "", "CE", "relative CE (without clean errors)");
  for (std::size_t k = 0; k < kinds.size(); ++k)
    fmt::print("{:<18} {:<28} {}\n", heed::corruption_name(kinds[k]), text(c.ce[k]), text(c.relative_ce[k]));
  fmt::print("{:<18} {:<28} {}\n\n", "mean", text(c.mean_ce), text(c.mean_relative_ce));
}

}  // namespace

int evaluate_corruptions(const EvaluateOptions& options, const StoredModel& model, const DataSource& data) {
  const Index all = data.images.test.size(), count = std::min(options.images, all);
  std::error_code ignored;
  for (const std::string* read : {&options.model, &options.against})
    heed::require<heed::FileError>(options.output.empty() || !std::filesystem::equivalent(options.output, *read, ignored), *read,
        ": --output names a file that is read; choose another one");
  std::optional<StoredModel> other;
  if (!options.against.empty()) {
    other.emplace(load(options.against, options.convolution));
    require_own_data(*other, options.against, data);
  }
  const heed::ImageDataset images = data.images.test.first(count);
  const program::InterruptScope interrupt;

  const std::optional<Judged> own = judge(options.model, model, images, options.views);
  if (!own) return program::kInterrupted;
  print_accuracies(*own);
  Json result = {{"dataset", data.name()}, {"images", count}, {"views", options.views}, {"models", {own->json()}}};
  if (other) {
    const std::optional<Judged> baseline = judge(options.against, *other, images, options.views);
    if (!baseline) return program::kInterrupted;
    print_accuracies(*baseline);
    const heed::RobustnessComparison c = heed::compare_robustness({&own->robustness, 1}, {&baseline->robustness, 1});
    print_comparison(*own, *baseline, c);
    result["models"].push_back(baseline->json());
    for (std::size_t k = 0; k < c.ce.size(); ++k) {
      const std::string name(heed::corruption_name(own->robustness.corruptions()[k]));
      result["ce"][name] = json(c.ce[k]), result["relative_ce"][name] = json(c.relative_ce[k]);
    }
    result["mean_ce"] = json(c.mean_ce), result["mean_relative_ce"] = json(c.mean_relative_ce);
  }
  fmt::print(
      "The first {} of {} test images of {}, seed 0. Not comparable with results on the published CIFAR-10-C files: random numbers and "
      "rounding differ.\n",
      count, all, data.name());
  if (!options.output.empty()) {
    heed::write_file(options.output, result.dump(2) + "\n");
    fmt::print("all figures: {}\n", options.output);
  }
  return 0;
}

}  // namespace cifar10
