// SPDX-License-Identifier: MIT
// The example's own nets: trained inside a caller's parallel region and beside each other, and asked for one image of many. (Threads and back ends: same_bits_test.sh.)
#include "cifar10/nets.hpp"

#include "train/same_bits.hpp"

using namespace heed;

namespace {

cifar10::Net<float> net_of(const cifar10::NetOptions& options) {
  const SeedScope seed(12);
  return cifar10::make_net<float>(options);
}
const cifar10::NetOptions kParts{.net = "article", .attention_blocks = 2, .feed_forward = 2, .relative_bias = true};

Outcome training(const cifar10::NetOptions& options, Index images = 13) {
  return trained<AdamW<float>>(net_of(options), numbers<4>({images, 32, 32, 3}, 2), CrossEntropyLoss<float>({.label_smoothing = 0.1}),
      {.decay = 0.9}, AdamWOptions{.learning_rate = 0.01});
}

const std::vector<Training> kTrainings{{"article", [] { return training({.net = "article"}); }}, {"demo", [] { return training({}); }},
    {"small", [] { return training({.net = "small"}, 6); }}, {"large", [] { return training({.net = "large"}, 3); }},
    {"every part", [] { return training(kParts); }},
    {"without attention", [] { return training({.net = "article", .attention = "none"}); }}};

}  // namespace

TEST_CASE("two of the example's nets trained at once in two threads are trained as each alone") {
  check_at_once(kTrainings[0], kTrainings[1]);
  check_at_once(kTrainings[2], kTrainings[3]);
}

#if defined(_OPENMP)
TEST_CASE("the example's nets inside a caller's parallel region are trained to the same bits") { check_parallel_region(kTrainings); }
#endif

TEST_CASE("a batch as evaluation makes it sees each image as it is seen alone") {
  const auto images = numbers<4>({250, 32, 32, 3}, 3);
  for (const cifar10::NetOptions& options : {cifar10::NetOptions{.net = "article"}, cifar10::NetOptions{}, kParts}) {
    const auto net = net_of(options);
    const auto all = net.forward(images);
    for (Index i = 0; i < images.size(0); ++i) {
      const auto one = net.forward(images.slice(i, i + 1));
      INFO(cifar10::words_of(options) << ", image " << i);
      CHECK(std::equal(one.data(), one.data() + one.size(), all.data() + i * one.size()));
    }
  }
}

TEST_CASE("each of the example's nets sees an image alike in a batch of any size and anywhere in it") {
  for (const char* name : {"article", "demo", "small", "large"}) {
    INFO(name);
    check_any_batch(net_of({.net = name}), numbers<4>({4, 32, 32, 3}, 4));
  }
  check_any_batch(net_of(kParts), numbers<4>({4, 32, 32, 3}, 4));
}
