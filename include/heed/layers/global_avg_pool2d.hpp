// SPDX-License-Identifier: MIT
#pragma once

#include <heed/core/layer.hpp>
#include <heed/kernels/global_pool2d.hpp>

namespace heed {

/// y[n, c] = mean over the pixels of x[n, ·, ·, c]: (N, H, W, C) -> (N, C). The cache keeps the shape of x and no memory.
template <class T>
class GlobalAvgPool2d : public LayerBase<GlobalAvgPool2d<T>> {
 public:
  using scalar = T;
  static constexpr int input_rank = 4;

  struct Cache {
    Shape x;  ///< (N, H, W, C)
  };

  Shape output_shape(const Shape& in) const {
    require<ShapeError>(in.rank() == 4 && in[1] * in[2] > 0, "GlobalAvgPool2d: input ", in,
        " is not (images, height, width, channels) with at least one pixel");
    return {in[0], in[3]};
  }

  Tensor<T, 2> forward(const TensorView<const T, 4>& x) const {
    auto y = Tensor<T, 2>::uninitialized(output_shape(x.shape()));
    kernels::global_avg_pool2d_forward(x.size(0), x.size(1) * x.size(2), x.features(), x.data(), y.data());
    return y;
  }

  Tensor<T, 2> forward(const TensorView<const T, 4>& x, Cache& cache) const {
    cache.x = x.shape();
    return forward(x);
  }

  /// dx[n, p, c] = dy[n, c] / pixels.
  Tensor<T, 4> backward(const TensorView<const T, 2>& dy, Cache& cache) {
    require_filled("GlobalAvgPool2d", cache.x);
    require_gradient_shape("GlobalAvgPool2d", dy.shape(), output_shape(cache.x), cache.x[0]);
    auto dx = Tensor<T, 4>::uninitialized(cache.x);
    kernels::global_avg_pool2d_backward(cache.x[0], cache.x[1] * cache.x[2], cache.x[3], dy.data(), dx.data());
    return dx;
  }

  /// The same layer over another scalar.
  template <class U>
  GlobalAvgPool2d<U> rebind() const {
    return {};
  }

  template <class Self, class V>
  static void describe_members(Self&, V& visitor) {
    visitor.kind("GlobalAvgPool2d");
  }
};

static_assert(Layer<GlobalAvgPool2d<float>>);

}  // namespace heed
