// SPDX-License-Identifier: MIT
#pragma once

#include <cmath>
#include <cstdint>

#include <heed/core/layer.hpp>
#include <heed/kernels/rotary_embedding.hpp>
#include <heed/layers/decode_position.hpp>

namespace heed::inline HEED_ABI {

struct RotaryEmbeddingOptions {
  Index head_dim = 0;          ///< features of a head
  Index rotary_dim = 0;        ///< the first so many of them turn, an even number; 0: all
  double base = 10000;         ///< longest wavelength is below 2π base tokens; at least 1
  bool interleaved = false;    ///< pairs are features (2i, 2i + 1) as in the paper, not (i, i + rotary_dim / 2) as in most later models
  Index max_positions = 2048;  ///< positions are below it
};

/// Where the tokens of a call stand: token t at offset + t (what a cache of keys holds already), or, if given, at ids(n, t).
struct RotaryPositions {
  Index offset = 0;                            ///< the first token's position
  TensorView<const std::int64_t, 2> ids = {};  ///< (N, T), or (1, T) for all sequences; must live as long as the cache of a training pass
};

/// Turns queries or keys by an angle that grows with the token's position, so that q · k sees positions by their distance alone (Su et al.
/// 2021, RoFormer, eq. 34): pair i of a head's features at position p becomes
///
///     u' = u cos(p θ_i) - v sin(p θ_i),   v' = v cos(p θ_i) + u sin(p θ_i),   θ_i = base^(-2 i / rotary_dim)
///
/// Shapes: x and y (N, T, H head_dim) with any number H of heads side by side, or (N, H, T, head_dim). Features from rotary_dim on pass.
/// No parameters. The tables of cos and sin, max_positions x rotary_dim numbers together, are computed in double when the layer is made and never
/// change, so one layer serves many threads. The cache keeps the shape and where the tokens stood.
template <class T>
class RotaryEmbedding : public LayerBase<RotaryEmbedding<T>> {
 public:
  using scalar = T;
  static constexpr int input_rank = kAnyRank;
  using Options = RotaryEmbeddingOptions;

  struct Cache {
    Shape x;                    ///< its shape
    RotaryPositions positions;  ///< where the tokens stood
  };

  explicit RotaryEmbedding(const Options& options) : options_(options) {
    require(options.head_dim > 0 && options.rotary_dim >= 0 && options.max_positions > 0, "RotaryEmbedding: head_dim (", options.head_dim,
        ") and max_positions (", options.max_positions, ") must be positive, and rotary_dim (", options.rotary_dim, ") not negative");
    if (options_.rotary_dim == 0) options_.rotary_dim = options.head_dim;
    require(options_.rotary_dim % 2 == 0 && options_.rotary_dim <= options.head_dim, "RotaryEmbedding: rotary_dim (", options_.rotary_dim,
        ") must be even, because features turn in pairs, and at most head_dim (", options.head_dim, ")");
    require(options.base >= 1 && std::isfinite(options.base), "RotaryEmbedding: base must be at least 1 and finite, is ", options.base);
    cos_.resize({options_.max_positions, options_.rotary_dim / 2}), sin_.resize(cos_.shape());
    kernels::rotary_table(options_.base, options_.rotary_dim, options_.max_positions, cos_.data(), sin_.data());
  }

  Shape output_shape(const Shape& in) const {
    rotation_of(in, {});
    return in;
  }

  using LayerBase<RotaryEmbedding<T>>::forward;  // what it says to other tensors
  template <int Rank>
  Tensor<T, Rank> forward(const TensorView<const T, Rank>& x, const RotaryPositions& positions = {}) const {
    auto y = Tensor<T, Rank>::uninitialized(x.shape());
    kernels::rotary_forward(rotation_of(x.shape(), positions), rows(x.data(), x.shape()), rows(y.data(), y.shape()));
    return y;
  }

  template <int Rank>
  Tensor<T, Rank> forward(const TensorView<const T, Rank>& x, const RotaryPositions& positions, Cache& cache) const {
    cache.x = x.shape(), cache.positions = positions;
    return forward(x, positions);
  }
  template <int Rank>
  Tensor<T, Rank> forward(const TensorView<const T, Rank>& x, Cache& cache) const {
    return forward(x, RotaryPositions(), cache);
  }

  using DecodeState = DecodePosition;
  DecodeState decode_state(Index /*sequences*/, Index /*capacity*/) const { return {}; }
  /// Inference of the tokens x that follow `state.position` others. Throws ShapeError beyond max_positions.
  template <int Rank>
  Tensor<T, Rank> decode(const TensorView<const T, Rank>& x, DecodeState& state) const {
    auto y = forward(x, RotaryPositions{.offset = state.position});
    state.position += x.shape()[-2];
    return y;
  }

  /// A rotation is orthogonal: dx is dy turned back by the same angles.
  template <int Rank>
  Tensor<T, Rank> backward(const TensorView<const T, Rank>& dy, Cache& cache) {
    require_filled("RotaryEmbedding", cache.x.rank() > 0);
    require_gradient_shape("RotaryEmbedding", dy.shape(), cache.x, cache.x.rows());
    auto dx = Tensor<T, Rank>::uninitialized(dy.shape());
    kernels::rotary_backward(rotation_of(dy.shape(), cache.positions), rows(dy.data(), dy.shape()), rows(dx.data(), dx.shape()));
    return dx;
  }

  /// For layers that turn heads where they lie, in a projection or a cache of keys: the kernel's problem, which looks at this layer's tables and
  /// at `positions.ids`. Throws ShapeError for positions that are not in 0 ... max_positions - 1, and for ids of another shape.
  kernels::Rotation<T> rotation(Index batches, Index heads, Index tokens, const RotaryPositions& positions = {}) const {
    kernels::Rotation<T> r;
    r.batches = batches, r.heads = heads, r.tokens = tokens, r.width = options_.head_dim, r.rotary_width = options_.rotary_dim;
    r.interleaved = options_.interleaved, r.cos = cos_.data(), r.sin = sin_.data(), r.offset = positions.offset;
    if (const Shape& ids = positions.ids.shape(); ids.rank() > 0) {
      require<ShapeError>((ids[0] == batches || ids[0] == 1) && ids[1] == tokens && positions.offset == 0, "RotaryEmbedding: ids are ", ids,
          ", the input has ", batches, " sequences of ", tokens, " tokens; ids stand alone, the offset (", positions.offset, ") must be 0");
      r.position_ids = positions.ids.data(), r.position_batch = ids[0] == 1 ? 0 : tokens;
    }
    require<ShapeError>(r.fits(options_.max_positions), "RotaryEmbedding: ", tokens, " tokens from position ", positions.offset,
        " on, or their ids, leave the positions 0 ... ", options_.max_positions - 1, " of the table; raise max_positions");
    return r;
  }

  const Options& options() const { return options_; }
  /// The tables, (max_positions, rotary_dim / 2).
  TensorView<const T, 2> cos() const { return cos_; }
  /// The sines, (max_positions, rotary_dim / 2).
  TensorView<const T, 2> sin() const { return sin_; }

  /// The same layer over another scalar.
  template <class U>
  RotaryEmbedding<U> rebind() const {
    return this->template rebound<RotaryEmbedding<U>>(options_);
  }

  template <class Self, class V>
  static void describe_members(Self& self, V& visitor) {
    visitor.kind("RotaryEmbedding");
    visitor.option("head_dim", self.options_.head_dim);
    visitor.option("rotary_dim", self.options_.rotary_dim);
    visitor.option("base", self.options_.base);
    visitor.option("interleaved", self.options_.interleaved);
    visitor.option("max_positions", self.options_.max_positions);
    visitor.constant("cos", self.cos_.shape(), std::as_const(self.cos_).data());
    visitor.constant("sin", self.sin_.shape(), std::as_const(self.sin_).data());
  }

 private:
  /// Heads of an input of this shape, which is checked.
  Index heads_of(const Shape& in) const {
    require<ShapeError>((in.rank() == 3 && in[2] % options_.head_dim == 0) || (in.rank() == 4 && in[3] == options_.head_dim),
        "RotaryEmbedding: input is ", in,
        ", it must be (N, T, heads * head_dim) or (N, heads, T, head_dim) with head_dim = ", options_.head_dim);
    return in.rank() == 4 ? in[1] : in[2] / options_.head_dim;
  }
  kernels::Rotation<T> rotation_of(const Shape& in, const RotaryPositions& positions) const {
    const Index heads = heads_of(in);
    return rotation(in[0], heads, in[-2], positions);
  }
  template <class U>
  kernels::HeadRows<U> rows(U* data, const Shape& shape) const {
    const Index d = options_.head_dim;
    if (shape.rank() == 4) return {data, shape[1] * shape[2] * d, shape[2] * d, d};
    return {data, shape[1] * shape[2], d, shape[2]};
  }

  Options options_;
  Tensor<T, 2> cos_, sin_;
};

static_assert(Layer<RotaryEmbedding<float>>);
HEED_COMPILE_CLASS_ONCE(RotaryEmbedding);

}  // namespace heed::inline HEED_ABI
