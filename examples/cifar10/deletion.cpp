// SPDX-License-Identifier: MIT
#include <algorithm>
#include <cmath>
#include <vector>

#include <fmt/core.h>

#include <heed/data/batches.hpp>
#include <heed/train/deletion.hpp>

#include "../program/json_text.hpp"
#include "attention_maps.hpp"
#include "data_source.hpp"
#include "run_log.hpp"
#include "stored_model.hpp"

namespace cifar10 {

namespace {

/// What may say which tokens matter: maps of the images (images, side, side).
struct Order {
  const char *key, *words;
  heed::Tensor<float, 3> maps;
};

}  // namespace

int evaluate_deletion(const EvaluateOptions& options, StoredModel& model, const DataSource& data) {
  constexpr Index kBatch = 50;  // weights and gradients of 225 tokens and 8 heads are 3.2 MB an image
  const heed::ImageDataset some = data.images.test.first(options.judged(data.images.test.size()));
  const Index count = some.size(), side = map_side(model.options), tokens = side * side;
  const auto maps = [&] { return heed::Tensor<float, 3>::uninitialized({count, side, side}); };
  Order orders[] = {{"relevance", "relevance for the class", maps()}, {"received", "attention received", maps()},
      {"middle", "nearness to the middle", maps()}};
  auto images = heed::Tensor<float, 4>::uninitialized(heed::image_shape(count, 32, 32, 3));
  std::vector<int> labels;
  heed::Batches<float> batches(some, {.batch_size = kBatch, .prefetch = false, .normalization = model.normalization});
  Index done = 0;
  for (const heed::Batch<float>& batch : batches.epoch(0)) {
    std::copy_n(batch.images.data(), batch.images.size(), &images(done, 0, 0, 0));
    // Of the class that the net names: the labels play no part in what is deleted.
    const heed::Tensor<float, 3> relevance =
        relevance_maps(model, options.models.front(), batch.images, predicted_classes(model.net.forward(batch.images)));
    std::copy_n(relevance.data(), relevance.size(), &orders[0].maps(done, 0, 0));
    const heed::Tensor<float, 2> received =
        heed::attention_received<float>(heed::capture_attention(model.net, batch.images).front().weights);
    std::copy_n(received.data(), received.size(), &orders[1].maps(done, 0, 0));
    labels.insert(labels.end(), batch.labels.begin(), batch.labels.end());
    done += batch.size();
  }
  const double centre = static_cast<double>(side - 1) / 2;
  for (Index i = 0; i < count; ++i)
    for (Index y = 0; y < side; ++y)
      for (Index x = 0; x < side; ++x)
        orders[2].maps(i, y, x) = static_cast<float>(-std::hypot(static_cast<double>(y) - centre, static_cast<double>(x) - centre));

  const heed::TokenGrid grid = token_grid(model.options);
  Json result = {{"model", options.models.front()}, {"kind", words_of(model.options)}, {"weights_hash", heed::weights_hash(model.net)},
      {"dataset", data.name()}, {"images", count}, {"tokens", tokens}};
  for (const Order& order : orders) {
    const heed::DeletionCheck check = heed::deletion_check<Net<float>, float>(model.net, images, labels, order.maps, grid, grid, {});
    if (&order == orders) {
      fmt::print("{} on {} test images of {}; {} of {} tokens' pixels are blanked\n\n", words_of(model.options), count, data.name(),
          check.deleted, tokens);
      fmt::print("images as they are {:6.2f} %, blank at random {:6.2f} %\n\n{:<24} {:>10} {:>10}\n", 100 * check.clean, 100 * check.random,
          "blank by", "highest", "lowest");
      result.update({{"deleted", check.deleted}, {"clean", check.clean}, {"random", check.random}});
    }
    fmt::print("{:<24} {:8.2f} % {:8.2f} %\n", order.words, 100 * check.top, 100 * check.bottom);
    result[order.key] = {{"highest", check.top}, {"lowest", check.bottom}};
  }
  if (!options.output.empty()) {
    heed::write_file(options.output, program::json_text(result, 2) + "\n");
    fmt::print("\nall figures: {}\n", options.output);
  }
  return 0;
}

}  // namespace cifar10
