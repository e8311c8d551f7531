// SPDX-License-Identifier: MIT
#pragma once

#include <heed/core/layer.hpp>
#include <heed/kernels/pool2d.hpp>
#include <heed/layers/size2d.hpp>

namespace heed {

struct AvgPool2dOptions {
  Size2d kernel_size = 2;
  Size2d stride = 0;              ///< 0: kernel_size
  Size2d padding = 0;             ///< zeros around x; at most half of kernel_size
  bool ceil_mode = false;         ///< a last window may hang over the edge
  bool count_include_pad = true;  ///< divide by what lies in the image and its padding, not by what lies in the image alone
};

/// y[o, c] = Σ over the taps k of x[o · stride + k − padding, c] / count(o) (torch.nn.AvgPool2d, on channels-last images).
///
/// Shapes: x (N, H, W, C), y (N, H', W', C) with H' = ⌊(H + 2 padding − kernel) / stride⌋ + 1 (⌈…⌉ in ceil mode, as long as the window starts
/// inside). What ceil mode lets hang over the padded edge is never counted. The cache keeps the shape of x and no memory.
template <class T>
class AvgPool2d : public LayerBase<AvgPool2d<T>> {
 public:
  using scalar = T;
  static constexpr int input_rank = 4;

  struct Cache {
    Shape x;  ///< (N, H, W, C)
  };

  explicit AvgPool2d(const AvgPool2dOptions& options) : options_(options) {
    auto& o = options_;
    if (o.stride.height == 0) o.stride.height = o.kernel_size.height;
    if (o.stride.width == 0) o.stride.width = o.kernel_size.width;
    require(o.kernel_size.height > 0 && o.kernel_size.width > 0 && o.stride.height > 0 && o.stride.width > 0, "AvgPool2d: kernel_size (",
        o.kernel_size, ") and stride (", o.stride, ") must be positive");
    require(o.padding.height >= 0 && o.padding.width >= 0 && 2 * o.padding.height <= o.kernel_size.height &&
                2 * o.padding.width <= o.kernel_size.width,
        "AvgPool2d: padding (", o.padding, ") must be at most half of kernel_size (", o.kernel_size, ")");
  }

  Shape output_shape(const Shape& in) const {
    const auto& o = options_;
    require<ShapeError>(
        in.rank() == 4, "AvgPool2d: input ", in, " has ", in.rank(), " axes, (images, height, width, channels) are expected");
    const Index height = kernels::pool2d_windows(in[1], o.kernel_size.height, o.stride.height, o.padding.height, 1, o.ceil_mode);
    const Index width = kernels::pool2d_windows(in[2], o.kernel_size.width, o.stride.width, o.padding.width, 1, o.ceil_mode);
    require<ShapeError>(height > 0 && width > 0, "AvgPool2d: the kernel does not fit into the input (input ", in, ", padding ", o.padding,
        ", kernel_size ", o.kernel_size, ")");
    return image_shape(in[0], height, width, in[3]);
  }

  Tensor<T, 4> forward(const TensorView<const T, 4>& x) const {
    auto y = Tensor<T, 4>::uninitialized(output_shape(x.shape()));
    kernels::avg_pool2d_forward(geometry(x.shape(), y.shape()), options_.count_include_pad, x.data(), y.data());
    return y;
  }

  Tensor<T, 4> forward(const TensorView<const T, 4>& x, Cache& cache) const {
    cache.x = x.shape();
    return forward(x);
  }

  /// dx[i] = Σ of dy[o] / count(o) over the windows o that read pixel i.
  Tensor<T, 4> backward(const TensorView<const T, 4>& dy, Cache& cache) {
    require_filled("AvgPool2d", cache.x);
    const Shape expected = output_shape(cache.x);
    require_gradient_shape("AvgPool2d", dy.shape(), expected, expected.rows());
    auto dx = Tensor<T, 4>::uninitialized(cache.x);
    kernels::avg_pool2d_backward(geometry(cache.x, dy.shape()), options_.count_include_pad, dy.data(), dx.data());
    return dx;
  }

  const AvgPool2dOptions& options() const { return options_; }

  /// The same layer over another scalar.
  template <class U>
  AvgPool2d<U> rebind() const {
    return AvgPool2d<U>(options_);
  }

  template <class Self, class V>
  static void describe_members(Self& self, V& visitor) {
    visitor.kind("AvgPool2d");
    visitor.option("kernel_size", self.options_.kernel_size);
    visitor.option("stride", self.options_.stride);
    visitor.option("padding", self.options_.padding);
    visitor.option("ceil_mode", self.options_.ceil_mode);
    visitor.option("count_include_pad", self.options_.count_include_pad);
  }

 private:
  kernels::Pool2dGeometry geometry(const Shape& x, const Shape& y) const {
    const auto& o = options_;
    return {x[0], {x[1], x[2]}, {y[1], y[2]}, x[3], {o.kernel_size.height, o.kernel_size.width}, {o.stride.height, o.stride.width},
        {o.padding.height, o.padding.width}, {1, 1}};
  }

  AvgPool2dOptions options_;
};

static_assert(Layer<AvgPool2d<float>>);

}  // namespace heed
