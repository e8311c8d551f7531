// SPDX-License-Identifier: MIT
#include <algorithm>
#include <cstdint>
#include <vector>

#include <heed/data/tensor_batches.hpp>

#include "catch.hpp"
#include "reference/random_tensor.hpp"

using namespace heed;

TEST_CASE("batches of tensors: every example once an epoch, its targets beside it") {
  const Index examples = 23;
  Tensor<std::int64_t, 2> tokens({examples, 4});
  for (Index i = 0; i < tokens.size(); ++i) tokens[i] = i;
  std::vector<int> labels(static_cast<std::size_t>(examples)), words(static_cast<std::size_t>(examples * 4));
  for (Index i = 0; i < examples; ++i) labels[static_cast<std::size_t>(i)] = static_cast<int>(i);
  for (std::size_t i = 0; i < words.size(); ++i) words[i] = static_cast<int>(i);
  const auto numbers = reference::random_tensor<double, 3>({examples, 2, 3}, 1);
  for (const bool shuffle : {false, true})
    for (const bool drop_last : {false, true}) {
      const TensorBatchOptions options{.batch_size = 5, .shuffle = shuffle, .drop_last = drop_last, .seed = 3};
      TensorBatches by_label(tokens, labels, options), by_word(tokens, words, options);
      TensorBatches by_numbers(tokens, numbers, options);
      CHECK(by_label.size() == (drop_last ? 4 : 5));
      CHECK(by_label.options().seed == 3);
      std::vector<Index> first_order;
      for (Index epoch : {0, 1}) {
        std::vector<Index> order;
        auto of_words = by_word.epoch(epoch).begin();
        auto of_numbers = by_numbers.epoch(epoch).begin();
        for (const auto& batch : by_label.epoch(epoch)) {
          REQUIRE(batch.number == static_cast<Index>(order.size()) / 5);
          REQUIRE(batch.inputs.shape() == Shape{batch.size(), 4});
          REQUIRE(batch.targets.size() == static_cast<std::size_t>(batch.size()));
          REQUIRE(of_words->targets.size() == static_cast<std::size_t>(4 * batch.size()));
          REQUIRE(of_numbers->targets.shape() == Shape{batch.size(), 2, 3});
          for (Index i = 0; i < batch.size(); ++i) {
            const Index example = batch.indices[static_cast<std::size_t>(i)];
            order.push_back(example);
            REQUIRE(batch.targets[static_cast<std::size_t>(i)] == example);
            for (Index t = 0; t < 4; ++t) {
              REQUIRE(batch.inputs(i, t) == example * 4 + t);
              REQUIRE(of_words->targets[static_cast<std::size_t>(i * 4 + t)] == example * 4 + t);
            }
            for (Index t = 0; t < 6; ++t) REQUIRE(of_numbers->targets[i * 6 + t] == numbers[example * 6 + t]);
          }
          ++of_words, ++of_numbers;
        }
        CHECK(static_cast<Index>(order.size()) == (drop_last ? 20 : examples));
        CHECK(std::is_sorted(order.begin(), order.end()) == !shuffle);
        if (epoch == 1) CHECK((order == first_order) == !shuffle);
        first_order = order;
        std::sort(order.begin(), order.end());
        CHECK(std::adjacent_find(order.begin(), order.end()) == order.end());
      }
      // A run that goes on finds what the whole one found.
      std::vector<Index> whole, part;
      for (const auto& batch : by_label.epoch(4))
        if (batch.number >= 2) whole.insert(whole.end(), batch.indices.begin(), batch.indices.end());
      TensorBatches again(tokens, labels, options);
      for (const auto& batch : again.epoch(4, 2)) part.insert(part.end(), batch.indices.begin(), batch.indices.end());
      CHECK(part == whole);
    }
}

TEST_CASE("batches of tensors: a batch larger than the data, and what cannot be") {
  const Tensor<float, 2> x({3, 2}), none, no_examples({0, 2}), other({4, 1});
  const std::vector<int> labels{0, 1, 2}, four{0, 1, 2, 3}, nothing;
  TensorBatches whole(x, labels);
  CHECK(whole.size() == 1);
  CHECK(whole.next()->size() == 3);
  CHECK(whole.next() == nullptr);
  CHECK_THROWS_WITH(TensorBatches(none, labels), contains("TensorBatches: there are no inputs"));
  CHECK_THROWS_WITH(TensorBatches(no_examples, labels), contains("TensorBatches: there are no inputs"));
  CHECK_THROWS_WITH(TensorBatches(x, four), contains("TensorBatches: 4 labels for 3 examples; expected the same number for each"));
  CHECK_THROWS_WITH(TensorBatches(x, nothing), contains("0 labels for 3 examples"));
  CHECK_THROWS_WITH(TensorBatches(x, other), contains("TensorBatches: inputs 3x2 have 3 examples, targets 4x1 have 4"));
  CHECK_THROWS_WITH(TensorBatches(x, labels, {.batch_size = 0}), contains("batch_size is 0, expected at least 1"));
  CHECK_THROWS_WITH(TensorBatches(x, labels, {.batch_size = 4, .drop_last = true}),
      contains("3 examples do not fill one batch of 4, and drop_last is set"));
  CHECK_THROWS_WITH(whole.epoch(0, 2), contains("TensorBatches: batch 2 of epoch 0 asked for, an epoch has 1"));
  CHECK_THROWS_WITH(whole.epoch(-1), contains("batch 0 of epoch -1"));
}

TEST_CASE("batches of tensors: an epoch that is judged on its own batches says so") {
  const Tensor<float, 2> x({6, 2});
  const std::vector<int> labels(6);
  TensorBatches batches(x, labels, {.batch_size = 2});
  CHECK(batches.passes() == 0);
  const auto walk = [&] {
    for ([[maybe_unused]] const auto& batch : batches.epoch(0))
      for ([[maybe_unused]] const auto& judged : batches.epoch(0)) {}
  };
  CHECK_THROWS_AS(walk(), std::invalid_argument);
  CHECK(batches.passes() == 2);
}
