// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cmath>
#include <span>
#include <string>
#include <vector>

#include <heed/data/raster.hpp>
#include <heed/layers/attention_observer.hpp>

namespace heed::inline HEED_ABI {

/// The attention weights that one layer used.
template <class T>
struct CapturedAttention {
  std::string path;      ///< of the layer in the model
  Tensor<T, 4> weights;  ///< (batch, heads, queries, keys)
};

/// Runs `model.forward(x)` and returns the weights of every layer that attends, in the order in which they ran. Nothing is captured, and no
/// weights are made, outside of this call.
template <class Model, class X>
std::vector<CapturedAttention<typename Model::scalar>> capture_attention(const Model& model, const X& x) {
  using T = typename Model::scalar;
  struct Capture final : AttentionObserver {
    std::vector<CapturedAttention<T>> found;
    using AttentionObserver::seen;
    void seen(const TensorView<const T, 4>& weights) override { found.push_back({layer_path(), Tensor<T, 4>(weights)}); }
  } capture;
  static_cast<void>(model.forward(x));
  return std::move(capture.found);
}

/// The attention weights that one layer used, and what they did for a score.
template <class T>
struct CapturedGradient {
  std::string path;        ///< of the layer in the model
  Tensor<T, 4> weights;    ///< (batch, heads, queries, keys)
  Tensor<T, 4> d_weights;  ///< the gradient of the score
};

/// Runs `model` forward and backward and returns, for every layer that attends in the order of the forward pass, its weights and the gradient of the score
/// y[i, classes[i]] of each example i; the model gives (batch, classes). The pass computes what inference does (EvaluationScope), so the examples do not see each
/// other. Gradients are added to those of the model's parameters, as by every backward pass; else the model is not changed.
template <class Model, class X>
std::vector<CapturedGradient<typename Model::scalar>> capture_attention_gradients(Model& model, const X& x, std::span<const int> classes) {
  using T = typename Model::scalar;
  const EvaluationScope scope;
  typename Model::Cache cache;
  const Tensor<T, 2> y = model.forward(x, cache);
  require<ShapeError>(y.rows() == static_cast<Index>(classes.size()), "capture_attention_gradients: ", classes.size(), " classes for ",
      y.rows(), " examples");
  Tensor<T, 2> dy(y.shape());
  for (Index i = 0; i < y.rows(); ++i) {
    const int label = classes[static_cast<std::size_t>(i)];
    require(label >= 0 && label < y.features(), "capture_attention_gradients: class ", label, ", expected 0 to ", y.features() - 1);
    dy(i, label) = 1;
  }
  struct Capture final : AttentionObserver {
    std::vector<CapturedGradient<T>> found;
    using AttentionObserver::seen_gradient;
    void seen_gradient(const TensorView<const T, 4>& weights, const TensorView<const T, 4>& d_weights) override {
      found.push_back({layer_path(), Tensor<T, 4>(weights), Tensor<T, 4>(d_weights)});
    }
  } capture;
  static_cast<void>(model.backward(dy, cache));
  std::reverse(capture.found.begin(), capture.found.end());
  return std::move(capture.found);
}

/// How much each key counted for the score, (batch, keys): r_j = sum over heads h and queries i of max(0, dA_hij A_hij), where a weight and its gradient are of
/// one sign (Chefer, Gur and Wolf, "Generic Attention-model Explainability", 2021, equation 5, before the sum over queries).
template <class T>
Tensor<T, 2> attention_relevance(const CapturedGradient<T>& captured) {
  const Tensor<T, 4>&a = captured.weights, &da = captured.d_weights;
  require<ShapeError>(a.shape() == da.shape(), "attention_relevance: weights ", a.shape(), " and gradients ", da.shape());
  const Index batch = a.size(0), rows = a.size(1) * a.size(2), keys = a.size(3);
  Tensor<T, 2> relevance({batch, keys});
  for (Index b = 0; b < batch; ++b)
    for (Index r = 0; r < rows; ++r)
      for (Index k = 0; k < keys; ++k) {
        const Index at = (b * rows + r) * keys + k;
        relevance(b, k) += std::max(T(0), a[at] * da[at]);
      }
  return relevance;
}

/// What each token took from each token of the input through all `layers`, in their order: (batch, tokens, tokens). A layer with its residual counts as the mean
/// of its heads' weights and the identity, rows summing to 1, and layers as their product (Abnar and Zuidema, "Quantifying Attention Flow in Transformers", 2020).
/// Throws ShapeError unless there is a layer, and all have the same tokens as queries and keys.
template <class T>
Tensor<T, 3> attention_rollout(std::span<const CapturedAttention<T>> layers) {
  require<ShapeError>(!layers.empty(), "attention_rollout: no layer attends");
  const Shape& first = layers[0].weights.shape();
  const Index batch = first[0], tokens = first[3];
  Tensor<T, 3> result({batch, tokens, tokens});
  for (Index b = 0; b < batch; ++b)
    for (Index t = 0; t < tokens; ++t) result(b, t, t) = 1;
  for (const CapturedAttention<T>& layer : layers) {
    const Index heads = layer.weights.size(1);
    const Shape expected{batch, heads, tokens, tokens};
    require<ShapeError>(heads > 0 && layer.weights.shape() == expected, "attention_rollout: the weights of ", layer.path, " are ",
        layer.weights.shape(), ", expected ", expected, ": each layer's tokens attend to each other");
    for (Index b = 0; b < batch; ++b) {
      Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor> step =
          Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic>::Identity(tokens, tokens);
      for (Index h = 0; h < heads; ++h)
        step += MatrixMap<const T>(layer.weights.data() + (b * heads + h) * tokens * tokens, tokens, tokens) / static_cast<T>(heads);
      step.array().colwise() /= step.array().rowwise().sum().eval();
      auto total = MatrixMap<T>(result.data() + b * tokens * tokens, tokens, tokens);
      total = (step * total).eval();
    }
  }
  return result;
}

/// How much attention each key receives: the mean over heads and queries of the weights (batch, heads, queries, keys), as (batch, keys). Each
/// row sums to 1 where every query attends somewhere; 1 / keys is the share of a key that is nothing special.
template <class T>
Tensor<T, 2> attention_received(const TensorView<const T, 4>& weights) {
  const Index batch = weights.size(0), rows = weights.size(1) * weights.size(2), keys = weights.size(3);
  Tensor<T, 2> received({batch, keys});
  MatrixMap<T> sums(received.data(), batch, keys);
  const MatrixMap<const T> all(weights.data(), batch, rows * keys);
  for (Index row = 0; row < rows; ++row) sums += all.middleCols(row * keys, keys);
  sums /= static_cast<T>(rows);
  return received;
}

/// How widely each head looks: the entropy -sum_k a_k ln a_k of the weights (batch, heads, queries, keys) of a query, mean over the queries, in nats, as
/// (batch, heads). 0 where each query attends to one key, ln keys where to all alike; e^entropy counts keys.
template <class T>
Tensor<T, 2> attention_entropy(const TensorView<const T, 4>& weights) {
  const Index queries = weights.size(2), keys = weights.size(3);
  Tensor<T, 2> entropy({weights.size(0), weights.size(1)});
  for (Index head = 0; head < entropy.size(); ++head) {
    const T* w = weights.data() + head * queries * keys;
    for (Index i = 0; i < queries * keys; ++i)
      if (w[i] > 0) entropy[head] -= w[i] * std::log(w[i]) / static_cast<T>(queries);
  }
  return entropy;
}

/// The value of `map` (height, width) at row `y` and column `x`, counted in tokens, linear between the four neighbours; beyond the border the
/// border's value goes on.
template <class T>
double bilinear(const TensorView<const T, 2>& map, double y, double x) {
  const Index height = map.size(0), width = map.size(1);
  require<ShapeError>(height > 0 && width > 0, "bilinear: the map is ", map.shape());
  return BilinearPoint(y, x, height, width, Border::nearest)([&](Index i, Index j) { return static_cast<double>(map(i, j)); });
}

/// Where the tokens of a map lie on the image that they were made of, in shares of its side (0 to 1): the centre of the first, and the step to
/// the next. Pooling without padding leaves a rest at the far border, so the grid is not centred in general.
struct TokenGrid {
  double first = 0, step = 0;  ///< shares of the image's side

  /// Tokens that divide the side evenly.
  static TokenGrid even(Index tokens) { return {0.5 / static_cast<double>(tokens), 1.0 / static_cast<double>(tokens)}; }
};

/// The map spread over an image of `height` x `width` pixels, bilinear between the centres of its tokens.
template <class T>
Tensor<T, 2> spread_map(const TensorView<const T, 2>& map, Index height, Index width, const TokenGrid& rows, const TokenGrid& columns) {
  auto result = Tensor<T, 2>::uninitialized({height, width});
  for (Index i = 0; i < height; ++i)
    for (Index j = 0; j < width; ++j) {
      const double y = (static_cast<double>(i) + 0.5) / static_cast<double>(height),
                   x = (static_cast<double>(j) + 0.5) / static_cast<double>(width);
      result(i, j) = static_cast<T>(bilinear(map, (y - rows.first) / rows.step, (x - columns.first) / columns.step));
    }
  return result;
}

}  // namespace heed::inline HEED_ABI
