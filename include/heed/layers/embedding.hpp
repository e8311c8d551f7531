// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <optional>

#include <heed/core/initialize.hpp>
#include <heed/core/layer.hpp>
#include <heed/kernels/embedding.hpp>

namespace heed::inline HEED_ABI {

struct EmbeddingOptions {
  Index num_embeddings = 0;  ///< rows of the table: numbers 0 ... num_embeddings - 1 can be looked up
  Index embedding_dim = 0;   ///< features of y; must be given
  /// This row starts at 0 and gets no gradient; negative ones count from the end. None: every row is trained.
  std::optional<Index> padding_idx = {};
};

/// y[i] = weight[x[i]]: whole numbers become rows of a table (torch.nn.Embedding).
///
/// Shapes: x (N, T) of `std::int64_t`, or of any other rank; y (N, T, embedding_dim), one axis more; weight (num_embeddings, embedding_dim), which
/// starts as N(0, 1). Throws std::invalid_argument for a number that is no row. Whole numbers have no gradient: backward returns an empty
/// tensor, and in a Sequential the layer comes first. The cache keeps a view of x and no memory.
template <class T>
class Embedding : public LayerBase<Embedding<T>> {
 public:
  using scalar = T;
  using input_scalar = std::int64_t;
  static constexpr int input_rank = 2;

  struct Cache {
    TensorView<const std::int64_t, 1> x;  ///< all numbers, the caller's
  };

  explicit Embedding(const EmbeddingOptions& options) : options_(options) {
    const Index rows = options.num_embeddings, padding = options.padding_idx.value_or(0);
    require(rows > 0 && options.embedding_dim > 0, "Embedding: num_embeddings (", rows, ") and embedding_dim (", options.embedding_dim,
        ") must be positive");
    require(padding >= -rows && padding < rows, "Embedding: padding_idx is ", padding, ", the table has the rows 0 ... ", rows - 1,
        " (negative ones count from the end)");
    const Index zero_row = padding < 0 ? padding + rows : padding;
    if (options.padding_idx.has_value()) options_.padding_idx = zero_row;
    weight_ = Parameter<T>({rows, options_.embedding_dim});
    initialize(weight_, Initializer::normal);
    if (options.padding_idx.has_value()) std::fill_n(weight_.value() + zero_row * options_.embedding_dim, options_.embedding_dim, T(0));
  }

  Shape output_shape(const Shape& in) const {
    Shape out = in;
    out.push_back(options_.embedding_dim);
    return out;
  }

  using LayerBase<Embedding<T>>::forward;  // what it says to other tensors
  template <int Rank>
  Tensor<T, Rank + 1> forward(const TensorView<const std::int64_t, Rank>& x) const {
    auto y = Tensor<T, Rank + 1>::uninitialized(output_shape(x.shape()));
    const Index wrong = kernels::first_outside(x.size(), x.data(), options_.num_embeddings);
    if (wrong < x.size())
      fail("Embedding: element ", wrong, " of the input is ", x[wrong], ", the table has the rows 0 ... ", options_.num_embeddings - 1,
          " (input ", x.shape(), ", weight ", weight_.shape(), ")");
    kernels::embedding_forward(x.size(), options_.embedding_dim, x.data(), weight_.value(), y.data());
    return y;
  }

  template <int Rank>
  Tensor<T, Rank + 1> forward(const TensorView<const std::int64_t, Rank>& x, Cache& cache) const {
    cache.x = {x.data(), Shape{x.size()}};
    return forward(x);
  }
  template <int Rank>
  HEED_REFUSED("the cache looks at the input until backward has run, and a temporary is gone by then: give it a name")
  Tensor<T, Rank + 1> forward(Tensor<std::int64_t, Rank>&& x, Cache& cache) const;

  /// y[i] = weight[x[i]]: d_weight[x[i]] += dy[i], in the order of i, but for the row padding_idx.
  template <int Rank>
  Tensor<T, Rank - 1> backward(const TensorView<const T, Rank>& dy, Cache& cache) {
    require_filled("Embedding", cache.x);
    require_gradient_shape("Embedding", dy.shape(), replace_features(dy.shape(), options_.embedding_dim), cache.x.size());
    require(kernels::first_outside(cache.x.size(), cache.x.data(), options_.num_embeddings) == cache.x.size(),
        "Embedding: the cache has seen ids outside of the table's rows 0 ... ", options_.num_embeddings - 1,
        "; backward takes the cache of a forward pass of its own layer");
    if (T* d_weight = weight_.gradient_unless_frozen())
      kernels::embedding_backward(
          cache.x.size(), options_.embedding_dim, cache.x.data(), dy.data(), options_.padding_idx.value_or(-1), d_weight);
    return {};
  }

  const EmbeddingOptions& options() const { return options_; }
  Parameter<T>& weight() { return weight_; }
  const Parameter<T>& weight() const { return weight_; }

  /// The same layer over another scalar.
  template <class U>
  Embedding<U> rebind() const {
    return this->template rebound<Embedding<U>>(options_);
  }

  template <class Self, class V>
  static void describe_members(Self& self, V& visitor) {
    visitor.kind("Embedding");
    visitor.option("num_embeddings", self.options_.num_embeddings);
    visitor.option("embedding_dim", self.options_.embedding_dim);
    if (self.options_.padding_idx) visitor.option("padding_idx", *self.options_.padding_idx);
    visitor.table("weight", self.weight_);
  }

 private:
  EmbeddingOptions options_;
  Parameter<T> weight_;
};

static_assert(Layer<Embedding<float>>);
HEED_COMPILE_CLASS_ONCE(Embedding);

}  // namespace heed::inline HEED_ABI
