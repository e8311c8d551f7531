// SPDX-License-Identifier: MIT
#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include <fmt/core.h>

#include <heed/io/atomic_file.hpp>

#include "../program/ranks.hpp"
#include "options.hpp"
#include "recipe.hpp"
#include "run_log.hpp"
#include "statistics.hpp"

namespace cifar10 {

namespace {

namespace fs = std::filesystem;

constexpr const char* kMeasures[] = {"test_accuracy", "test_accuracy_flip", "test_accuracy_6view"};
constexpr Index kCheckpointSteps = 200;

/// One run of a study: a net with something in the place of attention, from one seed.
struct Cell {
  std::string net, arm;
  std::uint64_t seed;

  std::string folder(const std::string& study) const { return (fs::path(study) / fmt::format("{}-{}-{}", net, arm, seed)).string(); }
};

/// The result of a finished run. Throws FileError if that run was of another recipe than the study's.
std::optional<Json> result_of(const Cell& cell, const StudyOptions& study) {
  const std::string folder = cell.folder(study.output);
  const std::vector<Json> records = records_of(folder);
  if (records.empty() || records.back()["event"] != "result") return std::nullopt;
  const Json expected = recipe_words(options_of_run(study.training, cell.net));
  for (const auto& [key, value] : expected.items())
    heed::require<heed::FileError>(records.front().value(key, Json()) == value, folder, ": the run that is there was made with ", key, " ",
        records.front().value(key, Json()).dump(), ", the study asks for ", value.dump(), "; choose another --output");
  return records.back();
}

/// Trains what is missing, or goes on with it. Returns the exit code of the run.
int make(const Cell& cell, const StudyOptions& study) {
  TrainOptions options = study.training;
  options.net.net = cell.net, options.net.attention = cell.arm;
  options.seed = cell.seed;
  options.output = cell.folder(study.output);
  options.checkpoint_every = kCheckpointSteps;
  std::error_code ignored;
  options.resume = fs::exists(fs::path(options.output) / "checkpoint.safetensors", ignored);
  options.overwrite = !options.resume;  // what a killed run left before its first checkpoint
  return train(options);
}

using Results = std::map<std::string, std::map<std::string, std::map<std::uint64_t, Json>>>;  // net, arm, seed

/// Of each seed in `of`, in their order: the figure, or its distance to that of `than`, in points of percent; seeds that both have.
std::vector<double> figures(
    const std::map<std::uint64_t, Json>& of, const char* measure, const std::map<std::uint64_t, Json>* than = nullptr) {
  std::vector<double> result;
  for (const auto& [seed, record] : of) {
    if (!than)
      result.push_back(100 * record[measure].get<double>());
    else if (const auto other = than->find(seed); other != than->end())
      result.push_back(100 * (record[measure].get<double>() - other->second[measure].get<double>()));
  }
  return result;
}

std::string text(const Summary& s) {
  return s.count == 0 ? "–" : s.count == 1 ? fmt::format("{:.2f}", s.mean) : fmt::format("{:.2f} ± {:.2f}", s.mean, s.deviation);
}
std::string difference(const Summary& s) {
  return s.count == 0   ? "–"
         : s.count == 1 ? fmt::format("{:+.2f}", s.mean)
                        : fmt::format("{:+.2f} [{:+.2f}, {:+.2f}]", s.mean, s.mean - s.margin(), s.mean + s.margin());
}

/// The tables, in Markdown.
std::string tables(const Results& results, const StudyOptions& study) {
  std::string page =
      "Test accuracies in %, mean ± standard deviation over the seeds (n − 1). Of differences, in points: the mean of pairs of one seed, "
      "and the "
      "interval that holds it with 95 % (Student's t).\n";
  for (const std::string& net : study.nets) {
    const auto found = results.find(net);
    if (found == results.end()) continue;
    page += fmt::format(
        "\n## {}\n\n| attention | n | single view | mirrored | six views | full − this, single view | seconds "
        "|\n|---|---|---|---|---|---|---|\n",
        net);
    const auto full = found->second.find("full");
    for (const std::string& arm : study.arms) {
      const auto runs = found->second.find(arm);
      if (runs == found->second.end()) continue;
      page += fmt::format("| `{}` | {} ", arm, runs->second.size());
      for (const char* measure : kMeasures) page += fmt::format("| {} ", text(summarize(figures(runs->second, measure))));
      std::vector<double> seconds;
      for (const auto& [seed, record] : runs->second) seconds.push_back(record["train_seconds"].get<double>());
      page += fmt::format("| {} | {:.0f} |\n",
          arm == "full" || full == found->second.end() ? "" : difference(summarize(figures(full->second, kMeasures[0], &runs->second))),
          summarize(seconds).mean);
    }
  }
  return page;
}

}  // namespace

int study(const StudyOptions& options) {
  heed::require(!program::started_by_mpirun(), "study: the runs follow one another in one process; start it without mpirun");
  // Seed after seed: an unfinished study has as many of each arm.
  std::vector<Cell> cells;
  for (std::uint64_t seed = 0; seed < static_cast<std::uint64_t>(options.seeds); ++seed)
    for (const std::string& net : options.nets)
      for (const std::string& arm : options.arms) cells.push_back({net, arm, options.training.seed + seed});

  Results results;
  std::vector<Cell> missing;
  for (const Cell& cell : cells) {
    if (std::optional<Json> result = result_of(cell, options))
      results[cell.net][cell.arm][cell.seed] = std::move(*result);
    else
      missing.push_back(cell);
  }
  fmt::print("{} of {} runs are there\n\n", cells.size() - missing.size(), cells.size());
  std::error_code error;
  fs::create_directories(options.output, error);
  heed::require<heed::FileError>(!error, options.output, ": cannot make the folder: ", error.message());
  const std::string page = (fs::path(options.output) / "study.md").string();
  for (const Cell& cell : missing) {
    fmt::print(
        "--- {} with attention {}, seed {} ({} of {})\n\n", cell.net, cell.arm, cell.seed, &cell - missing.data() + 1, missing.size());
    if (const int code = make(cell, options); code != 0) return code;
    results[cell.net][cell.arm][cell.seed] = *result_of(cell, options);
    heed::write_file(page, tables(results, options));
    fmt::print("\n");
  }
  heed::write_file(page, tables(results, options));
  fmt::print("{}\nThe tables: {}\n", tables(results, options), page);
  return 0;
}

}  // namespace cifar10
