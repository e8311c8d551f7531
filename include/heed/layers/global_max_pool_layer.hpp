// SPDX-License-Identifier: MIT
#pragma once

#include <heed/core/layer.hpp>
#include <heed/kernels/global_pool2d.hpp>

namespace heed::inline HEED_ABI {

/// What GlobalMaxPool1d and GlobalMaxPool2d share, which is all but their names: pixels and tokens are the same to a maximum.
/// Derived gives `static constexpr const char* kKind`.
template <class Derived, class T, int Rank>
class GlobalMaxPoolLayer : public LayerBase<Derived> {
 public:
  using scalar = T;
  static constexpr int input_rank = Rank;

  struct Cache {
    Shape x;                         ///< (N, H, W, C) or (N, T, C)
    Tensor<std::int32_t, 2> winner;  ///< (N, C)
  };

  Shape output_shape(const Shape& in) const {
    require<ShapeError>(in.rank() == Rank && pixels(in) > 0 && pixels(in) <= kernels::kMaxGlobalPixels, Derived::kKind, ": input ", in,
        " is not (", Rank == 4 ? "images, height, width, channels) with 1 to " : "sequences, tokens, channels) with 1 to ",
        kernels::kMaxGlobalPixels, Rank == 4 ? " pixels" : " tokens");
    return {in[0], in[-1]};
  }

  using LayerBase<Derived>::forward;  // what it says to other tensors
  Tensor<T, 2> forward(const TensorView<const T, Rank>& x) const { return largest(x, nullptr); }

  Tensor<T, 2> forward(const TensorView<const T, Rank>& x, Cache& cache) const {
    cache.winner.resize(output_shape(x.shape()));
    cache.x = x.shape();
    return largest(x, cache.winner.data());
  }

  /// y is x at the winner: dx there is dy, and 0 elsewhere.
  Tensor<T, Rank> backward(const TensorView<const T, 2>& dy, Cache& cache) {
    require_filled(Derived::kKind, cache.winner);
    require_gradient_shape(Derived::kKind, dy.shape(), output_shape(cache.x), cache.x[0]);
    auto dx = Tensor<T, Rank>::uninitialized(cache.x);
    kernels::global_max_pool2d_backward(cache.x[0], pixels(cache.x), cache.x[-1], dy.data(), std::as_const(cache.winner).data(), dx.data());
    release(cache.winner);
    return dx;
  }

  template <class Self, class V>
  static void describe_members(Self&, V& visitor) {
    visitor.kind(Derived::kKind);
  }

 private:
  static Index pixels(const Shape& x) { return Rank == 4 ? x[1] * x[2] : x[1]; }

  Tensor<T, 2> largest(const TensorView<const T, Rank>& x, std::int32_t* winner) const {
    auto y = Tensor<T, 2>::uninitialized(output_shape(x.shape()));
    kernels::global_max_pool2d_forward(x.size(0), pixels(x.shape()), x.features(), x.data(), y.data(), winner);
    return y;
  }
};

}  // namespace heed::inline HEED_ABI
