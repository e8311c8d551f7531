// SPDX-License-Identifier: MIT
#include <algorithm>
#include <vector>

#include <fmt/core.h>

#include <heed/data/batches.hpp>
#include <heed/train/deletion.hpp>

#include "data_source.hpp"
#include "stored_model.hpp"
#include "token_scores.hpp"

namespace cifar10 {

int evaluate_deletion(const EvaluateOptions& options, StoredModel& model, const DataSource& data) {
  constexpr Index kBatch = 250;
  const heed::ImageDataset some = data.images.test.first(options.judged(data.images.test.size()));
  const Index count = some.size(), side = map_side(model.options);
  auto images = heed::Tensor<float, 4>::uninitialized(heed::image_shape(count, 32, 32, 3));
  auto relevance = heed::Tensor<float, 3>::uninitialized({count, side, side});
  std::vector<int> labels;
  heed::Batches<float> batches(some, {.batch_size = kBatch, .prefetch = false, .normalization = model.normalization});
  Index done = 0;
  for (const heed::Batch<float>& batch : batches.epoch(0)) {
    std::copy_n(batch.images.data(), batch.images.size(), &images(done, 0, 0, 0));
    // Of the class that the net names: the labels play no part in what is deleted.
    const heed::Tensor<float, 3> scores =
        token_scores(model, options.models.front(), batch.images, predicted_classes(model.net.forward(batch.images)));
    std::copy_n(scores.data(), scores.size(), &relevance(done, 0, 0));
    labels.insert(labels.end(), batch.labels.begin(), batch.labels.end());
    done += batch.size();
  }
  const heed::TokenGrid grid = token_grid(model.options);
  const heed::DeletionCheck check =
      heed::deletion_check<Net<float>, float>(model.net, images, labels, relevance, grid, grid, {.batch_size = kBatch});
  fmt::print("{} on {} test images of {}; {} of {} tokens' pixels are blanked\n\n", words_of(model.options), count, data.name(),
      check.deleted, side * side);
  const auto line = [](const char* what, double accuracy) { fmt::print("{:<48} {:6.2f} %\n", what, 100 * accuracy); };
  line("images as they are", check.clean);
  line("blank where relevance for the class is highest", check.top);
  line("blank at random", check.random);
  line("blank where relevance for the class is lowest", check.bottom);
  return 0;
}

}  // namespace cifar10
