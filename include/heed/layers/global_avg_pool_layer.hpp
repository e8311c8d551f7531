// SPDX-License-Identifier: MIT
#pragma once

#include <heed/core/layer.hpp>
#include <heed/kernels/global_pool2d.hpp>

namespace heed::inline HEED_ABI {

/// What GlobalAvgPool1d and GlobalAvgPool2d share, which is all but their names: pixels and tokens are the same to a mean.
/// Derived gives `static constexpr const char* kKind`.
template <class Derived, class T, int Rank>
class GlobalAvgPoolLayer : public LayerBase<Derived> {
 public:
  using scalar = T;
  static constexpr int input_rank = Rank;

  struct Cache {
    Shape x;  ///< (N, H, W, C) or (N, T, C)
  };

  Shape output_shape(const Shape& in) const {
    require<ShapeError>(in.rank() == Rank && pixels(in) > 0, Derived::kKind, ": input ", in, " is not (",
        Rank == 4 ? "images, height, width, channels) with at least one pixel" : "sequences, tokens, channels) with at least one token");
    return {in[0], in[-1]};
  }

  using LayerBase<Derived>::forward;  // what it says to other tensors
  Tensor<T, 2> forward(const TensorView<const T, Rank>& x) const {
    auto y = Tensor<T, 2>::uninitialized(output_shape(x.shape()));
    kernels::global_avg_pool2d_forward(x.size(0), pixels(x.shape()), x.features(), x.data(), y.data());
    return y;
  }

  Tensor<T, 2> forward(const TensorView<const T, Rank>& x, Cache& cache) const {
    cache.x = x.shape();
    return forward(x);
  }

  /// dx[n, p, c] = dy[n, c] / pixels.
  Tensor<T, Rank> backward(const TensorView<const T, 2>& dy, Cache& cache) {
    require_filled(Derived::kKind, cache.x);
    require_gradient_shape(Derived::kKind, dy.shape(), output_shape(cache.x), cache.x[0]);
    auto dx = Tensor<T, Rank>::uninitialized(cache.x);
    kernels::global_avg_pool2d_backward(cache.x[0], pixels(cache.x), cache.x[-1], dy.data(), dx.data());
    return dx;
  }

  template <class Self, class V>
  static void describe_members(Self&, V& visitor) {
    visitor.kind(Derived::kKind);
  }

 private:
  static Index pixels(const Shape& x) { return Rank == 4 ? x[1] * x[2] : x[1]; }
};

}  // namespace heed::inline HEED_ABI
