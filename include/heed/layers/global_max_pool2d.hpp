// SPDX-License-Identifier: MIT
#pragma once

#include <heed/core/layer.hpp>
#include <heed/kernels/global_pool2d.hpp>

namespace heed {

/// y[n, c] = max over the pixels of x[n, ·, ·, c]: (N, H, W, C) -> (N, C). Of equal values the first in scan order wins; NaN makes y NaN.
/// The cache keeps the winning pixel of each y.
template <class T>
class GlobalMaxPool2d : public LayerBase<GlobalMaxPool2d<T>> {
 public:
  using scalar = T;
  static constexpr int input_rank = 4;

  struct Cache {
    Shape x;                         ///< (N, H, W, C)
    Tensor<std::int32_t, 2> winner;  ///< (N, C)
  };

  Shape output_shape(const Shape& in) const {
    require<ShapeError>(in.rank() == 4 && in[1] * in[2] > 0 && in[1] * in[2] <= kernels::kMaxGlobalPixels, "GlobalMaxPool2d: input ", in,
        " is not (images, height, width, channels) with 1 to ", kernels::kMaxGlobalPixels, " pixels");
    return {in[0], in[3]};
  }

  Tensor<T, 2> forward(const TensorView<const T, 4>& x) const { return largest(x, nullptr); }

  Tensor<T, 2> forward(const TensorView<const T, 4>& x, Cache& cache) const {
    cache.winner.resize(output_shape(x.shape()));
    cache.x = x.shape();
    return largest(x, cache.winner.data());
  }

  /// y is x at the winner: dx there is dy, and 0 elsewhere.
  Tensor<T, 4> backward(const TensorView<const T, 2>& dy, Cache& cache) {
    require_filled("GlobalMaxPool2d", cache.winner);
    require_gradient_shape("GlobalMaxPool2d", dy.shape(), output_shape(cache.x), cache.x[0]);
    auto dx = Tensor<T, 4>::uninitialized(cache.x);
    kernels::global_max_pool2d_backward(
        cache.x[0], cache.x[1] * cache.x[2], cache.x[3], dy.data(), std::as_const(cache.winner).data(), dx.data());
    release(cache.winner);
    return dx;
  }

  /// The same layer over another scalar.
  template <class U>
  GlobalMaxPool2d<U> rebind() const {
    return {};
  }

  template <class Self, class V>
  static void describe_members(Self&, V& visitor) {
    visitor.kind("GlobalMaxPool2d");
  }

 private:
  Tensor<T, 2> largest(const TensorView<const T, 4>& x, std::int32_t* winner) const {
    auto y = Tensor<T, 2>::uninitialized(output_shape(x.shape()));
    kernels::global_max_pool2d_forward(x.size(0), x.size(1) * x.size(2), x.features(), x.data(), y.data(), winner);
    return y;
  }
};

static_assert(Layer<GlobalMaxPool2d<float>>);

}  // namespace heed
