// SPDX-License-Identifier: MIT
// Compiled with -fno-exceptions -fno-rtti, and without optimisation: every header compiles, a net is trained, and what is wrong comes to the program's own handler.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>

[[noreturn]] void stop(const char* message) {
  const bool expected = std::strstr(message, "first: Linear: input has 5 features") != nullptr;
  std::printf("%s: %s\n", expected ? "as expected" : "not expected", message);
  std::exit(expected ? EXIT_SUCCESS : EXIT_FAILURE);
}
#define HEED_ERROR_HANDLER stop
#include <heed/all.hpp>

int main() {
  using namespace heed;
  const SeedScope seed(1);
  auto net = Sequential(Conv2d<float>({.in_channels = 3, .out_channels = 8, .kernel_size = 3, .stride = 2}),
      MaxPool2d<float>({.kernel_size = 3}), BatchNorm2d<float>({.num_features = 8}), AnyLayer<float, 4>(Gelu<float>()),
      AttentionFusion<float>({.features = 8, .num_heads = 2, .height = 5, .width = 5, .relative_bias = true}),
      LayerNorm<float>({.normalized_shape = {8}}), Flatten<float>(), Linear<float>({.in_features = 200, .out_features = 10}));
  AdamW<float> optimizer(named_parameters(net), {.learning_rate = 0.01});
  Trainer trainer(net, CrossEntropyLoss<float>(), optimizer);
  const auto data = generated_images({.train = 160, .test = 10}).train;
  Batches<float> batches(data, {.batch_size = 32, .shuffle = true, .normalization = Normalization::cifar10()});
  double first = 0, last = 0;
  for (Index epoch = 0; epoch < 4; ++epoch) {
    last = trainer.run_epoch(batches, epoch).loss();
    if (epoch == 0) first = last;
  }
  std::printf("loss %.4f to %.4f, weights %s\n", first, last, weights_hash(net).c_str());
  if (!(last < first)) return EXIT_FAILURE;

  const auto wrong = Sequential(named("first", Linear<float>({.in_features = 4, .out_features = 2})));
  static_cast<void>(wrong.forward(Tensor<float, 2>({3, 5})));
  std::printf("no error came\n");
  return EXIT_FAILURE;
}
