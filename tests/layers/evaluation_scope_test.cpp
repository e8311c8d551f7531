// SPDX-License-Identifier: MIT
#include "catch.hpp"

#include <heed/compose/sequential.hpp>
#include <heed/layers/attention_fusion.hpp>
#include <heed/layers/batch_norm1d.hpp>
#include <heed/layers/batch_norm2d.hpp>
#include <heed/layers/dropout.hpp>
#include <heed/layers/multi_head_attention.hpp>
#include <heed/layers/relu.hpp>
#include <heed/layers/scaled_dot_product_attention.hpp>
#include <heed/layers/transformer_encoder_layer.hpp>
#include <heed/testing/check_gradients.hpp>

#include "reference/random_tensor.hpp"

using namespace heed;
using reference::largest_difference;
using reference::random_tensor;

namespace {

/// Running statistics and parameters of no special kind.
template <class Model>
Model with_history(Model model) {
  model = reference::with_random_parameters(std::move(model), 3);
  for (auto& [name, buffer] : named_buffers(model))
    for (Index i = 0; i < buffer->size(); ++i) (*buffer)[i] = 0.5 + 0.1 * static_cast<double>(i);
  return model;
}

template <int Rank, class Model>
void check_evaluation(Model model, const Shape& shape) {
  const Tensor<double, Rank> x = random_tensor<double, Rank>(shape, 5);
  const auto inferred = model.forward(x);
  typename Model::Cache cache;
  CHECK(largest_difference(model.forward(x, cache), inferred) > 1e-3);  // training is another thing

  std::vector<Tensor<double, 1>> before;
  for (auto& [name, buffer] : named_buffers(model)) before.push_back(*buffer);
  {
    const EvaluationScope scope;
    CHECK(largest_difference(model.forward(x, cache), inferred) < 1e-12);
    static_cast<void>(model.backward(random_tensor<double, Rank>(inferred.shape(), 6), cache));
    const auto report = check_gradients(model, shape);
    INFO(report.to_string());
    CHECK(report.passed());
  }
  std::size_t k = 0;
  for (auto& [name, buffer] : named_buffers(model)) CHECK(reference::same_bits(*buffer, before[k++]));
  CHECK(largest_difference(model.forward(x, cache), inferred) > 1e-3);

  // A pass that began under the scope goes back as it went forward, also outside of it.
  const auto dy = random_tensor<double, Rank>(inferred.shape(), 7);
  typename Model::Cache inside, outside;
  Tensor<double, Rank> expected;
  {
    const EvaluationScope scope;
    static_cast<void>(model.forward(x, inside));
    expected = model.backward(dy, inside);
    static_cast<void>(model.forward(x, outside));
  }
  CHECK(largest_difference(model.backward(dy, outside), expected) < 1e-12);
}

}  // namespace

TEST_CASE("under an EvaluationScope a training pass is inference, with its gradient, and leaves statistics alone") {
  check_evaluation<3>(with_history(Sequential(Dropout<double>({.p = 0.4}))), {4, 3, 6});
  check_evaluation<3>(
      with_history(Sequential(BatchNorm1d<double>({.num_features = 6}), Relu<double>())), {4, 3, 6});  // one pass over memory
  check_evaluation<4>(with_history(BatchNorm2d<double>({.num_features = 3, .shard_size = 2})), {4, 2, 2, 3});
  check_evaluation<3>(with_history(MultiHeadAttention<double>({.embed_dim = 6, .num_heads = 2, .dropout = 0.4})), {2, 4, 6});
  check_evaluation<3>(with_history(AttentionFusion<double>({.features = 6, .num_heads = 2, .tokens = 4, .dropout = 0.4})), {2, 4, 6});
  check_evaluation<3>(
      with_history(TransformerEncoderLayer<double>({.d_model = 6, .nhead = 2, .dim_feedforward = 8, .dropout = 0.4})), {2, 4, 6});
}

TEST_CASE("without running statistics inference takes its input's own, and so does a training pass under an EvaluationScope") {
  BatchNorm1d<double> norm({.num_features = 3, .track_running_stats = false});
  const Tensor<double, 2> x = random_tensor<double, 2>({5, 3}, 8);
  const EvaluationScope scope;
  BatchNorm1d<double>::Cache cache;
  CHECK(largest_difference(norm.forward(x, cache), norm.forward(x)) < 1e-12);
}

TEST_CASE("attention by itself drops nothing under an EvaluationScope") {
  ScaledDotProductAttention<double> attention({.dropout = 0.5});
  const Tensor<double, 4> q = random_tensor<double, 4>({1, 2, 5, 3}, 1);
  ScaledDotProductAttention<double>::Cache cache;
  CHECK(largest_difference(attention.forward<4>(q, q, q, cache), attention.forward<4>(q, q, q)) > 1e-3);
  const EvaluationScope scope;
  CHECK(largest_difference(attention.forward<4>(q, q, q, cache), attention.forward<4>(q, q, q)) < 1e-12);
}

TEST_CASE("the scopes of evaluation nest, and belong to their thread") {
  CHECK_FALSE(context().evaluation);
  {
    const EvaluationScope outer;
    {
      const EvaluationScope inner;
      CHECK(context().evaluation);
    }
    CHECK(context().evaluation);
  }
  CHECK_FALSE(context().evaluation);
}
