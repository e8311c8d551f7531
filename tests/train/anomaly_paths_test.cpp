// SPDX-License-Identifier: MIT
// Under an AnomalyScope composed models name the layer that first gave a NaN or an infinity.
#include "catch.hpp"

#include <cmath>
#include <limits>
#include <vector>

#include <heed/compose/residual.hpp>
#include <heed/compose/sequential.hpp>
#include <heed/compose/stack.hpp>
#include <heed/layers/attention_fusion.hpp>
#include <heed/layers/batch_norm1d.hpp>
#include <heed/layers/conv2d.hpp>
#include <heed/layers/dropout.hpp>
#include <heed/layers/embedding.hpp>
#include <heed/layers/flatten.hpp>
#include <heed/layers/gelu.hpp>
#include <heed/layers/linear.hpp>
#include <heed/layers/transformer_encoder_layer.hpp>
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

/// y = 1 / x
class Inverse : public LayerBase<Inverse> {
 public:
  using scalar = float;
  [[maybe_unused]] static constexpr int input_rank = 2;
  struct Cache {};

  Shape output_shape(const Shape& in) const { return in; }
  Tensor<float, 2> forward(const TensorView<const float, 2>& x) const {
    Tensor<float, 2> y(x);
    for (Index i = 0; i < y.size(); ++i) y[i] = 1 / y[i];
    return y;
  }
  Tensor<float, 2> forward(const TensorView<const float, 2>& x, Cache&) const { return forward(x); }
  Tensor<float, 2> forward(Tensor<float, 2>&& x, Cache& cache) const = delete;
  Tensor<float, 2> backward(const TensorView<const float, 2>& dy, Cache&) { return Tensor<float, 2>(dy); }
  template <class Self, class V>
  static void describe_members(Self&, V& visitor) {
    visitor.kind("Inverse");
  }
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
      if (what == Spoiler::output)  // no backward pass: running statistics, too
        for (const auto& [name, b] : named_buffers(model)) to.insert(to.end(), b->data(), b->data() + b->size());
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
    CHECK_THAT(run(Spoiler::input_gradient, most),
        contains("Trainer: the gradient of body.branch.1.0.bias is -inf at element 2 of 6, at step 12; "));
    CHECK(run(Spoiler::output, most) ==
          "body.branch.1.1: forward gives nan at element 4 of 4x6; what it was given was finite, at step 12. Trainer: the loss is nan at "
          "step 12; "
          "a smaller learning rate or gradient clipping may help");
    CHECK_THAT(run(Spoiler::weight, most),
        contains("since its weight holds inf at element 1 of 3: an earlier step made it so, at step 12. Trainer: the loss is "));
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

namespace {
/// What one step on this batch throws.
template <class Model, class Loss>
std::string step_says(Model model, const Loss& loss, const Tensor<float, 2>& x, const TrainerOptions& options) {
  Sgd<float> optimizer(named_parameters(model), {.learning_rate = 0.1});
  Trainer<Model, Loss> trainer(model, loss, optimizer, ConstantSchedule{}, options);
  try {
    trainer.step(x, std::vector<int>{0, 1, 2, 3});
  } catch (const AnomalyError& error) {
    return error.what();
  }
  return "";
}
}  // namespace

TEST_CASE("the sentence of a loss that is no number is that of the very pass that gave it") {
  Tensor<float, 2> ones({4, 6});
  ones.fill(1);
  for (Index step = 0; step < 12; ++step) {  // what is dropped becomes infinite: a pass that draws otherwise would name another element
    const auto model = Sequential(named("drop", Dropout<float>({.p = 0.2})), named("inverse", Inverse()),
        named("out", Linear<float>({.in_features = 6, .out_features = 6})));
    const auto says = [&] { return step_says(model, CrossEntropyLoss<float>(), ones, {.seed = 3, .first_step = step}); };
    const std::string found = says();
    const AnomalyScope scope;
    CHECK_THAT(found, contains("inverse: forward gives inf at element "));
    CHECK(found == text(says(), ". Trainer: the loss is nan at step ", step, "; a smaller learning rate or gradient clipping may help"));
  }
}

TEST_CASE("the sentence of a loss that is no number, of a shard, of the batch and of the loss itself") {
  auto broken = input();
  broken[9] = kInfinity;
  const auto model = net(Spoiler::nothing);
  CHECK_THAT(step_says(model, CrossEntropyLoss<float>(), broken, {}),
      contains("Trainer: the batch holds inf at element 9 of 4x6, at step 0. Trainer: the loss is nan at step 0; "));
  std::swap(broken[9], broken[21]);
  CHECK_THAT(step_says(model, CrossEntropyLoss<float>(), broken, {.shards = 2}),
      contains("Trainer: the batch holds inf at element 9 of 2x6, at step 0. Trainer: the loss is nan at step 0; "));
  const auto no_number = [](const auto&, const auto&, auto&) { return std::nan(""); };
  CHECK(step_says(model, no_number, input(), {}) ==
        "Trainer: the loss is nan at step 0; a smaller learning rate or gradient clipping may help");
}

namespace {
/// A block's children and their children, each with an infinite weight in its turn: the sentence is the child's.
template <class Layer>
void check_parts(const Layer& layer) {
  Tensor<float, 3> x({2, 6, 8});
  for (Index i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i * 5 % 13) / 7 - 1;
  Sequential reference(named("block", layer));
  for (const auto& [name, unused] : named_parameters(reference)) {
    Sequential model(reference);
    for (auto& [own, parameter] : named_parameters(model))
      if (own == name) parameter->value()[0] = kInfinity;
    // A bias of relative positions gives nothing itself: attention does.
    const std::size_t dot = name.rfind(name.find(".relative.") == std::string::npos ? "." : ".relative.");
    const auto says = contains(text(name.substr(0, dot), ": forward gives "));
    const auto since = contains(text(", since its ", name.substr(dot + 1), " holds inf at element 0 of "));
    typename decltype(model)::Cache cache;
    const AnomalyScope scope;
    INFO(name);
    CHECK_THROWS_WITH(model.forward(x), says && since);
    CHECK_THROWS_WITH(model.forward(x, cache), says && since);
  }
}
/// The sentence of a backward pass whose gradients begin with this number.
template <class Layer>
std::string backward_says(const Layer& layer, float dy) {
  Sequential model(named("block", layer));
  typename decltype(model)::Cache cache;
  const AnomalyScope scope;
  Tensor<float, 3> x({2, 6, 8}), gradient(x.shape());
  for (Index i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i * 5 % 13) / 7 - 1;
  model.forward(x, cache);
  gradient.fill(dy);
  try {
    model.backward(gradient, cache);
  } catch (const AnomalyError& error) {
    return error.what();
  }
  return "";
}
/// Every weight whose name ends so becomes the number.
template <class Layer>
void fill(Layer& layer, const std::string& name, float number) {
  for (auto& [own, parameter] : named_parameters(layer))
    if (own == name) std::fill_n(parameter->value(), parameter->size(), number);
}
}  // namespace

TEST_CASE("of a layer that is made of others the part is named") {
  const SeedScope seed(1);
  for (const bool first : {true, false})
    check_parts(TransformerEncoderLayer<float>({.d_model = 8, .nhead = 2, .dim_feedforward = 12, .dropout = 0, .norm_first = first}));
  check_parts(MultiHeadAttention<float>({.embed_dim = 8, .num_heads = 2}));
  const AttentionFusionOptions options{.features = 8,
      .num_heads = 2,
      .tokens = 6,
      .position = PositionKind::learned,
      .relative_bias = true,
      .qkv_bias = true,
      .out_weight = Initializer::normal};
  check_parts(AttentionFusion<float>(options));
}

TEST_CASE("of a layer that is made of others the part whose gradient is no number is named") {
  const SeedScope seed(1);
  constexpr float kHuge = 1e38f;
  const auto encoder = [](bool first) {
    return TransformerEncoderLayer<float>({.d_model = 8, .nhead = 2, .dim_feedforward = 12, .dropout = 0, .norm_first = first});
  };
  CHECK(backward_says(encoder(true), 1) == "");
  CHECK(backward_says(encoder(false), 1) == "");
  CHECK_THAT(backward_says(encoder(true), kHuge), contains("block.linear2: backward gives a gradient of "));
  CHECK_THAT(backward_says(encoder(false), kHuge), contains("block.norm2: backward gives a gradient of "));
  auto steep = encoder(true);
  steep.freeze();
  fill(steep, "linear2.weight", 1e20f), fill(steep, "linear1.weight", 1e10f);
  CHECK_THAT(backward_says(steep, 1e10f), contains("block.linear1: backward gives inf"));
  fill(steep, "linear2.weight", 0), fill(steep, "self_attn.out_proj.weight", 1e10f);
  CHECK_THAT(backward_says(steep, 1e30f), contains("block.self_attn.out_proj: backward gives inf"));
  CHECK_THAT(backward_says(MultiHeadAttention<float>({.embed_dim = 8, .num_heads = 2}), kHuge),
      contains("block.out_proj: backward gives a gradient of "));

  AttentionFusion<float> fusion(
      {.features = 8, .num_heads = 2, .tokens = 6, .attention = AttentionKind::uniform, .out_weight = Initializer::ones});
  CHECK(backward_says(fusion, 1) == "");
  CHECK_THAT(backward_says(fusion, kHuge), contains("block.out: backward gives a gradient of "));
  fusion.freeze();
  fill(fusion, "qkv.weight", 1e10f);
  CHECK_THAT(backward_says(fusion, 1e30f), contains("block.qkv: backward gives inf"));
}

TEST_CASE("a sum that leaves the numbers is not laid at the door of the norm behind it") {
  TransformerEncoderLayer<float> layer({.d_model = 8, .nhead = 2, .dim_feedforward = 12, .dropout = 0});
  fill(layer, "self_attn.in_proj_weight", 0), fill(layer, "self_attn.out_proj.bias", 3e38f);
  const Sequential model(named("block", layer));
  Tensor<float, 3> x({1, 2, 8});
  x.fill(1e38f);
  const AnomalyScope scope;
  CHECK_THROWS_WITH(model.forward(x), contains("block: adding a branch gives inf at element 0 of 1x2x8"));
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
