// SPDX-License-Identifier: MIT
#pragma once

#include <heed/core/layer.hpp>
#include <heed/kernels/pool2d.hpp>
#include <heed/layers/size2d.hpp>

namespace heed {

struct MaxPool2dOptions {
  Size2d kernel_size = 2;
  Size2d stride = 0;   ///< 0: kernel_size
  Size2d padding = 0;  ///< −∞ around x; at most half of kernel_size
  Size2d dilation = 1;
  bool ceil_mode = false;  ///< a last window may hang over the edge
};

/// y[o, c] = max over the taps k of x[o · stride + k · dilation − padding, c] (torch.nn.MaxPool2d, on channels-last images).
///
/// Shapes: x (N, H, W, C), y (N, H', W', C) with H' = ⌊(H + 2 padding − dilation (kernel − 1) − 1) / stride⌋ + 1 (⌈…⌉ in ceil mode, as long as
/// the window starts inside). Of equal values the first in scan order wins; NaN in a window makes its y NaN. The cache keeps the number of
/// the winning tap of each y: a byte, or four for more than 256 taps.
template <class T>
class MaxPool2d : public LayerBase<MaxPool2d<T>> {
 public:
  using scalar = T;
  static constexpr int input_rank = 4;

  struct Cache {
    Shape x;                              ///< (N, H, W, C)
    Tensor<std::uint8_t, 4> winner;       ///< (N, H', W', C)
    Tensor<std::int32_t, 4> wide_winner;  ///< the same for kernels of more than 256 taps
  };

  explicit MaxPool2d(const MaxPool2dOptions& options) : options_(options) {
    auto& o = options_;
    if (o.stride.height == 0) o.stride.height = o.kernel_size.height;
    if (o.stride.width == 0) o.stride.width = o.kernel_size.width;
    require(o.kernel_size.height > 0 && o.kernel_size.width > 0 && o.stride.height > 0 && o.stride.width > 0 && o.dilation.height > 0 &&
                o.dilation.width > 0,
        "MaxPool2d: kernel_size (", o.kernel_size, "), stride (", o.stride, ") and dilation (", o.dilation, ") must be positive");
    require(o.padding.height >= 0 && o.padding.width >= 0 && 2 * o.padding.height <= o.kernel_size.height &&
                2 * o.padding.width <= o.kernel_size.width,
        "MaxPool2d: padding (", o.padding, ") must be at most half of kernel_size (", o.kernel_size, ")");
  }

  Shape output_shape(const Shape& in) const {
    const auto& o = options_;
    require<ShapeError>(
        in.rank() == 4, "MaxPool2d: input ", in, " has ", in.rank(), " axes, (images, height, width, channels) are expected");
    const Index height =
        kernels::pool2d_windows(in[1], o.kernel_size.height, o.stride.height, o.padding.height, o.dilation.height, o.ceil_mode);
    const Index width = kernels::pool2d_windows(in[2], o.kernel_size.width, o.stride.width, o.padding.width, o.dilation.width, o.ceil_mode);
    require<ShapeError>(height > 0 && width > 0, "MaxPool2d: the kernel does not fit into the input (input ", in, ", padding ", o.padding,
        ", kernel_size ", o.kernel_size, ", dilation ", o.dilation, ")");
    return image_shape(in[0], height, width, in[3]);
  }

  Tensor<T, 4> forward(const TensorView<const T, 4>& x) const {
    auto y = Tensor<T, 4>::uninitialized(output_shape(x.shape()));
    kernels::max_pool2d_forward(geometry(x.shape(), y.shape()), x.data(), y.data(), static_cast<std::uint8_t*>(nullptr));
    return y;
  }

  Tensor<T, 4> forward(const TensorView<const T, 4>& x, Cache& cache) const {
    auto y = Tensor<T, 4>::uninitialized(output_shape(x.shape()));
    const auto g = geometry(x.shape(), y.shape());
    cache.x = x.shape();
    if (narrow()) {
      cache.winner.resize(y.shape());
      kernels::max_pool2d_forward(g, x.data(), y.data(), cache.winner.data());
    } else {
      cache.wide_winner.resize(y.shape());
      kernels::max_pool2d_forward(g, x.data(), y.data(), cache.wide_winner.data());
    }
    return y;
  }

  /// y is x at the winner: dx there is the sum of the dy of the windows that it won, and 0 elsewhere.
  Tensor<T, 4> backward(const TensorView<const T, 4>& dy, Cache& cache) {
    narrow() ? require_filled("MaxPool2d", cache.winner) : require_filled("MaxPool2d", cache.wide_winner);
    const Shape expected = output_shape(cache.x);
    require_gradient_shape("MaxPool2d", dy.shape(), expected, expected.rows());
    auto dx = Tensor<T, 4>::uninitialized(cache.x);
    const auto g = geometry(cache.x, dy.shape());
    if (narrow())
      kernels::max_pool2d_backward(g, dy.data(), std::as_const(cache.winner).data(), dx.data());
    else
      kernels::max_pool2d_backward(g, dy.data(), std::as_const(cache.wide_winner).data(), dx.data());
    release(cache.winner, cache.wide_winner);
    return dx;
  }

  const MaxPool2dOptions& options() const { return options_; }

  /// The same layer over another scalar.
  template <class U>
  MaxPool2d<U> rebind() const {
    return MaxPool2d<U>(options_);
  }

  template <class Self, class V>
  static void describe_members(Self& self, V& visitor) {
    visitor.kind("MaxPool2d");
    visitor.option("kernel_size", self.options_.kernel_size);
    visitor.option("stride", self.options_.stride);
    visitor.option("padding", self.options_.padding);
    visitor.option("dilation", self.options_.dilation);
    visitor.option("ceil_mode", self.options_.ceil_mode);
  }

 private:
  bool narrow() const { return options_.kernel_size.height * options_.kernel_size.width <= 256; }
  kernels::Pool2dGeometry geometry(const Shape& x, const Shape& y) const {
    const auto& o = options_;
    return {x[0], {x[1], x[2]}, {y[1], y[2]}, x[3], {o.kernel_size.height, o.kernel_size.width}, {o.stride.height, o.stride.width},
        {o.padding.height, o.padding.width}, {o.dilation.height, o.dilation.width}};
  }

  MaxPool2dOptions options_;
};

static_assert(Layer<MaxPool2d<float>>);

}  // namespace heed
