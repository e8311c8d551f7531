// SPDX-License-Identifier: MIT
// Under an AnomalyScope composed models name the layer that first gave a NaN or an infinity.
#include "catch.hpp"

#include <cmath>
#include <limits>
#include <vector>

#include <heed/compose/residual.hpp>
#include <heed/compose/sequential.hpp>
#include <heed/compose/stack.hpp>
#include <heed/layers/batch_norm1d.hpp>
#include <heed/layers/conv2d.hpp>
#include <heed/layers/embedding.hpp>
#include <heed/layers/flatten.hpp>
#include <heed/layers/gelu.hpp>
#include <heed/layers/linear.hpp>
#include <heed/optim/sgd.hpp>
#include <heed/train/trainer.hpp>

using namespace heed;

namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

/// y = x, and what it is told to spoil.
class Spoiler : public LayerBase<Spoiler> {
 public:
  using scalar = float;
  struct Cache {};
  enum What { nothing, output, input_gradient, weight_gradient, weight };

  explicit Spoiler(What what) : what_(what), weight_({3}) {
    if (what == weight) weight_.value()[1] = kInfinity;
  }
  Shape output_shape(const Shape& in) const { return in; }
  template <int Rank>
  Tensor<float, Rank> forward(const TensorView<const float, Rank>& x) const {
    Tensor<float, Rank> y(x);
    if (what_ == output) y[4] = std::nanf("");
    if (what_ == weight) y[5] = weight_.value()[1];
    return y;
  }
  template <int Rank>
  Tensor<float, Rank> forward(const TensorView<const float, Rank>& x, Cache&) const {
    return forward(x);
  }
  template <int Rank>
  Tensor<float, Rank> forward(Tensor<float, Rank>&& x, Cache& cache) const = delete;
  template <int Rank>
  Tensor<float, Rank> backward(const TensorView<const float, Rank>& dy, Cache&) {
    Tensor<float, Rank> dx(dy);
    if (what_ == input_gradient) dx[2] = -kInfinity;
    if (what_ == weight_gradient) weight_.gradient()[2] = kInfinity;
    return dx;
  }
  template <class Self, class V>
  static void describe_members(Self& self, V& visitor) {
    visitor.kind("Spoiler");
    visitor.parameter("weight", self.weight_);
  }

 private:
  What what_;
  Parameter<float> weight_;
};

/// A spoiler in the middle of everything that composes, between layers that spread what it gives.
auto net(Spoiler::What what) {
  const SeedScope seed(1);
  const auto linear = [] { return Linear<float>({.in_features = 6, .out_features = 6}); };
  std::vector<decltype(Sequential(linear(), Spoiler(what)))> blocks;
  blocks.push_back(Sequential(linear(), Spoiler(Spoiler::nothing)));
  blocks.push_back(Sequential(linear(), Spoiler(what)));
  return Sequential(named("in", linear()), named("norm", BatchNorm1d<float>({.num_features = 6})), named("gelu", Gelu<float>()),
      named("body", Residual(Stack(std::move(blocks)))), named("out", linear()));
}
Tensor<float, 2> input() {
  Tensor<float, 2> x({4, 6});
  for (Index i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i % 7) - 3;
  return x;
}
/// Forward and backward; the sentence, or "" if there was none.
std::string sentence(Spoiler::What what, bool watched) {
  auto model = net(what);
  decltype(model)::Cache cache;
  const auto x = input();
  std::optional<AnomalyScope> scope;
  if (watched) scope.emplace();
  try {
    const auto y = model.forward(x, cache);
    static_cast<void>(model.backward(y, cache));
  } catch (const AnomalyError& error) {
    return error.what();
  }
  return "";
}

}  // namespace

TEST_CASE("the layer that first gives a number that is none is named, with its path") {
  CHECK(sentence(Spoiler::nothing, true) == "");
  CHECK(sentence(Spoiler::output, true) == "body.branch.1.1: forward gives nan at element 4 of 4x6; what it was given was finite");
  CHECK(
      sentence(Spoiler::input_gradient, true) == "body.branch.1.1: backward gives -inf at element 2 of 4x6; what it was given was finite");
  CHECK(sentence(Spoiler::weight_gradient, true) ==
        "body.branch.1.1: backward gives a gradient of weight that is inf at element 2 of 3; what it was given was finite");
  CHECK(sentence(Spoiler::weight, true) ==
        "body.branch.1.1: forward gives inf, since its weight holds inf at element 1 of 3: an earlier step made it so");
  for (const auto what : {Spoiler::output, Spoiler::input_gradient, Spoiler::weight_gradient, Spoiler::weight})
    CHECK(sentence(what, false) == "");
}

TEST_CASE("inference is watched, too, and the scope ends") {
  const auto model = net(Spoiler::output);
  const auto x = input();
  {
    const AnomalyScope scope;
    CHECK_THROWS_WITH(model.forward(x), "body.branch.1.1: forward gives nan at element 4 of 4x6; what it was given was finite");
  }
  CHECK_NOTHROW(model.forward(x));
}

TEST_CASE("Stack and Residual watch layers that compose nothing") {
  const auto x = input();
  const AnomalyScope scope;
  const auto said = [&](auto model) {
    typename decltype(model)::Cache cache;
    try {
      static_cast<void>(model.forward(x));
      const auto y = model.forward(x, cache);
      static_cast<void>(model.backward(y, cache));
    } catch (const AnomalyError& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  const auto stack = [](Spoiler::What what) { return Stack(std::vector{Spoiler(Spoiler::nothing), Spoiler(what)}); };
  CHECK_THAT(said(stack(Spoiler::output)), contains("1: forward gives nan"));
  CHECK_THAT(said(stack(Spoiler::input_gradient)), contains("1: backward gives -inf"));
  CHECK_THAT(said(Residual(Spoiler(Spoiler::output))), contains("branch: forward gives nan"));
  CHECK_THAT(said(Residual(Spoiler(Spoiler::weight_gradient))), contains("branch: backward gives a gradient of weight"));
  for (const bool stacked : {true, false}) {  // the training pass by itself
    Stack<Spoiler> blocks = stack(Spoiler::output);
    Residual residual{Spoiler(Spoiler::output)};
    Stack<Spoiler>::Cache stack_cache;
    Residual<Spoiler>::Cache residual_cache;
    if (stacked)
      CHECK_THROWS_AS(blocks.forward(x, stack_cache), AnomalyError);
    else
      CHECK_THROWS_AS(residual.forward(x, residual_cache), AnomalyError);
  }
}

TEST_CASE("layers that run in one pass are watched") {
  const SeedScope seed(1);
  auto model = Sequential(named("norm", BatchNorm1d<float>({.num_features = 6})), named("gelu", Gelu<float>()));
  decltype(model)::Cache cache;
  auto x = input();
  x[7] = kInfinity;
  const AnomalyScope scope;
  CHECK_THROWS_WITH(model.forward(x, cache), contains("norm: forward gives nan at element 1 of 4x6"));
  x[7] = 0;
  const auto y = model.forward(x, cache);
  auto dy = Tensor<float, 2>(y.shape());
  dy[3] = kInfinity;
  CHECK_THROWS_WITH(model.backward(dy, cache), contains("gelu: backward gives a gradient of "));
}

TEST_CASE("training stops before a gradient that is no number reaches a weight") {
  const auto x = input();
  const std::vector<int> labels{0, 1, 2, 3};
  const auto run = [&](Spoiler::What what, double most) {
    auto model = net(what);
    Sgd<float> optimizer(named_parameters(model), {.learning_rate = 0.1});
    Trainer trainer(model, CrossEntropyLoss<float>(), optimizer, ConstantSchedule{}, {.max_gradient_norm = most, .first_step = 12});
    std::vector<float> before, after;
    const auto weights = [&](std::vector<float>& to) {
      for (const auto& [name, p] : named_parameters(model)) to.insert(to.end(), p->value(), p->value() + p->size());
    };
    weights(before);
    std::string said;
    try {
      trainer.step(x, labels);
    } catch (const AnomalyError& error) {
      said = error.what();
    }
    weights(after);
    CHECK((said.empty() || before == after));
    return said;
  };
  for (const double most : {1.0, std::numeric_limits<double>::infinity()}) {
    CHECK(run(Spoiler::nothing, most) == "");
    CHECK_THAT(run(Spoiler::weight_gradient, most),
        contains("Trainer: the gradient of body.branch.1.1.weight is inf at element 2 of 3, at step 12; "));
    CHECK_THAT(run(Spoiler::input_gradient, most), contains("Trainer: the gradient of in.weight is nan at element 0 of 6x6, at step 12; "));
    CHECK_THAT(run(Spoiler::output, most), contains("Trainer: the loss is nan at step 12; "));
    const AnomalyScope scope;
    CHECK(run(Spoiler::input_gradient, most) ==
          "body.branch.1.1: backward gives -inf at element 2 of 4x6; what it was given was finite, at step 12");
    CHECK_THAT(run(Spoiler::weight, most), contains("an earlier step made it so, at step 12"));
    CHECK_THAT(run(Spoiler::weight_gradient, most), contains("; what it was given was finite, at step 12"));
  }

  auto model = net(Spoiler::nothing);
  Sgd<float> optimizer(named_parameters(model), {.learning_rate = 0.1});
  Trainer trainer(model, CrossEntropyLoss<float>(), optimizer);
  auto broken = input();
  broken[9] = kInfinity;
  const AnomalyScope scope;
  CHECK_THROWS_WITH(trainer.step(broken, labels), "Trainer: the batch holds inf at element 9 of 4x6, at step 0");
}

TEST_CASE("a first layer that has no gradient of its input to give is no anomaly") {
  const AnomalyScope scope;
  Sequential net(Conv2d<float>({.in_channels = 1, .out_channels = 2, .kernel_size = 2, .input_gradient = false}), Flatten<float>());
  const Tensor<float, 4> image({1, 2, 2, 1});
  decltype(net)::Cache cache;
  net.forward(image, cache);
  CHECK_NOTHROW(net.backward(Tensor<float, 2>({1, 2}), cache));
  Sequential words(Embedding<float>({.num_embeddings = 3, .embedding_dim = 2}), Linear<float>({2, 2}));
  const Tensor<std::int64_t, 2> ids({1, 4});
  decltype(words)::Cache of_words;
  words.forward(ids, of_words);
  CHECK_NOTHROW(words.backward(Tensor<float, 3>({1, 4, 2}), of_words));
}
