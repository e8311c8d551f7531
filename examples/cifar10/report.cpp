// SPDX-License-Identifier: MIT
#include <algorithm>
#include <cmath>
#include <filesystem>
#include <set>
#include <string>
#include <vector>

#include <fmt/core.h>

#include <heed/train/attention_map.hpp>
#include <heed/train/calibration.hpp>
#include <heed/train/evaluate.hpp>

#include "../program/json_text.hpp"
#include "../program/output_file.hpp"
#include "../program/picture_file.hpp"
#include "../program/threads.hpp"
#include "arms.hpp"
#include "data_source.hpp"
#include "recipe.hpp"
#include "report_page.hpp"
#include "robustness_file.hpp"
#include "stored_model.hpp"

namespace cifar10 {

namespace {

namespace fs = std::filesystem;

constexpr std::size_t kMistakes = 24, kPerClass = 2;  // pictures of a run, at most
// Which all runs share. With the page itself, and what a run has beside pictures, it stays below 3 MB.
constexpr std::size_t kPageBytes = 3000000, kPictureBytes = 2850000, kRunBytes = 6000, kEpochBytes = 350;
constexpr Index kEntropyImages = 500, kEntropyBatch = 50;  // weights of 225 tokens and 8 heads are 1.6 MB an image

std::string base64(std::string_view bytes) {
  constexpr std::string_view kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string result;
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    unsigned word = 0;
    for (std::size_t k = 0; k < 3; ++k) word = word << 8 | (i + k < bytes.size() ? static_cast<unsigned char>(bytes[i + k]) : 0u);
    for (std::size_t k = 0; k < 4; ++k) result += i + k <= bytes.size() ? kDigits[word >> (18 - 6 * k) & 63] : '=';
  }
  return result;
}

std::string png_of(const heed::ImageDataset& images, Index image) {
  program::Picture picture(images.image_shape()[0], images.image_shape()[1]);
  std::copy_n(images.image(image), images.image_shape().size(), picture.pixel(0, 0));
  return base64(png_bytes(picture));
}

/// What the net says of one test image.
struct Answer {
  Index image;
  int label, named;
  double confidence;

  Json json(const heed::ImageDataset& images) const {
    return {{"image", png_of(images, image)}, {"label", label}, {"predicted", named}, {"confidence", confidence}};
  }
};

/// How many bytes a run's pictures may still have. A list ends with the first picture that does not fit.
class Room {
 public:
  explicit Room(std::size_t bytes) : left_(bytes) {}
  /// Appends `entry` if its texts fit; false: they do not.
  bool add(Json& list, Json entry) {
    const std::size_t bytes = entry.dump().size();
    if (bytes > left_) return false;
    left_ -= bytes;
    list.push_back(std::move(entry));
    return true;
  }

 private:
  std::size_t left_;
};

/// Pictures with the attention of every head of the first attention block from every token: weights in 255ths of the largest of their row, and these largest in 65535ths (two bytes
/// each, the low one first). As many of the answers as there is room for.
Json gallery(StoredModel& model, const heed::ImageDataset& images, const std::vector<Answer>& answers, Room& room) {
  Json result = Json::array();
  if (model.options.attention != "full") return result;
  for (const Answer& answer : answers) {
    const heed::ImageDataset one = images.range(answer.image, answer.image + 1);
    heed::Batches<float> batches(one, {.prefetch = false, .normalization = model.normalization});
    const heed::Tensor<float, 4> weights = std::move(heed::capture_attention(model.net, batches.next()->images).front().weights);
    const Index keys = weights.size(3);
    std::string maps, peaks;
    for (Index row = 0; row < weights.size(); row += keys) {
      const float largest = *std::max_element(weights.data() + row, weights.data() + row + keys);
      for (Index k = row; k < row + keys; ++k)
        maps += static_cast<char>(static_cast<unsigned char>(std::lround(255 * weights[k] / largest)));
      const auto peak = static_cast<unsigned>(std::lround(65535 * largest));
      for (const unsigned byte : {peak & 255u, peak >> 8}) peaks += static_cast<char>(static_cast<unsigned char>(byte));
    }
    Json entry = answer.json(images);
    entry["heads"] = weights.size(1), entry["maps"] = base64(maps), entry["peaks"] = base64(peaks);
    if (!room.add(result, std::move(entry))) break;
  }
  return result;
}

/// How widely the heads look, as a number of tokens: e to their entropy, mean over the first images.
Json heads_of(StoredModel& model, const heed::ImageDataset& images) {
  Json result = Json::array();
  if (model.options.attention != "full") return result;
  const heed::ImageDataset some = images.first(std::min(kEntropyImages, images.size()));
  heed::Batches<float> batches(some, {.batch_size = kEntropyBatch, .prefetch = false, .normalization = model.normalization});
  Eigen::VectorXd sums;
  for (const heed::Batch<float>& batch : batches.epoch(0)) {
    const heed::Tensor<float, 2> entropy = heed::attention_entropy<float>(heed::capture_attention(model.net, batch.images).front().weights);
    if (sums.size() == 0) sums = Eigen::VectorXd::Zero(entropy.features());
    sums += entropy.matrix().cast<double>().colwise().sum().transpose();
  }
  for (const double sum : sums) result.push_back(std::exp(sum / static_cast<double>(some.size())));
  return result;
}

/// What stands in the place of attention: a row an arm, if there are several. `left_out` gets a sentence for each run that is not compared.
Json rows_of_arms(const std::vector<FinishedRun>& runs, std::vector<std::string>& left_out) {
  Json rows = Json::array();
  const auto other_arm = [&](const FinishedRun& run) {
    return run.result.at("net") != runs.front().result.at("net") || run.result.at("attention") != runs.front().result.at("attention");
  };
  if (std::none_of(runs.begin(), runs.end(), other_arm)) return rows;
  const std::vector<Arm> arms = arms_of(comparable(runs, left_out));
  for (const Arm& arm : arms) {
    const Arm* full = attending(arms, arm);
    Json& row =
        rows.emplace_back(Json{{"net", arm.net}, {"attention", arm.attention}, {"n", arm.runs.size()}, {"accuracies", Json::array()}});
    for (const char* measure : kMeasures) row["accuracies"].push_back(mean_and_deviation(arm.accuracy(measure)));
    row["full_above"] = full ? mean_and_interval(full->above(arm, kMeasures[0])) : "";
  }
  return rows;
}

/// How the model of a run answers the test images; a third of its `bytes` of pictures are for mistakes.
Json seen(StoredModel& model, const heed::ImageDataset& images, std::size_t bytes) {
  const heed::Evaluation evaluation = heed::evaluate(model.net, images, {.normalization = model.normalization, .keep_logits = true});
  const Index classes = evaluation.logits.size(1);
  heed::Calibration calibration;
  calibration.add<double>(evaluation.logits, images.labels());
  std::vector<Answer> wrong, shown;
  std::vector<std::size_t> shown_of(static_cast<std::size_t>(classes));
  for (Index i = 0; i < images.size(); ++i) {
    const double* logits = &evaluation.logits(i, 0);
    const Index named = heed::argmax(logits, classes);
    const Answer answer{i, images.label(i), static_cast<int>(named), heed::Calibration::confidence_of(logits, classes, named)};
    if (answer.named != answer.label) wrong.push_back(answer);
    if (shown_of[static_cast<std::size_t>(answer.label)]++ < kPerClass) shown.push_back(answer);
  }
  std::stable_sort(wrong.begin(), wrong.end(), [](const Answer& a, const Answer& b) { return a.confidence > b.confidence; });
  wrong.resize(std::min(wrong.size(), kMistakes));
  std::stable_sort(shown.begin(), shown.end(), [](const Answer& a, const Answer& b) { return a.label < b.label; });

  Json result = {{"calibration_error", calibration.expected_error()}, {"confusion", Json::array()}, {"bins", Json::array()},
      {"mistakes", Json::array()}};
  for (Index label = 0; label < classes; ++label) {
    Json row = Json::array();
    for (Index named = 0; named < classes; ++named) row.push_back(evaluation.confusion(label, named));
    result["confusion"].push_back(std::move(row));
  }
  for (const heed::Calibration::Bin& bin : calibration.bins())
    result["bins"].push_back({{"count", bin.count}, {"confidence", bin.confidence}, {"accuracy", bin.accuracy}});
  Room for_mistakes(bytes / 3), for_gallery(bytes - bytes / 3);
  for (const Answer& answer : wrong)
    if (!for_mistakes.add(result["mistakes"], answer.json(images))) break;
  result["gallery"] = gallery(model, images, shown, for_gallery);
  result["heads"] = heads_of(model, images);
  return result;
}

std::string model_path(const std::string& folder) { return (fs::path(folder) / "model.safetensors").string(); }

/// The folders' own names, and the paths as they were given where two have the same.
std::vector<std::string> names_of(const std::vector<std::string>& folders) {
  std::vector<std::string> names;
  for (const std::string& folder : folders) {
    const fs::path path = fs::path(folder).lexically_normal();
    names.push_back((path.has_filename() ? path : path.parent_path()).filename().string());
  }
  std::vector<std::string> result = names;
  for (std::size_t i = 0; i < names.size(); ++i)
    if (std::count(names.begin(), names.end(), names[i]) > 1) result[i] = folders[i];
  return result;
}

/// How many bytes the pictures of each run may have, beside `others` of robustness.
std::size_t picture_bytes_of(const std::vector<std::string>& folders, std::size_t others) {
  others += kReportPage.size();
  for (const std::string& folder : folders) others += kRunBytes + kEpochBytes * records_of(folder).size();
  return others < kPictureBytes ? (kPictureBytes - others) / folders.size() : 0;
}

Json run_of(const std::string& folder, const std::string& name, const DataSource& data, std::size_t picture_bytes) {
  const std::string path = model_path(folder);
  StoredModel model = load(path);
  require_own_data(model, path, data);
  const std::vector<Json> records = records_of(folder);
  heed::require<heed::FileError>(!records.empty() && records.front()["event"] == "start", folder, ": the folder has no log.jsonl of a run");
  const Json& start = records.front();
  Json epochs = Json::array(), result;
  for (const Json& record : records) {
    if (record["event"] == "epoch") epochs.push_back(record);
    if (record["event"] == "result") result = record;
  }
  return {{"name", name}, {"net", model.options.net}, {"attention", model.options.attention}, {"seed", start.value("seed", Json())},
      {"parameters", start.value("parameters", Json(0))}, {"recipe", compared_words(start)}, {"epochs", std::move(epochs)},
      {"result", std::move(result)}, {"seen", seen(model, data.images.test, picture_bytes)}};
}

}  // namespace

int report(const ReportOptions& options) {
  const program::Threads threads(options.threads);
  std::vector<std::string> read = data_files(options.data);
  read.insert(read.end(), options.robustness.begin(), options.robustness.end());
  for (const std::string& run : options.runs) {
    read.push_back(model_path(run));
    read.push_back(log_path(run));
  }
  program::check_output(options.output, "--output", options.overwrite, read);
  const DataSource data = find_data(options.data);
  Json all = {{"dataset", data.name()}, {"generated", data.generated}, {"classes", class_names(data.images.test)}, {"runs", Json::array()},
      {"robustness", Json::array()}, {"comparisons", Json::array()}};
  std::set<std::string> hashes;  // of models that are there: a file names those of both sides, and several files may share one side
  for (const std::string& path : options.robustness) {
    RobustnessFile file = robustness_in(heed::read_file(path), path);
    if (all["judged"].is_null()) all["judged"] = file.images;
    heed::require<heed::FileError>(file.images == all["judged"], path, ": the figures are of ", file.images.dump(), ", those of ",
        options.robustness.front(), " of ", all["judged"].dump(), "; expected one set of images");
    if (!file.comparison.is_null()) {
      file.comparison["sides"] = {file.models.front()["kind"], file.models.back()["kind"]};
      all["comparisons"].push_back(std::move(file.comparison));
    }
    for (Json& model : file.models)
      if (hashes.insert(model["weights_hash"].get<std::string>()).second) all["robustness"].push_back(std::move(model));
  }
  const std::vector<std::string> names = names_of(options.runs);
  const std::size_t picture_bytes = picture_bytes_of(options.runs, all.dump().size());
  for (std::size_t i = 0; i < options.runs.size(); ++i) {
    fmt::print("{}\n", options.runs[i]);
    std::fflush(stdout);
    all["runs"].push_back(run_of(options.runs[i], names[i], data, picture_bytes));
  }

  std::vector<FinishedRun> finished;
  for (const Json& run : all["runs"])
    if (!run["result"].is_null()) finished.push_back({run["name"], run["recipe"], run["result"]});
  std::vector<std::string> left_out;
  all["arms"] = rows_of_arms(finished, left_out);
  all["left_out"] = left_out;
  std::string text = program::json_text(all);
  for (std::size_t at = 0; (at = text.find('<', at)) != std::string::npos;)
    text.replace(at, 1, "\\u003c");  // no name of a folder ends the script
  constexpr std::string_view kPlace = "@DATA@";
  std::string page(kReportPage);
  page.replace(page.find(kPlace), kPlace.size(), text);
  heed::require(page.size() < kPageBytes, "report: the page would have ", page.size() / 1000,
      " kB, and 3 MB is the most that it may have; name fewer runs or --robustness files");
  heed::write_file(options.output, page);
  fmt::print("the page: {} ({} kB)\n", options.output, (page.size() + 500) / 1000);
  return 0;
}

}  // namespace cifar10
