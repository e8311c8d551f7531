// SPDX-License-Identifier: MIT
#include "catch.hpp"
#include "reference/random_tensor.hpp"

#include <array>

#include <heed/compose/any_layer.hpp>
#include <heed/compose/sequential.hpp>
#include <heed/layers/embedding.hpp>
#include <heed/layers/linear.hpp>
#include <heed/testing/check_gradients.hpp>

using namespace heed;
using reference::random_tensor;
using reference::same_bits;
using reference::with_random_parameters;

namespace {

/// x as (1, tokens).
Tensor<std::int64_t, 2> tokens(std::initializer_list<std::int64_t> x) {
  Tensor<std::int64_t, 2> result({1, static_cast<Index>(x.size())});
  std::copy(x.begin(), x.end(), result.data());
  return result;
}

}  // namespace

TEST_CASE("embedding is certified") {
  const auto check = [](const EmbeddingOptions& options, const Shape& shape) {
    const auto layer = with_random_parameters(Embedding<double>(options), 1);
    const auto report = check_gradients(layer, shape, {.input_high = static_cast<double>(options.num_embeddings)});
    INFO(report.to_string());
    CHECK(report.passed());
  };
  for (Index width : {1, 3, 8, 17}) check({.num_embeddings = 5, .embedding_dim = width}, {2, 7});
  check({.num_embeddings = 1, .embedding_dim = 4}, {1, 1});
  check({.num_embeddings = 40, .embedding_dim = 4}, {2, 3});  // rows that are never looked up
}

TEST_CASE("a model that starts with an embedding is certified, alone and type-erased") {
  const Sequential model(
      Embedding<double>({.num_embeddings = 6, .embedding_dim = 5}), Linear<double>({.in_features = 5, .out_features = 3}));
  static_assert(std::is_same_v<decltype(model)::input_scalar, std::int64_t> && decltype(model)::input_rank == 2);
  const auto report = check_gradients(model, Shape{3, 4}, {.input_high = 6});
  INFO(report.to_string());
  CHECK(report.passed());

  using Any = AnyLayer<double, 2, 3, std::int64_t>;
  const Any any(model);
  const auto x = tokens({0, 5, 2, 2});
  CHECK(same_bits(any.forward(x), model.forward(x)));
  CHECK(any.output_shape({1, 4}) == Shape{1, 4, 3});
}

TEST_CASE("the padding row starts at zero, is read, and gets no gradient") {
  for (Index padding : {1, -2}) {
    Embedding<float> layer({.num_embeddings = 3, .embedding_dim = 2, .padding_idx = padding});
    CHECK(layer.options().padding_idx == 1);
    CHECK(layer.weight().value()[2] == 0);
    CHECK(layer.weight().value()[3] == 0);
    CHECK(layer.weight().value()[4] != 0);
    layer.weight().value()[2] = 7;
    Embedding<float>::Cache cache;
    const auto x = tokens({1, 2, 1, 0, 2});
    const auto y = layer.forward(x, cache);
    CHECK(y(0, 0, 0) == 7);
    Tensor<float, 3> dy({1, 5, 2});
    dy.fill(1);
    CHECK(layer.backward(dy, cache).empty());
    const float expected[] = {1, 1, 0, 0, 2, 2};
    for (int i = 0; i < 6; ++i) CHECK(layer.weight().gradient()[i] == expected[i]);
  }
}

TEST_CASE("the table starts as N(0, 1)") {
  const Embedding<float> layer({.num_embeddings = 100, .embedding_dim = 100});
  double sum = 0, squares = 0;
  for (Index i = 0; i < 10000; ++i) {
    const double w = static_cast<double>(layer.weight().value()[i]);
    sum += w, squares += w * w;
  }
  CHECK(std::abs(sum / 10000) < 0.04);  // four standard deviations
  CHECK(std::abs(squares / 10000 - 1) < 0.06);
}

TEST_CASE("numbers of any rank are looked up, whatever else is in the batch") {
  const Embedding<float> layer({.num_embeddings = 9, .embedding_dim = 20});
  Tensor<std::int64_t, 3> x({2, 3, 4});
  for (Index i = 0; i < x.size(); ++i) x[i] = i * 5 % 9;
  const auto y = layer.forward(x);
  CHECK(y.shape() == Shape{2, 3, 4, 20});
  CHECK(same_bits(layer.forward(x.slice(1, 2)), y.slice(1, 2)));
  CHECK(layer.forward(Tensor<std::int64_t, 1>({0})).shape() == Shape{0, 20});
}

TEST_CASE("a frozen table gets no gradient") {
  Embedding<float> layer({.num_embeddings = 3, .embedding_dim = 2});
  layer.freeze();
  Embedding<float>::Cache cache;
  const auto x = tokens({1, 2});
  layer.backward(layer.forward(x, cache), cache);
  CHECK(!layer.weight().has_gradient());
}

TEST_CASE("embedding says what does not fit") {
  Embedding<float> layer({.num_embeddings = 3, .embedding_dim = 2});
  CHECK_THROWS_WITH(layer.forward(tokens({0, 1, 3, 0})),
      contains("Embedding: element 2 of the input is 3, the table has the rows 0 ... 2 (input 1x4, weight 3x2)"));
  CHECK_THROWS_WITH(layer.forward(tokens({-1})), contains("Embedding: element 0 of the input is -1"));
  CHECK_THROWS_WITH(Embedding<float>({.num_embeddings = 3, .embedding_dim = 2, .padding_idx = 3}),
      contains("padding_idx is 3, the table has the rows 0 ... 2"));
  CHECK_THROWS(Embedding<float>({.num_embeddings = 3, .embedding_dim = 2, .padding_idx = -4}));
  CHECK_THROWS(Embedding<float>({.num_embeddings = 3}));
  CHECK_THROWS(Embedding<float>({.embedding_dim = 3}));
  Embedding<float>::Cache cache;
  CHECK_THROWS_WITH(layer.backward(Tensor<float, 3>({1, 1, 2}), cache), contains("Embedding: backward follows one forward"));
  const auto x = tokens({0, 1});
  layer.forward(x, cache);
  CHECK_THROWS_AS(layer.backward(Tensor<float, 3>({1, 3, 2}), cache), ShapeError);
  CHECK_THROWS_AS(layer.backward(Tensor<float, 3>({1, 2, 3}), cache), ShapeError);

  Embedding<float> large({.num_embeddings = 50000, .embedding_dim = 2});
  const auto far = tokens({40000});
  large.forward(far, cache);
  CHECK_THROWS_WITH(layer.backward(Tensor<float, 3>({1, 1, 2}), cache),
      contains("Embedding: the cache has seen ids outside of the table's rows 0 ... 2"));
}
