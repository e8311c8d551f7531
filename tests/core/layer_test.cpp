// SPDX-License-Identifier: MIT
#include "catch.hpp"

#include <string>
#include <vector>

#include <heed/core/initialize.hpp>
#include <heed/core/layer.hpp>

using namespace heed;

namespace {

/// y = weight * x, element by element over the features; counts its forward passes in a buffer.
template <class T>
class Scale : public LayerBase<Scale<T>> {
 public:
  using scalar = T;
  static constexpr int input_rank = kAnyRank;
  struct Cache {
    TensorView<const T, 2> x;
  };

  explicit Scale(Index features) : weight_({features}), count_({1}) { initialize(weight_, Initializer::ones); }

  Shape output_shape(const Shape& in) const {
    require<ShapeError>(in.features() == weight_.size(), "Scale: input ", in, ", weight ", weight_.shape());
    return in;
  }
  template <int Rank>
  Tensor<T, Rank> forward(const TensorView<const T, Rank>& x) const {
    auto y = Tensor<T, Rank>::uninitialized(output_shape(x.shape()));
    for (Index i = 0; i < x.size(); ++i) y[i] = weight_.value()[i % weight_.size()] * x[i];
    return y;
  }
  template <int Rank>
  Tensor<T, Rank> forward(const TensorView<const T, Rank>& x, Cache& cache) const {
    cache.x = x.as_rows();
    return forward(x);
  }
  template <int Rank>
  Tensor<T, Rank> backward(const TensorView<const T, Rank>& dy, Cache& cache) {
    count_[0] += T(1);
    for (Index i = 0; i < dy.size(); ++i) weight_.gradient()[i % weight_.size()] += dy[i] * cache.x[i];
    return forward(dy);
  }
  template <class U>
  Scale<U> rebind() const {
    return this->template rebound<Scale<U>>(weight_.size());
  }
  template <class Self, class V>
  static void describe_members(Self& self, V& visitor) {
    visitor.kind("Scale");
    visitor.option("features", self.weight_.size());
    visitor.parameter("weight", self.weight_);
    visitor.buffer("count", self.count_);
  }

 private:
  Parameter<T> weight_;
  Tensor<T, 1> count_;
};
static_assert(Layer<Scale<float>>);

/// Two children, one inside the other's name.
template <class T>
class Pair : public LayerBase<Pair<T>> {
 public:
  using scalar = T;
  explicit Pair(Index features, Index second = 0) : first_(features), second_(second ? second : features), bias_({2}) {}
  template <class Self, class V>
  static void describe_members(Self& self, V& visitor) {
    visitor.kind("Pair");
    visitor.option("names", "first, second");
    visitor.child("first", self.first_);
    visitor.parameter("bias", self.bias_);
    visitor.child("second", self.second_);
  }

 private:
  Scale<T> first_, second_;
  Parameter<T> bias_;
};

/// The whole walk in words.
template <class T>
struct Transcript : Visitor<T> {
  std::string words;
  using Visitor<T>::parameter;
  using Visitor<T>::buffer;
  using Visitor<T>::option;
  void kind(std::string_view name) override { words += this->path() + '<' + std::string(name) + "> "; }
  void option(std::string_view name, const std::string& value) override { words += this->path_of(name) + '=' + value + ' '; }
  void parameter(std::string_view name, const Parameter<T>& p) override { words += this->path_of(name) + ':' + text(p.shape()) + ' '; }
  void buffer(std::string_view name, const Tensor<T, 1>& b) override { words += this->path_of(name) + '[' + text(b.shape()) + "] "; }
};

}  // namespace

TEST_CASE("describe walks kinds, options, parameters, buffers and children in order, const or not") {
  Pair<float> pair(3);
  Transcript<float> transcript;
  pair.describe(transcript);
  CHECK(transcript.words ==
        "<Pair> names=first, second first<Scale> first.features=3 first.weight:3 first.count[1] bias:2 "
        "second<Scale> second.features=3 second.weight:3 second.count[1] ");
  Transcript<float> of_const;
  std::as_const(pair).describe(of_const);
  CHECK(of_const.words == transcript.words);
  CHECK(of_const.path() == "");
}

TEST_CASE("named parameters and buffers point into the model") {
  Pair<float> pair(3);
  const auto parameters = named_parameters(pair);
  REQUIRE(parameters.size() == 3);
  CHECK(parameters[0].name == "first.weight");
  CHECK(parameters[1].name == "bias");
  CHECK(parameters[2].name == "second.weight");
  parameters[2].parameter->value()[1] = 5;
  std::vector<std::string> names;
  pair.parameters([&](const std::string& name, Parameter<float>& p) {
    names.push_back(name);
    if (name == "second.weight") CHECK(p.value()[1] == 5);
  });
  CHECK(names == std::vector<std::string>{"first.weight", "bias", "second.weight"});
  CHECK(named_buffers(pair).at(1).name == "second.count");
  CHECK(pair.parameter_count() == 8);
}

TEST_CASE("gradients add up over batches and are set to zero together") {
  Scale<float> layer(2);
  Scale<float>::Cache cache;
  Tensor<float, 2> x({1, 2}), dy({1, 2});
  x(0, 0) = 3;
  dy.fill(1);
  for (int batch = 0; batch < 2; ++batch) {
    layer.forward(x, cache);
    layer.backward(dy, cache);
  }
  Parameter<float>& weight = *named_parameters(layer)[0].parameter;
  CHECK(weight.gradient()[0] == 6);
  layer.zero_gradients();
  CHECK(weight.gradient()[0] == 0);
  layer.freeze();
  CHECK(weight.frozen());
  layer.freeze(false);
  CHECK_FALSE(weight.frozen());
}

TEST_CASE("parameters, buffers and frozen marks go to a model over another scalar") {
  Pair<float> from(2);
  named_parameters(from)[0].parameter->value()[1] = 0.5f;
  named_parameters(from)[1].parameter->freeze();
  (*named_buffers(from)[0].buffer)[0] = 4;
  Pair<double> to(2);
  copy_parameters(from, to);
  CHECK(named_parameters(to)[0].parameter->value()[1] == 0.5);
  CHECK(named_parameters(to)[1].parameter->frozen());
  CHECK((*named_buffers(to)[0].buffer)[0] == 4);
  Pair<double> misfit(2, 3);
  named_parameters(misfit)[0].parameter->value()[1] = 7;
  CHECK_THROWS_WITH(copy_parameters(from, misfit),
      contains("second.weight is 2 in the model that is copied, second.weight is 3 in the other; nothing is copied"));
  CHECK(named_parameters(misfit)[0].parameter->value()[1] == 7);
  Scale<double> other(2);
  CHECK_THROWS_WITH(copy_parameters(from, other), contains("3 and 1 parameters"));
}

TEST_CASE("rebinding keeps the values and draws no initial numbers") {
  Scale<float> layer(2);
  named_parameters(layer)[0].parameter->value()[0] = 0.25f;
  const auto draws = context().init_draws;
  auto rebound = layer.rebind<double>();
  CHECK(context().init_draws == draws);
  CHECK(named_parameters(rebound)[0].parameter->value()[0] == 0.25);
}

TEST_CASE("the check of backward names the layer and both shapes") {
  CHECK_NOTHROW(require_gradient_shape("Scale", {4, 2}, {4, 2}, 4));
  CHECK_THROWS_WITH(require_gradient_shape("Scale", {3, 2}, {3, 2}, 4), contains("Scale: dy is 3x2") && contains("4 rows of 2 features"));
  CHECK_THROWS_AS(require_gradient_shape("Scale", {4, 3}, {4, 2}, 4), ShapeError);
  CHECK_THROWS_WITH(require_gradient_shape("Scale", Shape(), Shape(), 1), contains("Scale: dy is empty"));
  CHECK(replace_features({4, 2}, 7) == Shape{4, 7});
}

TEST_CASE("a cache that no forward has filled is noticed, be it of views, shapes, tensors or a mark") {
  TensorView<const float, 2> view;  // rows() and features() of nothing are 1
  CHECK_THROWS_WITH(require_gradient_shape("Scale", {1, 1}, {1, 1}, view, 1), contains("Scale: backward follows one forward(x, cache)"));
  const float element = 0;
  view = {&element, {1, 1}};
  CHECK_NOTHROW(require_gradient_shape("Scale", {1, 1}, {1, 1}, view, 1));
  CHECK_THROWS_AS(require_gradient_shape("Scale", {2, 1}, {2, 1}, view, 1), ShapeError);
  CHECK_THROWS(require_filled("Scale", Shape()));
  CHECK_NOTHROW(require_filled("Scale", Shape{0}));
  Tensor<float, 2> kept({0, 3});
  CHECK_NOTHROW(require_filled("Scale", kept));  // an empty batch
  kept.release();
  CHECK_THROWS(require_filled("Scale", kept));
  CHECK_THROWS(require_filled("Scale", false));
  CHECK_NOTHROW(require_filled("Scale", true));

  CHECK_THROWS_WITH(
      require_gradient_shape("Scale", {1, 1}, {1, 1}, view, 2), contains("has seen an input of 1 features, this layer takes 2"));
}
