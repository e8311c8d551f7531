// SPDX-License-Identifier: MIT
#include <algorithm>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <fmt/core.h>

#include <heed/data/dataset_hash.hpp>
#include <heed/io/atomic_file.hpp>

#include "../program/ranks.hpp"
#include "arms.hpp"
#include "data_source.hpp"
#include "options.hpp"
#include "recipe.hpp"
#include "run_log.hpp"

namespace cifar10 {

namespace {

namespace fs = std::filesystem;

constexpr Index kCheckpointSteps = 200;

/// One run of a study: a net with something in the place of attention, from one seed.
struct Cell {
  std::string net, arm;
  std::uint64_t seed;

  std::string folder(const std::string& study) const { return (fs::path(study) / fmt::format("{}-{}-{}", net, arm, seed)).string(); }
};

/// The words in their order, each once.
std::vector<std::string> unique(const std::vector<std::string>& words) {
  std::vector<std::string> result;
  for (const std::string& word : words)
    if (std::find(result.begin(), result.end(), word) == result.end()) result.push_back(word);
  return result;
}

/// A study whose data are found, once for all runs, and whose nets and arms are named once.
struct Study : StudyOptions {
  std::string dataset, images_hash;
  Index images;  ///< that are trained on

  explicit Study(const StudyOptions& options) : StudyOptions(options) {
    const DataSource data = find_data(training.data);
    nets = unique(nets), arms = unique(arms);
    training.data = data.folder, dataset = data.name(), images = training.trained(data.images.train.size());
    images_hash = heed::dataset_hash(data.images.train.first(std::clamp(images, Index(0), data.images.train.size())));
  }
};

/// The result of a finished run. Throws FileError if what is there, finished or not, is of another recipe than the study's or of other data, or has no log.
std::optional<Json> result_of(const Cell& cell, const Study& study) {
  const std::string folder = cell.folder(study.output);
  const std::vector<Json> records = records_of(folder);
  if (records.empty()) {  // a killed run leaves no model before its log has a start
    std::error_code ignored;
    heed::require<heed::FileError>(!fs::exists(fs::path(folder) / "model.safetensors", ignored), folder,
        ": the folder holds a model without a log of its recipe; choose another --output, or remove it");
    return std::nullopt;
  }
  const Json expected = compared_words(options_of_run(study.training, cell.net), study.dataset, study.images, study.images_hash);
  if (const std::string key = first_difference(expected, records.front()); !key.empty())
    heed::fail<heed::FileError>(folder, ": the run that is there was made with ", key, " ", records.front().value(key, Json()).dump(),
        ", the study asks for ", expected.at(key).dump(), "; choose another --output",
        key == "isa"                                                           ? ", or set HEED_ISA as it was for that run"
        : key == "dataset" || key == "training_images" || key == "images_hash" ? ", or name the data of that run with --data"
                                                                               : "");
  if (records.back()["event"] != "result") return std::nullopt;
  return records.back();
}

/// Trains what is missing, or goes on with it; `result_of` has seen that what is there may be replaced. Returns the exit code of the run.
int make(const Cell& cell, const Study& study) {
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

/// The tables, in Markdown, of results in the order of the rows.
std::string tables(const std::vector<Json>& results) {
  std::string page =
      "Test accuracies in %, mean ± standard deviation over the seeds (n − 1). Of differences, in points: the mean of pairs of one seed, "
      "and the interval that holds it with 95 % (Student's t).\n";
  const std::vector<Arm> arms = arms_of(results);
  std::string net;
  for (const Arm& arm : arms) {
    if (std::exchange(net, arm.net) != arm.net)
      page += fmt::format(
          "\n## {}\n\n| attention | n | single view | mirrored | six views | full − this, single view | seconds "
          "|\n|---|---|---|---|---|---|---|\n",
          arm.net);
    page += fmt::format("| `{}` | {} ", arm.attention, arm.runs.size());
    for (const char* measure : kMeasures) page += fmt::format("| {} ", mean_and_deviation(arm.accuracy(measure)));
    std::vector<double> seconds;
    for (const auto& [seed, run] : arm.runs) seconds.push_back(run.at("train_seconds").get<double>());
    const Arm* full = attending(arms, arm);
    page += fmt::format("| {} | {:.0f} |\n", full ? mean_and_interval(full->above(arm, kMeasures[0])) : "", summarize(seconds).mean);
  }
  return page;
}

}  // namespace

int study(const StudyOptions& asked) {
  heed::require(!program::started_by_mpirun(), "study: the runs follow one another in one process; start it without mpirun");
  const Study options(asked);
  // Seed after seed: an unfinished study has as many of each arm.
  std::vector<Cell> cells;
  for (std::uint64_t seed = 0; seed < static_cast<std::uint64_t>(options.seeds); ++seed)
    for (const std::string& net : options.nets)
      for (const std::string& arm : options.arms) cells.push_back({net, arm, options.training.seed + seed});

  std::map<const Cell*, Json> found;
  std::vector<const Cell*> missing;
  for (const Cell& cell : cells) {
    if (std::optional<Json> result = result_of(cell, options))
      found[&cell] = std::move(*result);
    else
      missing.push_back(&cell);
  }
  // Net by net and arm by arm, whatever was made first.
  const auto ordered = [&] {
    std::vector<Json> results;
    for (const std::string& net : options.nets)
      for (const std::string& arm : options.arms)
        for (const auto& [cell, result] : found)
          if (cell->net == net && cell->arm == arm) results.push_back(result);
    return results;
  };
  fmt::print("{} of {} runs are there\n\n", cells.size() - missing.size(), cells.size());
  std::error_code error;
  fs::create_directories(options.output, error);
  heed::require<heed::FileError>(!error, options.output, ": cannot make the folder: ", error.message());
  const std::string page = (fs::path(options.output) / "study.md").string();
  for (std::size_t i = 0; i < missing.size(); ++i) {
    const Cell& cell = *missing[i];
    fmt::print("--- {} with attention {}, seed {} ({} of {})\n\n", cell.net, cell.arm, cell.seed, i + 1, missing.size());
    if (const int code = make(cell, options); code != 0) return code;
    found[&cell] = *result_of(cell, options);
    heed::write_file(page, tables(ordered()));
    fmt::print("\n");
  }
  heed::write_file(page, tables(ordered()));
  fmt::print("{}\nThe tables: {}\n", tables(ordered()), page);
  return 0;
}

}  // namespace cifar10
