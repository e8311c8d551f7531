// SPDX-License-Identifier: MIT
#include "catch.hpp"

#include <cmath>
#include <numeric>
#include <vector>

#include <heed/compose/sequential.hpp>
#include <heed/layers/attention_fusion.hpp>
#include <heed/layers/conv2d.hpp>
#include <heed/layers/global_avg_pool2d.hpp>
#include <heed/layers/linear.hpp>
#include <heed/losses/cross_entropy.hpp>
#include <heed/optim/adam.hpp>
#include <heed/train/deletion.hpp>

#include "reference/random_tensor.hpp"

using namespace heed;

namespace {

constexpr Index kSide = 4, kTokens = kSide * kSide, kFeatures = 8;

/// Images of noise in squares of `Side` pixels, one of which, anywhere, has the sign of the class in its first channel and a mark in its second: what is right is known.
template <Index Side, Index Channels>
struct Planted {
  Tensor<float, 4> images;
  std::vector<int> labels;
  std::vector<Index> places;

  Planted(Index count, std::uint64_t seed) : images({count, Side * kSide, Side * kSide, Channels}) {
    const CounterRandom random{seed};
    std::uint64_t drawn = 0;
    for (Index i = 0; i < images.size(); ++i) images[i] = static_cast<float>(random.uniform(drawn++, -1, 1));
    for (Index i = 0; i < count; ++i) {
      labels.push_back(static_cast<int>(random.below(drawn++, 2)));
      places.push_back(static_cast<Index>(random.below(drawn++, kTokens)));
      for (Index pixel = 0; pixel < Side * Side; ++pixel) {
        const Index y = places.back() / kSide * Side + pixel / Side, x = places.back() % kSide * Side + pixel % Side;
        images(i, y, x, 0) = labels.back() == 1 ? 1.5f : -1.5f;
        images(i, y, x, 1) = 3;
      }
    }
  }
};
using PlantedToken = Planted<1, kFeatures>;
using PlantedPatch = Planted<4, 3>;

auto net() {
  const SeedScope seed(2);
  return Sequential(named("attention", AttentionFusion<float>({.features = kFeatures, .num_heads = 2, .height = kSide, .width = kSide})),
      GlobalAvgPool2d<float>(), Linear<float>({.in_features = kFeatures, .out_features = 2}));
}

/// The same behind a convolution that makes a token of each patch.
auto net_of_patches() {
  const SeedScope seed(3);
  return Sequential(Conv2d<float>({.in_channels = 3, .out_channels = kFeatures, .kernel_size = 4, .stride = 4}),
      named("attention", AttentionFusion<float>({.features = kFeatures, .num_heads = 2, .height = kSide, .width = kSide})),
      GlobalAvgPool2d<float>(), Linear<float>({.in_features = kFeatures, .out_features = 2}));
}

template <class Data, class Net>
void train(Net& model) {
  AdamW<float> optimizer(named_parameters(model), {.learning_rate = 1e-2});
  const CrossEntropyLoss<float> loss;
  for (std::uint64_t step = 0; step < 400; ++step) {
    const Data batch(64, 100 + step);
    typename Net::Cache cache;
    optimizer.zero_gradients();
    Tensor<float, 2> d_logits;
    loss(model.forward(batch.images, cache), batch.labels, d_logits);
    static_cast<void>(model.backward(d_logits, cache));
    optimizer.step();
  }
}

}  // namespace

TEST_CASE("where the right answer is one planted token, relevance finds it, and deleting by relevance shows it") {
  auto model = net();
  train<PlantedToken>(model);
  const PlantedToken data(500, 1);
  const auto captured = capture_attention_gradients(model, data.images, std::span<const int>(data.labels));
  REQUIRE(captured.size() == 1);
  const Tensor<float, 2> relevance = attention_relevance(captured[0]);
  Index found = 0;
  for (Index i = 0; i < 500; ++i) found += argmax(&relevance(i, 0), kTokens) == data.places[static_cast<std::size_t>(i)];
  CAPTURE(found);
  CHECK(found > 450);

  const auto map = TensorView<const float, 3>(relevance.data(), {500, kSide, kSide});
  const TokenGrid grid = TokenGrid::even(kSide);
  const DeletionCheck check = deletion_check<decltype(model), float>(model, data.images, data.labels, map, grid, grid, {.share = 0.25});
  CAPTURE(check.clean, check.top, check.random, check.bottom);
  CHECK(check.deleted == 4);
  CHECK(check.clean > 0.93);
  CHECK(check.top < 0.3);  // below a guess: with the planted token goes what else speaks for the class
  CHECK(check.random < check.clean - 0.05);
  CHECK(check.random > check.top + 0.4);  // it hits the planted token in a quarter of the images
  CHECK(check.bottom > check.clean - 0.01);
}

TEST_CASE(
    "a planted patch of an image is found behind a convolution, for the class that the model names; the map of another image finds "
    "nothing") {
  auto model = net_of_patches();
  train<PlantedPatch>(model);
  const PlantedPatch data(500, 1);
  const Tensor<float, 2> logits = model.forward(data.images);
  std::vector<int> named;
  for (Index i = 0; i < 500; ++i) named.push_back(static_cast<int>(argmax(&logits(i, 0), 2)));
  const Tensor<float, 2> relevance = attention_relevance(capture_attention_gradients(model, data.images, std::span<const int>(named))[0]);
  Index found = 0;
  for (Index i = 0; i < 500; ++i) found += argmax(&relevance(i, 0), kTokens) == data.places[static_cast<std::size_t>(i)];
  CAPTURE(found);
  CHECK(found > 450);

  const TokenGrid grid = TokenGrid::even(kSide);
  const auto judged = [&](const Tensor<float, 2>& map) {
    return deletion_check<decltype(model), float>(
        model, data.images, data.labels, TensorView<const float, 3>(map.data(), {500, kSide, kSide}), grid, grid, {.share = 0.25});
  };
  const DeletionCheck own = judged(relevance);
  CAPTURE(own.clean, own.top, own.random, own.bottom);
  CHECK(own.clean > 0.93);
  CHECK(own.top < 0.6);  // no more than a guess is left
  CHECK(own.random > own.top + 0.2);
  CHECK(own.bottom > own.clean - 0.02);

  Tensor<float, 2> moved(relevance.shape());
  for (Index i = 0; i < 500; ++i) std::copy_n(&relevance((i + 1) % 500, 0), kTokens, &moved(i, 0));
  const DeletionCheck wrong = judged(moved);
  CAPTURE(wrong.top, wrong.random, wrong.bottom);
  CHECK(std::abs(wrong.top - wrong.random) < 0.08);
  CHECK(std::abs(wrong.bottom - wrong.random) < 0.08);
}

namespace {

/// Says 1 for an image whose pixels at the first channel are all above zero, else 0, and keeps what it saw.
struct Whole {
  using scalar = double;
  std::vector<Tensor<double, 4>>* seen;
  Tensor<double, 2> forward(const Tensor<double, 4>& x) const {
    seen->push_back(x);
    Tensor<double, 2> y({x.size(0), 2});
    for (Index i = 0; i < x.size(0); ++i) y(i, 1) = *std::min_element(&x(i, 0, 0, 0), &x(i, 0, 0, 0) + x.size() / x.size(0)) > 0 ? 1 : -1;
    return y;
  }
};

}  // namespace

TEST_CASE("the pixels of the tokens that are deleted are blanked, and no others, in batches of any size") {
  // Tokens of 3 x 2 pixels on images of 7 x 5: the last row and column of pixels belong to none.
  const TokenGrid rows{1.5 / 7, 3.0 / 7}, columns{1.0 / 5, 2.0 / 5};
  Tensor<double, 4> images({3, 7, 5, 2});
  std::fill_n(images.data(), images.size(), 2.0);
  Tensor<double, 3> relevance({3, 2, 2});
  const double scores[] = {5, 1, 2, 3, 0, 7, 7, 6, 4, 4, 4, 4};
  std::copy(std::begin(scores), std::end(scores), relevance.data());
  const std::vector<int> labels = {1, 1, 0};
  const Index order[3][4] = {{0, 3, 2, 1}, {1, 2, 3, 0}, {0, 1, 2, 3}};
  for (const Index batch : {1, 2, 3, 100}) {
    std::vector<Tensor<double, 4>> seen;
    const DeletionCheck check =
        deletion_check<Whole, double>({&seen}, images, labels, relevance, rows, columns, {.share = 0.5, .seed = 3, .batch_size = batch});
    CHECK(check.deleted == 2);
    CHECK(check.clean == Approx(2 / 3.));  // the last label is wrong on purpose
    CHECK(check.top == Approx(1 / 3.));
    CHECK(check.random == Approx(1 / 3.));
    CHECK(check.bottom == Approx(1 / 3.));
    Index image = 0;
    for (std::size_t pass = 0; pass < seen.size(); pass += 4)
      for (Index i = 0; i < seen[pass].size(0); ++i, ++image) {
        std::vector<Index> random(4);
        shuffle_order(random, 3, image);
        for (std::size_t which = 0; which < 4; ++which)
          for (Index y = 0; y < 7; ++y)
            for (Index x = 0; x < 5; ++x) {
              const Index token = y < 6 && x < 4 ? y / 3 * 2 + x / 2 : -1;
              const Index* best = order[image];
              const bool blank = which == 0   ? false
                                 : which == 1 ? token == best[0] || token == best[1]
                                 : which == 2 ? token == random[0] || token == random[1]
                                              : token == best[3] || token == best[2];
              for (Index c = 0; c < 2; ++c) CHECK(seen[pass + which](i, y, x, c) == (blank && token >= 0 ? 0 : 2));
            }
      }
    CHECK(image == 3);
  }
}

TEST_CASE("at least one token is deleted, and what does not fit is refused") {
  Tensor<double, 4> images({2, 4, 4, 1});
  Tensor<double, 3> relevance({2, 2, 2});
  const std::vector<int> labels = {0, 0}, more = {0, 0, 0};
  const TokenGrid grid = TokenGrid::even(2);
  std::vector<Tensor<double, 4>> seen;
  const auto check = [&](const std::vector<int>& l, const Tensor<double, 3>& r, DeletionOptions options) {
    return deletion_check<Whole, double>({&seen}, images, l, r, grid, grid, options);
  };
  CHECK(check(labels, relevance, {.share = 0.01}).deleted == 1);
  CHECK(check(labels, relevance, {.share = 1}).deleted == 4);
  CHECK_THROWS_WITH(check(more, relevance, {}), contains("labels are 3"));
  CHECK_THROWS_WITH(check(labels, Tensor<double, 3>({1, 2, 2}), {}), contains("the relevance is 1x2x2"));
  CHECK_THROWS_WITH(check(labels, Tensor<double, 3>({3, 2, 2}), {}), contains("the relevance is 3x2x2"));
  CHECK_THROWS_WITH(check(labels, relevance, {.share = 0}), contains("share is 0"));
  CHECK_THROWS_WITH(check(labels, relevance, {.share = 1.5}), contains("share is 1.5"));
  CHECK_THROWS_WITH(check(labels, relevance, {.batch_size = 0}), contains("batch_size is 0"));
  CHECK_THROWS_AS(check(labels, Tensor<double, 3>({2, 0, 2}), {}), std::invalid_argument);
}
