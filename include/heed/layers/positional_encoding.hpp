// SPDX-License-Identifier: MIT
#pragma once

#include <cmath>

#include <heed/core/initialize.hpp>
#include <heed/core/layer.hpp>
#include <heed/kernels/column_sums.hpp>
#include <heed/kernels/elementwise.hpp>
#include <heed/layers/decode_position.hpp>

namespace heed::inline HEED_ABI {

/// What P is.
enum class PositionKind {
  sine,     ///< fixed sines and cosines
  learned,  ///< a trained table
};
/// What is done with P.
enum class PositionUse {
  added,       ///< y = x + P
  multiplied,  ///< y = x ⊙ P, so that a projection behind it computes W · X · P
};

struct PositionalEncodingOptions {
  Index features = 0;                      ///< features of x; must be given
  Index tokens = 0;                        ///< the longest sequence, for one-dimensional positions
  Index height = 0, width = 0;             ///< of a map with two-dimensional positions, in place of `tokens`
  PositionKind kind = PositionKind::sine;  ///< what P is
  PositionUse use = PositionUse::added;    ///< what is done with P
  double base = 10000;                     ///< longest wavelength of the sines is 2π base; at least 1
};

/// Tells tokens where they are: y = x + P or y = x ⊙ P with one row of the table P a position.
///
/// One dimension (Vaswani et al. 2017, section 3.5): P[t, 2i] = sin(t / base^(2i/C)), P[t, 2i+1] = cos(the same). Two dimensions: the first half
/// of the channels holds that code of the row, the second half that of the column (Wang and Liu 2021 order them the same way).
/// A learned table starts as N(0, 0.02²) when added, as ones when multiplied, and is the parameter "weight" (tokens, features).
///
/// Shapes: x and y (..., T, C) with T <= tokens, of which the first T rows of the table are used; with height and width set, x is either
/// (..., H, W, C) or (..., H·W, C). The cache is a view of x, needed only by a learned table that multiplies.
template <class T>
class PositionalEncoding : public LayerBase<PositionalEncoding<T>> {
 public:
  using scalar = T;
  static constexpr int input_rank = kAnyRank;

  struct Cache {
    TensorView<const T, 2> x;  ///< (rows, features), the caller's
    Shape shape;               ///< of x
  };

  explicit PositionalEncoding(const PositionalEncodingOptions& options) : options_(options) {
    const bool map = options.height > 0 && options.width > 0;
    require(options.features > 0 && (map ? options.tokens == 0 : options.tokens > 0 && options.height == 0 && options.width == 0),
        "PositionalEncoding: features (", options.features, ") must be positive, and either tokens (", options.tokens,
        ") or both height and width (", options.height, "x", options.width, ")");
    require(options.base >= 1 && std::isfinite(options.base), "PositionalEncoding: base must be at least 1 and finite, is ", options.base);
    const Index tokens = map ? options.height * options.width : options.tokens;
    if (options_.kind == PositionKind::learned) {
      weight_ = Parameter<T>({tokens, options_.features});
      if (options_.use == PositionUse::added)
        initialize(weight_, Initializer::normal, {.value = 0.02});
      else
        initialize(weight_, Initializer::ones);
      return;
    }
    sines_ = Tensor<T, 2>({tokens, options_.features});
    const Index half = map ? (options_.features + 1) / 2 : options_.features;
    for (Index t = 0; t < tokens; ++t) {
      write_sines(map ? t / options_.width : t, half, &sines_(t, 0));
      if (map) write_sines(t % options_.width, options_.features - half, &sines_(t, 0) + half);
    }
  }

  Shape output_shape(const Shape& in) const {
    tokens_of(in);
    return in;
  }

  using LayerBase<PositionalEncoding<T>>::forward;  // what it says to other tensors
  template <int Rank>
  Tensor<T, Rank> forward(const TensorView<const T, Rank>& x) const {
    return encode(x, 0);
  }

  using DecodeState = DecodePosition;
  DecodeState decode_state(Index /*sequences*/, Index /*capacity*/) const { return {}; }
  /// Inference of the tokens x (..., T, C) that follow `state.position` others. Throws ShapeError when the table has no rows for them.
  template <int Rank>
  Tensor<T, Rank> decode(const TensorView<const T, Rank>& x, DecodeState& state) const {
    const Index tokens = tokens_of(x.shape());
    require<ShapeError>(options_.height == 0 && state.position + tokens <= options_.tokens, "PositionalEncoding: ", tokens,
        " tokens from position ", state.position, " on leave the table, which holds ", options_.tokens, " positions of sequences");
    auto y = encode(x, state.position);
    state.position += tokens;
    return y;
  }

  template <int Rank>
  Tensor<T, Rank> forward(const TensorView<const T, Rank>& x, Cache& cache) const {
    cache.x = x.as_rows(), cache.shape = x.shape();
    return forward(x);
  }
  template <int Rank>
  HEED_REFUSED("the cache looks at the input until backward has run, and a temporary is gone by then: give it a name")
  Tensor<T, Rank> forward(Tensor<T, Rank>&& x, Cache& cache) const;

  /// y = x + P: dx = dy, dP += Σ over the batch of dy. y = x ⊙ P: dx = dy ⊙ P, dP += Σ over the batch of dy ⊙ x.
  template <int Rank>
  Tensor<T, Rank> backward(const TensorView<const T, Rank>& dy, Cache& cache) {
    const Index period = tokens_of(dy.shape()) * options_.features, sequences = period > 0 ? dy.size() / period : 0;
    require_gradient_shape("PositionalEncoding", dy.shape(), cache.shape, cache.x, options_.features);
    const bool multiplied = options_.use == PositionUse::multiplied;
    if (options_.kind == PositionKind::learned && !weight_.frozen()) {
      if (multiplied)
        kernels::add_column_products(sequences, period, dy.data(), period, cache.x.data(), period, weight_.gradient());
      else
        kernels::add_column_sums(sequences, period, dy.data(), period, weight_.gradient());
    }
    if (!multiplied) return Tensor<T, Rank>(dy);
    auto dx = Tensor<T, Rank>::uninitialized(dy.shape());
    kernels::elementwise_repeated(kernels::Multiply{}, dy.size(), period, dx.data(), dy.data(), table());
    return dx;
  }

  const PositionalEncodingOptions& options() const { return options_; }
  /// The table, (tokens, features).
  TensorView<const T, 2> encoding() const {
    if (options_.kind == PositionKind::learned) return {weight_.value(), weight_.shape()};
    return sines_;
  }
  /// Empty for sines.
  Parameter<T>& weight() { return weight_; }
  const Parameter<T>& weight() const { return weight_; }

  /// The same layer over another scalar.
  template <class U>
  PositionalEncoding<U> rebind() const {
    return this->template rebound<PositionalEncoding<U>>(options_);
  }

  template <class Self, class V>
  static void describe_members(Self& self, V& visitor) {
    visitor.kind("PositionalEncoding");
    visitor.option("features", self.options_.features);
    if (self.options_.tokens > 0) visitor.option("tokens", self.options_.tokens);
    if (self.options_.height > 0) visitor.option("map", text(self.options_.height, "x", self.options_.width));
    visitor.option("position", self.options_.kind == PositionKind::sine ? "sine" : "learned");
    visitor.option("use", self.options_.use == PositionUse::added ? "added" : "multiplied");
    if (self.options_.kind == PositionKind::sine) visitor.option("base", self.options_.base);
    if (self.options_.kind == PositionKind::learned) visitor.table("weight", self.weight_);
    if (self.options_.kind == PositionKind::sine) visitor.constant("sines", self.sines_.shape(), std::as_const(self.sines_).data());
  }

 private:
  const T* table() const { return encoding().data(); }

  /// y for tokens from `position` on.
  template <int Rank>
  Tensor<T, Rank> encode(const TensorView<const T, Rank>& x, Index position) const {
    const Index period = tokens_of(x.shape()) * options_.features;
    const T* rows = table() + position * options_.features;
    auto y = Tensor<T, Rank>::uninitialized(x.shape());
    if (options_.use == PositionUse::added)
      kernels::elementwise_repeated(kernels::Add{}, x.size(), period, y.data(), x.data(), rows);
    else
      kernels::elementwise_repeated(kernels::Multiply{}, x.size(), period, y.data(), x.data(), rows);
    return y;
  }

  void write_sines(Index position, Index channels, T* row) const {
    for (Index c = 0; c < channels; ++c) {
      const double exponent = static_cast<double>(c - c % 2) / static_cast<double>(channels);
      const double angle = static_cast<double>(position) / std::pow(options_.base, exponent);
      row[c] = T(c % 2 == 0 ? std::sin(angle) : std::cos(angle));
    }
  }

  /// Tokens of each sequence in an input of this shape, which is checked.
  Index tokens_of(const Shape& in) const {
    const bool map = options_.height > 0;
    bool fits = in.rank() >= 2 && in.features() == options_.features;
    Index tokens = fits ? in[-2] : 0;
    if (fits && map && tokens != options_.height * options_.width) {
      fits = in.rank() >= 3 && in[-2] == options_.width && in[-3] == options_.height;
      tokens = options_.height * options_.width;
    }
    if (!map) fits = fits && tokens <= options_.tokens;
    require<ShapeError>(fits, "PositionalEncoding: input is ", in, ", the table holds ", map ? options_.height : options_.tokens, " x ",
        map ? options_.width : 1, " positions of ", options_.features, " features");
    return tokens;
  }

  PositionalEncodingOptions options_;
  Parameter<T> weight_;  ///< learned
  Tensor<T, 2> sines_;   ///< fixed
};

static_assert(Layer<PositionalEncoding<float>>);
HEED_COMPILE_CLASS_ONCE(PositionalEncoding);

}  // namespace heed::inline HEED_ABI
