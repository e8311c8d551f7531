// SPDX-License-Identifier: MIT
#include <optional>

#include <fmt/core.h>

#include <heed/train/evaluate.hpp>

#include "data_source.hpp"
#include "report.hpp"
#include "stored_model.hpp"

namespace cifar10 {

int evaluate(const EvaluateOptions& options) {
  std::optional<heed::ThreadScope> threads;
  if (options.threads > 0) threads.emplace(options.threads);
  const StoredModel model = load(options.model);
  const DataSource data = find_data(options.data);
  heed::require<heed::FileError>(data.name() == model.dataset, options.model, ": the model was trained on \"", model.dataset, "\", ",
      data.folder, " holds \"", data.name(), "\"; name the other folder with --data");
  heed::require<heed::FileError>(class_names(data.images.test) == model.class_names, options.model,
      ": the model was trained on other classes than those of ", data.folder, "; name the other folder with --data");
  const heed::Evaluation result =
      heed::evaluate(model.net, data.images.test, {.views = options.views, .normalization = model.normalization});
  fmt::print("{}\n", confusion_text(result.confusion, model.class_names));
  fmt::print("{} with attention {} on {} test images of {}, {} view{}: loss {:.4f}, accuracy {:.2f} %\n", model.options.net,
      model.options.attention, data.images.test.size(), data.name(), options.views, options.views == 1 ? "" : "s", result.loss,
      100 * result.accuracy);
  return 0;
}

}  // namespace cifar10
