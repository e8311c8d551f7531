// SPDX-License-Identifier: MIT
#include "catch.hpp"
#include "reference/layer_rules.hpp"

#include <heed/layers/activation_layer.hpp>
#include <heed/testing/check_gradients.hpp>

using namespace heed;

namespace {

/// x², as a user would add it.
struct SquareFunction {
  template <class P>
  HEED_INLINE static P apply(const P& x) {
    return x * x;
  }
  template <class P>
  HEED_INLINE static P derivative(const P& x) {
    return x + x;
  }
};

template <class T>
class Square : public ActivationLayer<Square<T>, T> {
 public:
  static constexpr const char* kKind = "Square";
  template <class Use>
  void with_activation(const Use& use) const {
    use(SquareFunction{});
  }
  template <class U>
  Square<U> rebind() const {
    return {};
  }
  template <class Self, class V>
  static void describe_members(Self&, V& visitor) {
    visitor.kind(kKind);
  }
};
static_assert(Layer<Square<float>>);

}  // namespace

TEST_CASE("an activation of the user's own is a layer with a certificate") {
  for (const Shape& shape : {Shape{1, 1}, Shape{3, 17}, Shape{2, 3, 5}, Shape{2, 3, 2, 3}}) {
    const auto report = check_gradients(Square<double>(), shape);
    INFO(report.to_string());
    CHECK(report.passed());
  }
  reference::check_layer_rules<3>(Square<float>(), {3, 100, 70});
}

TEST_CASE("the gradient must have the output's shape") {
  Square<float> layer;
  Square<float>::Cache cache;
  const Tensor<float, 2> x({3, 4}), wrong({3, 5}), few({2, 4});
  layer.forward(x, cache);
  CHECK_THROWS_AS(layer.backward(wrong, cache), ShapeError);
  CHECK_THROWS_WITH(layer.backward(few, cache), contains("Square: dy is 2x4"));
}

TEST_CASE("Square refuses a cache that no forward has filled") {
  Square<float> layer;
  Square<float>::Cache cache;
  const Tensor<float, 2> dy({1, 1});
  CHECK_THROWS_WITH(layer.backward(dy, cache), contains("Square: backward follows one forward"));
}
