// SPDX-License-Identifier: MIT
#include "catch.hpp"

#include <heed/layers/attention_observer.hpp>

using namespace heed;

TEST_CASE("an attention observer sees weights of its scalar as long as it lives, the innermost alone") {
  struct Count final : AttentionObserver {
    int floats = 0;
    using AttentionObserver::seen;
    void seen(const TensorView<const float, 4>& weights) override { floats += weights.size() == 4 ? 1 : 100; }
  };
  const Tensor<float, 4> weights({1, 1, 2, 2});
  const Tensor<double, 4> other({1, 1, 2, 2});
  CHECK_FALSE(attention_is_observed<float>());
  show_attention<float>(weights);
  {
    Count outer;
    {
      Count inner;
      CHECK(attention_is_observed<float>());
      CHECK_FALSE(attention_is_observed<int>());
      show_attention<float>(weights);
      show_attention<double>(other);
      CHECK(inner.floats == 1);
    }
    show_attention<float>(weights);
    CHECK(outer.floats == 1);
  }
  CHECK_FALSE(attention_is_observed<float>());
}
