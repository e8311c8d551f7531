// SPDX-License-Identifier: MIT
#include <cstdint>
#include <string>
#include <vector>

#include <fmt/core.h>

#include <heed/train/evaluate.hpp>

#include "../program/output_file.hpp"
#include "../program/threads.hpp"
#include "data_source.hpp"
#include "report.hpp"
#include "stored_model.hpp"

namespace cifar10 {

namespace {

/// Writes the logits (images, classes) and labels of the test images, with the weights' hash.
void save_logits(
    const std::string& path, const heed::Tensor<double, 2>& logits, const heed::ImageDataset& images, const StoredModel& model) {
  heed::Tensor<std::int64_t, 1> labels({images.size()});
  for (Index i = 0; i < images.size(); ++i) labels[i] = images.label(i);
  heed::SafetensorsWriter writer;
  writer.add("logits", logits);
  writer.add("labels", labels);
  writer.set_metadata("weights_hash", heed::weights_hash(model.net));
  writer.write(path);
}

}  // namespace

int evaluate(const EvaluateOptions& options) {
  const program::Threads threads(options.threads);
  const std::string& path = options.models.front();
  heed::require(options.corruptions || options.models.size() == 1, "evaluate: ", options.models.size(),
      " models are named, expected one; several of them, one a seed, go with --corruptions");
  heed::require(options.output.empty() || options.corruptions || options.deletion, "--output ", options.output,
      ": expected --corruptions or --deletion with it; --logits writes what the net says about every image");
  std::vector<std::string> read = data_files(options.data);
  for (const auto* paths : {&options.models, &options.against}) read.insert(read.end(), paths->begin(), paths->end());
  program::check_output(options.logits, "--logits", options.overwrite, read);
  program::check_output(options.output, "--output", options.overwrite, read);
  if (options.corruptions) return evaluate_corruptions(options, find_data(options.data));
  StoredModel model = load(path, options.convolution);
  const DataSource data = find_data(options.data);
  require_own_data(model, path, data);
  if (options.deletion) return evaluate_deletion(options, model, data);
  const heed::ImageDataset images = data.images.test.first(options.judged(data.images.test.size()));
  const heed::Evaluation result = heed::evaluate(
      model.net, images, {.views = options.views, .normalization = model.normalization, .keep_logits = !options.logits.empty()});
  fmt::print("{}\n", confusion_text(result.confusion, model.class_names));
  fmt::print("{} on {} test images of {}, {} view{}: loss {:.4f}, accuracy {:.2f} %\n", words_of(model.options), images.size(), data.name(),
      options.views, options.views == 1 ? "" : "s", result.loss, 100 * result.accuracy);
  if (!options.logits.empty()) {
    save_logits(options.logits, result.logits, images, model);
    fmt::print("logits: {}\n", options.logits);
  }
  return 0;
}

}  // namespace cifar10
