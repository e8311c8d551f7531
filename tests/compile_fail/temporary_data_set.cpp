// SPDX-License-Identifier: MIT
// Batches read their data set while training goes on.
// expect: heed: the data set is looked at, not copied
#include <heed/data/batches.hpp>
#include <heed/data/generated.hpp>

void train() {
#ifdef RIGHT
  const heed::ImageDataset images = heed::generated_images({}).train;
  heed::Batches<float> batches(images, {.batch_size = 32});
#else
  heed::Batches<float> batches(heed::generated_images({}).train, {.batch_size = 32});
#endif
}
