// SPDX-License-Identifier: MIT
#pragma once

#include <string>
#include <vector>

#include <heed/data/raster.hpp>
#include <heed/layers/attention_observer.hpp>

namespace heed {

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

/// How much attention each key receives: the mean over heads and queries of the weights (batch, heads, queries, keys), as (batch, keys). Each
/// row sums to 1 where every query attends somewhere; 1 / keys is the share of a key that is nothing special.
template <class T>
Tensor<T, 2> attention_received(const TensorView<const T, 4>& weights) {
  const Index batch = weights.size(0), rows = weights.size(1) * weights.size(2), keys = weights.size(3);
  Tensor<T, 2> received({batch, keys});
  for (Index b = 0; b < batch; ++b) {
    const auto block = MatrixMap<const T>(weights.data() + b * rows * keys, rows, keys);
    MatrixMap<T>(received.data() + b * keys, 1, keys) = block.colwise().sum() / static_cast<T>(rows);
  }
  return received;
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
  double first = 0, step = 0;

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

}  // namespace heed
