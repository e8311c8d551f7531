// SPDX-License-Identifier: MIT
#include "cifar10/attention_maps.hpp"

#include "catch.hpp"
#include "reference/random_tensor.hpp"

using namespace cifar10;
using heed::Tensor;

TEST_CASE("maps of tokens: of all heads and queries, of each head, of one token") {
  constexpr Index kImages = 2, kHeads = 3, kSide = 2, kTokens = kSide * kSide;
  const auto weights = reference::random_tensor<float, 4>({kImages, kHeads, kTokens, kTokens}, 1, 0, 1);
  const auto of = [&](Index image, Index head, Index query, Index key) {
    return weights[((image * kHeads + head) * kTokens + query) * kTokens + key];
  };

  const Tensor<float, 3> all = maps_of_rows(weights.data(), weights.size(), kImages, kSide);
  const Tensor<float, 2> received = heed::attention_received<float>(weights);
  REQUIRE(all.shape() == heed::Shape{kImages, kSide, kSide});
  for (Index i = 0; i < all.size(); ++i) CHECK(all[i] == Approx(received[i]));

  const Tensor<float, 3> heads = maps_of_rows(weights.data(), weights.size(), kImages * kHeads, kSide),
                         one = maps_of_rows(weights.data(), weights.size(), kImages, kSide, 3),
                         one_of_heads = maps_of_rows(weights.data(), weights.size(), kImages * kHeads, kSide, 1);
  for (Index image = 0; image < kImages; ++image)
    for (Index key = 0; key < kTokens; ++key) {
      float of_token = 0;
      for (Index head = 0; head < kHeads; ++head) {
        float mean = 0;
        for (Index query = 0; query < kTokens; ++query) mean += of(image, head, query, key) / kTokens;
        CHECK(heads[(image * kHeads + head) * kTokens + key] == Approx(mean));
        CHECK(one_of_heads[(image * kHeads + head) * kTokens + key] == of(image, head, 1, key));
        of_token += of(image, head, 3, key) / kHeads;
      }
      CHECK(one[image * kTokens + key] == Approx(of_token));
    }
}
