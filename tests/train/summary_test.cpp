// SPDX-License-Identifier: MIT
#include "catch.hpp"

#include <heed/compose/any_layer.hpp>
#include <heed/compose/residual.hpp>
#include <heed/compose/sequential.hpp>
#include <heed/compose/stack.hpp>
#include <heed/layers/embedding.hpp>
#include <heed/layers/flatten.hpp>
#include <heed/layers/gelu.hpp>
#include <heed/layers/linear.hpp>
#include <heed/train/summary.hpp>

using namespace heed;

namespace {

/// A composite that runs its child by itself and says nothing of shapes, but of its products.
class Closed : public LayerBase<Closed> {
 public:
  using scalar = float;
  [[maybe_unused]] static constexpr int input_rank = kAnyRank;
  struct Cache {
    Linear<float>::Cache linear;
  };
  Shape output_shape(const Shape& in) const { return linear_.output_shape(in); }
  double activation_products(const Shape& in) const { return 2.0 * static_cast<double>(in[-2] * in[-2] * in[-1]); }
  template <int Rank>
  Tensor<float, Rank> forward(const TensorView<const float, Rank>& x) const {
    return linear_.forward(x);
  }
  template <int Rank>
  Tensor<float, Rank> forward(const TensorView<const float, Rank>& x, Cache& cache) const {
    return linear_.forward(x, cache.linear);
  }
  template <int Rank>
  Tensor<float, Rank> backward(const TensorView<const float, Rank>& dy, Cache& cache) {
    return linear_.backward(dy, cache.linear);
  }
  template <class Self, class V>
  static void describe_members(Self& self, V& visitor) {
    visitor.kind("Closed");
    visitor.child("linear", self.linear_);
  }

 private:
  Linear<float> linear_{LinearOptions{.in_features = 8, .out_features = 8}};
};

/// Begins with a layer of half as many rows, and never asks its second child for a shape.
class Halved : public LayerBase<Halved> {
 public:
  using scalar = float;
  [[maybe_unused]] static constexpr int input_rank = kAnyRank;
  struct Cache {};
  Shape output_shape(const Shape& in) const {
    child_shape("half", half_, {in.rows() / 2, in.features()});
    return in;
  }
  template <int Rank>
  Tensor<float, Rank> forward(const TensorView<const float, Rank>& x) const {
    return Tensor<float, Rank>(x);
  }
  template <int Rank>
  Tensor<float, Rank> forward(const TensorView<const float, Rank>& x, Cache&) const {
    return Tensor<float, Rank>(x);
  }
  template <int Rank>
  Tensor<float, Rank> backward(const TensorView<const float, Rank>& dy, Cache&) {
    return Tensor<float, Rank>(dy);
  }
  template <class Self, class V>
  static void describe_members(Self& self, V& visitor) {
    visitor.kind("Halved");
    visitor.child("half", self.half_);
    visitor.child("other", self.other_);
  }

 private:
  Linear<float> half_{LinearOptions{.in_features = 8, .out_features = 8}}, other_{LinearOptions{.in_features = 8, .out_features = 8}};
};

const LayerSummary& layer_of(const ModelSummary& summary, const std::string& path) {
  for (const LayerSummary& layer : summary.layers)
    if (layer.path == path) return layer;
  FAIL("no layer " << path);
  return summary.layers.front();
}

}  // namespace

TEST_CASE("a summary knows shapes, parameters and multiply-adds of a composed model") {
  Sequential model(named("first", Linear<float>({.in_features = 6, .out_features = 8})), named("gelu", Gelu<float>()),
      named(
          "rest", AnyLayer<float, 3>(Sequential(Residual(Linear<float>({.in_features = 8, .out_features = 8, .bias = false})), Closed()))));
  model.get<0>().weight().freeze();
  const ModelSummary summary = summarize(model, token_shape(2, 5, 6));

  CHECK(summary.out == Shape{2, 5, 8});
  CHECK(layer_of(summary, "first").in == Shape{2, 5, 6});
  CHECK(layer_of(summary, "first").parameters == 6 * 8 + 8);
  CHECK(layer_of(summary, "first").frozen == 6 * 8);
  CHECK(layer_of(summary, "first").multiply_adds == 10 * 48);
  CHECK(layer_of(summary, "gelu").out == Shape{2, 5, 8});
  CHECK(layer_of(summary, "gelu").multiply_adds == 0);
  CHECK(layer_of(summary, "rest.0.branch").multiply_adds == 10 * 64);
  CHECK(layer_of(summary, "rest.1").multiply_adds == 2 * 25 * 8);
  CHECK(layer_of(summary, "rest.1.linear").out.rank() == 0);
  CHECK(layer_of(summary, "rest.1.linear").multiply_adds == 10 * 64);  // rows of the layer around it
  CHECK(layer_of(summary, "first").flops() == 2 * 10 * 48);
  CHECK(summary.parameters == model.parameter_count());
  CHECK(summary.frozen == 48);
  CHECK(summary.multiply_adds == 480 + 640 + 400 + 640);
  CHECK(summary.flops() == 2 * (480 + 640 + 400 + 640));
  // The frozen first weight needs no gradient, nor does the input.
  CHECK(summary.training_flops() == 2 * (480 + 3 * 640 + 3 * 400 + 3 * 640));
  CHECK(summary.activations == 10 * (8 + 8 + 8 + 8));
}

TEST_CASE("the table of a summary has one row for what cannot be looked into, and no row for composers") {
  Sequential model(named("first", Linear<float>({.in_features = 6, .out_features = 8})), named("closed", Closed()),
      named("branch", Residual(Linear<float>({.in_features = 8, .out_features = 8}))));
  const std::string table = summary_table(summarize(model, token_shape(1, 5, 6)));
  INFO(table);
  CHECK(table.find("first") != std::string::npos);
  CHECK(table.find("closed ") != std::string::npos);
  CHECK(table.find("closed.linear") == std::string::npos);
  CHECK(table.find("branch.branch  Linear") != std::string::npos);
  CHECK(table.find("Residual") == std::string::npos);
  CHECK(table.find("200 parameters (0 frozen)") != std::string::npos);
  const Sequential flat(named("flat", Flatten<float, 3>()), named("halved", Halved()));  // nobody asks for the shape of one half
  const std::string lines = summary_table(summarize(flat, token_shape(4, 2, 4)));
  CHECK(lines.substr(0, lines.find("\ninput")) ==
        "layer         kind     output  parameters  FLOPs\n"
        "------------------------------------------------\n"
        "flat          Flatten  4x8\n"
        "halved.half   Linear   2x8             72    256\n"
        "halved.other  Linear                   72    512\n"
        "------------------------------------------------");
}

TEST_CASE("a summary refuses an input that the model refuses, with the path") {
  Sequential model(named("first", Linear<float>({.in_features = 6, .out_features = 8})));
  CHECK_THROWS_WITH(summarize(model, token_shape(1, 5, 7)), contains("first: Linear: input has 7 features"));
  CHECK(context().shapes == nullptr);
}

TEST_CASE("numbers of a summary are short and have units") {
  CHECK(detail::short_number(0) == "0");
  CHECK(detail::short_number(12) == "12");
  CHECK(detail::short_number(1234, "B") == "1.23 kB");
  CHECK(detail::short_number(28.46e6, "FLOP") == "28.5 MFLOP");
  CHECK(detail::short_number(999.9e3) == "1.00 M");
  CHECK(detail::grouped(1234567) == "1,234,567");
  CHECK(detail::grouped(123) == "123");
}

TEST_CASE("a layer whose shape nobody asks for has the rows of the layer around it, not of the one before it") {
  const ModelSummary summary = summarize(Halved(), {10, 8});
  CHECK(layer_of(summary, "half").multiply_adds == 5.0 * 64);
  CHECK(layer_of(summary, "other").multiply_adds == 10.0 * 64);

  const Sequential model(
      named("first", Linear<float>({.in_features = 4, .out_features = 4})), named("flat", Flatten<float, 3>()), named("halved", Halved()));
  CHECK(layer_of(summarize(model, token_shape(4, 2, 4)), "halved.other").multiply_adds == 4.0 * 64);  // not 8, which the first layer has
}

TEST_CASE("tables that are looked up cost no products") {
  const Sequential model(named("embedding", Embedding<float>({.num_embeddings = 1000, .embedding_dim = 4})),
      named("head", Linear<float>({.in_features = 4, .out_features = 3})));
  const ModelSummary summary = summarize(model, {2, 5});
  CHECK(summary.parameters == 4000 + 15);
  CHECK(summary.flops() == 2.0 * 10 * 12);
}
