// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cmath>

#include <heed/core/initialize.hpp>
#include <heed/core/layer.hpp>
#include <heed/kernels/relative_position_bias.hpp>
#include <heed/layers/attention_mask.hpp>

namespace heed::inline HEED_ABI {

struct RelativePositionBiasOptions {
  Index num_heads = 1;          ///< columns of the table: one bias a head
  Index max_distance = 0;       ///< of one-dimensional positions: farther tokens count as so far
  Index num_buckets = 0;        ///< 0: each distance has a row; else T5's buckets, which widen with the distance
  bool bidirectional = true;    ///< of buckets: half of them for keys behind the query; false: those all count as distance 0
  Index height = 0, width = 0;  ///< of a map with two-dimensional positions, in place of max_distance
};

/// A learned number for each head and relative position of key and query, which attention adds to its scores.
///
/// One dimension: the row of the table for key j and query i is clamp(j - i, ±max_distance) + max_distance, the clipped distance of Shaw et al.
/// 2018 with a scalar in place of their vectors; or, with num_buckets, the bucket of Raffel et al. 2020 (T5). Two dimensions, for tokens of a map
/// row by row: (y_i - y_j + height - 1) (2 width - 1) + (x_i - x_j + width - 1), as in Liu et al. 2021 (Swin).
///
/// Parameter: "weight" (2 max_distance + 1, num_heads) or (num_buckets, num_heads), which is T5's `relative_attention_bias.weight`; of a map
/// "relative_position_bias_table" ((2 height - 1) (2 width - 1), num_heads), as in Swin and torchvision. It starts as N(0, 0.02²) cut at two
/// deviations. (T5 starts its table with a deviation that depends on the model's width.)
///
/// This is not a layer with an input: it gives attention a bias and takes the bias' gradient back.
///
/// ```cpp
/// RelativePositionBias<float>::Cache position;
/// AttentionMask<float> mask{.bias = bias.forward(queries, keys, position)};
/// y = attention.forward(q, k, v, mask, cache);
/// const auto [dq, dk, dv] = attention.backward(dy, cache, {.d_bias = bias.d_bias(position)});
/// bias.backward(position);
/// ```
///
/// No queries x keys matrix is made in one dimension: there are queries + keys - 1 distances, and attention reads them along diagonals. A map
/// takes heads x tokens². The cache holds the bias, also in inference, and its gradient.
template <class T>
class RelativePositionBias : public LayerBase<RelativePositionBias<T>> {
 public:
  using scalar = T;
  using Options = RelativePositionBiasOptions;

  struct Cache {
    Index queries = 0, keys = 0;  ///< tokens
    Tensor<Index, 1> rows;        ///< row of the table for each distance, or for each pair of tokens of a map
    Tensor<T, 2> bias;            ///< (heads, distances or pairs)
    Tensor<T, 2> d_bias;          ///< the same; empty as long as nobody asked
  };

  explicit RelativePositionBias(const Options& options) : options_(options) {
    require(options.num_heads > 0, "RelativePositionBias: num_heads (", options.num_heads, ") must be positive");
    require(is_map() ? options.height > 0 && options.width > 0 && options.max_distance == 0 && options.num_buckets == 0
                     : options.max_distance > 0 && options.num_buckets >= 0,
        "RelativePositionBias: either max_distance (", options.max_distance, ") must be positive and num_buckets (", options.num_buckets,
        ") not negative, or only height and width (", options.height, "x", options.width, ") be given, both");
    // At least one distance has a bucket of its own, and the others begin before max_distance.
    require(options.num_buckets == 0 || (exact_buckets() > 0 && options.max_distance > exact_buckets()),
        "RelativePositionBias: num_buckets (", options.num_buckets, ") must be at least ", options.bidirectional ? 4 : 2,
        " and max_distance (", options.max_distance, ") larger than the ", exact_buckets(), " distances that have a bucket of their own");
    const Index rows = is_map()                  ? (2 * options.height - 1) * (2 * options.width - 1)
                       : options.num_buckets > 0 ? options.num_buckets
                                                 : 2 * options.max_distance + 1;
    weight_ = Parameter<T>({rows, options.num_heads});
    initialize(weight_, Initializer::trunc_normal, {.value = 0.02});
  }

  /// The bias (1, heads, queries, keys) for queries that stand at keys past, past + 1, ... It looks into the cache. Throws ShapeError for a number
  /// of tokens that a map does not have.
  MaskView<T> forward(Index queries, Index keys, Cache& cache, Index past = 0) const {
    require<ShapeError>(
        queries > 0 && keys > 0 && past >= 0, "RelativePositionBias: ", queries, " queries after ", past, " others and ", keys, " keys");
    const Index heads = options_.num_heads;
    kernels::MaskRef<const T> elements;
    if (is_map()) {
      const Index tokens = options_.height * options_.width;
      require<ShapeError>(queries == tokens && keys == tokens && past == 0, "RelativePositionBias: ", queries, " queries after ", past,
          " others and ", keys, " keys, but a map of ", options_.height, "x", options_.width, " has ", tokens, " of both");
      cache.rows.resize({tokens * tokens});
      for (Index i = 0; i < tokens; ++i)
        for (Index j = 0; j < tokens; ++j) cache.rows[i * tokens + j] = row_of_pair(i, j);
      elements = {nullptr, 0, tokens * tokens, tokens, 1};
    } else {
      cache.rows.resize({queries + keys - 1});  // by key - query, from that of the last query and the first key on
      for (Index p = 0; p < cache.rows.size(); ++p) cache.rows[p] = row_of_distance(p - (queries - 1) - past);
      elements = {nullptr, 0, cache.rows.size(), -1, 1};
    }
    cache.queries = queries, cache.keys = keys;
    cache.bias.resize({heads, cache.rows.size()}), cache.d_bias.release();
    kernels::relative_position_bias_forward(cache.rows.size(), heads, cache.rows.data(), weight_.value(), cache.bias.data());
    elements.data = cache.bias.data() + origin(cache);
    return {elements, Shape{1, heads, queries, keys}};
  }

  /// Where attention adds the gradient of the bias that forward gave, zeros at first: element (0, 0, 0), with the strides of the bias. Null if
  /// the table is frozen.
  T* d_bias(Cache& cache) const {
    if (weight_.frozen()) return nullptr;
    require_filled("RelativePositionBias", cache.bias);
    if (cache.d_bias.empty()) cache.d_bias = Tensor<T, 2>(cache.bias.shape());
    return cache.d_bias.data() + origin(cache);
  }

  /// d_table[r, h] += Σ of the gradients of the bias of head h over all distances or pairs whose row is r, in a fixed order.
  void backward(Cache& cache) {
    if (weight_.frozen()) return;
    require(!cache.d_bias.empty(), "RelativePositionBias: backward follows forward and attention's backward with d_bias(cache)");
    kernels::relative_position_bias_backward(
        cache.rows.size(), options_.num_heads, cache.rows.data(), cache.d_bias.data(), weight_.gradient());
    release(cache.bias, cache.d_bias);
  }

  const Options& options() const { return options_; }
  Parameter<T>& weight() { return weight_; }
  const Parameter<T>& weight() const { return weight_; }

  /// The same over another scalar.
  template <class U>
  RelativePositionBias<U> rebind() const {
    return this->template rebound<RelativePositionBias<U>>(options_);
  }

  template <class Self, class V>
  static void describe_members(Self& self, V& visitor) {
    const Options& o = self.options_;
    visitor.kind("RelativePositionBias");
    visitor.option("num_heads", o.num_heads);
    if (self.is_map()) {
      visitor.option("map", text(o.height, "x", o.width));
      visitor.table("relative_position_bias_table", self.weight_);
      return;
    }
    visitor.option("max_distance", o.max_distance);
    if (o.num_buckets > 0) visitor.option("num_buckets", o.num_buckets), visitor.option("bidirectional", o.bidirectional);
    visitor.table("weight", self.weight_);
  }

 private:
  bool is_map() const { return options_.height != 0 || options_.width != 0; }
  /// Position of element (0, 0) of a head in the cache's bias.
  Index origin(const Cache& cache) const { return is_map() ? 0 : cache.queries - 1; }

  /// Buckets of one side.
  Index side_buckets() const { return options_.bidirectional ? options_.num_buckets / 2 : options_.num_buckets; }
  /// Those of a single distance.
  Index exact_buckets() const { return side_buckets() / 2; }

  /// `distance` is key - query.
  Index row_of_distance(Index distance) const {
    const Index far = options_.max_distance;
    if (options_.num_buckets == 0) return std::clamp(distance, -far, far) + far;
    const Index side = side_buckets(), exact = exact_buckets();
    const Index first = options_.bidirectional && distance > 0 ? side : 0;
    const Index steps = distance <= 0 ? -distance : options_.bidirectional ? distance : 0;
    if (steps < exact) return first + steps;
    // The other buckets are equally wide on a logarithmic scale. A distance at the edge of two belongs to the farther one, whatever the last
    // bit of the logarithm says.
    const double ratio =
        std::log(static_cast<double>(steps) / static_cast<double>(exact)) / std::log(static_cast<double>(far) / static_cast<double>(exact));
    return first + std::min(side - 1, exact + static_cast<Index>(ratio * static_cast<double>(side - exact) + 1e-9));
  }
  Index row_of_pair(Index i, Index j) const {
    const Index h = options_.height, w = options_.width;
    return (i / w - j / w + h - 1) * (2 * w - 1) + (i % w - j % w + w - 1);
  }

  Options options_;
  Parameter<T> weight_;
};

HEED_COMPILE_CLASS_ONCE(RelativePositionBias);

}  // namespace heed::inline HEED_ABI
