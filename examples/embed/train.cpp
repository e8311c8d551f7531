// SPDX-License-Identifier: MIT
// embed_train WEIGHTS FRAMES LABELS: trains the net on the generated sample set for some seconds. Writes its weights as C++, and a few test images with their labels.
#include <cstdio>
#include <string>

#include <heed/data/batches.hpp>
#include <heed/data/generated.hpp>
#include <heed/io/atomic_file.hpp>
#include <heed/optim/adam.hpp>
#include <heed/optim/schedule.hpp>
#include <heed/train/evaluate.hpp>
#include <heed/train/trainer.hpp>

#include "net.hpp"

int main(int count, char** arguments) try {
  using namespace heed;
  require(count == 4, "embed_train: usage: embed_train WEIGHTS FRAMES LABELS");
  const TrainTest images = generated_images({.train = 5000, .test = 500});
  const Normalization normalization{{embed::kMean, embed::kMean, embed::kMean}, {embed::kDeviation, embed::kDeviation, embed::kDeviation}};
  constexpr Index kEpochs = 10;
  SeedScope seed(1);
  auto net = embed::make_net();
  AdamW<float> optimizer(named_parameters(net), {.learning_rate = 8e-3, .weight_decay = 0.02});
  Batches<float> batches(
      images.train, {.batch_size = 50, .shuffle = true, .seed = 1, .augmentation = {.translate = 2}, .normalization = normalization});
  Trainer trainer(net, CrossEntropyLoss<float>(), optimizer, OneCycleSchedule{.steps = kEpochs * 100});
  for (Index epoch = 0; epoch < kEpochs; ++epoch) trainer.run_epoch(batches, epoch);
  std::printf("embed_train: %.1f %% of %td test images\n", 100 * evaluate(net, images.test, {.normalization = normalization}).accuracy,
      images.test.size());

  std::string weights, frames, labels;
  for (const auto& [name, parameter] : named_parameters(net)) {
    weights += text("// ", name, ' ', parameter->shape(), '\n');
    for (Index i = 0; i < parameter->size(); ++i) {
      char number[40];
      std::snprintf(number, sizeof number, "%af,\n", static_cast<double>(parameter->value()[i]));  // hexadecimal: the same bits
      weights += number;
    }
  }
  for (Index i = 0; i < images.test.size(); ++i) {
    const std::uint8_t* pixels = images.test.image(i);
    frames.append(pixels, pixels + embed::kPixels);
    labels += text(images.test.label(i), '\n');
  }
  const std::string* contents[] = {&weights, &frames, &labels};
  for (int i = 0; i < 3; ++i) {
    AtomicFile file(arguments[i + 1]);
    file.write(contents[i]->data(), contents[i]->size());
    file.commit();
  }
  return 0;
} catch (const std::exception& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
