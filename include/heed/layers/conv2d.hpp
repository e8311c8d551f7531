// SPDX-License-Identifier: MIT
#pragma once

#include <heed/core/initialize.hpp>
#include <heed/core/layer.hpp>
#include <heed/kernels/conv2d.hpp>
#include <heed/kernels/depthwise_conv2d.hpp>
#include <heed/layers/size2d.hpp>

namespace heed {

struct Conv2dOptions {
  Index in_channels = 0;
  Index out_channels = 0;
  Size2d kernel_size = 1;
  Size2d stride = 1;
  Padding2d padding = 0;  ///< zeros around x
  Size2d dilation = 1;    ///< distance of the taps
  Index groups = 1;       ///< output channels of group g see the input channels of group g only
  bool bias = true;
  /// False for a network's first layer: `backward` leaves ∂f/∂x out and returns an empty tensor.
  bool input_gradient = true;
};

/// y[p, o] = bias[o] + Σ_{k, i} x[p · stride + k · dilation − padding, i] weight[o, i, k] (torch.nn.Conv2d, on channels-last images).
///
/// Shapes: x (N, H, W, in_channels), y (N, H', W', out_channels) with H' = ⌊(H + top + bottom − dilation (kernel − 1) − 1) / stride⌋ + 1,
/// weight (out_channels, in_channels / groups, kernel height, kernel width), bias (out_channels). Both start uniform in
/// ±1/√(in_channels / groups · kernel height · kernel width), as torch.nn.Conv2d does. The cache keeps a view of x and no memory.
template <class T>
class Conv2d : public LayerBase<Conv2d<T>> {
 public:
  using scalar = T;
  static constexpr int input_rank = 4;

  struct Cache {
    TensorView<const T, 4> x;  ///< (N, H, W, in_channels), the caller's
  };

  explicit Conv2d(const Conv2dOptions& options) : options_(options) {
    const auto& o = options_;
    require(o.in_channels > 0 && o.out_channels > 0 && o.groups > 0 && o.in_channels % o.groups == 0 && o.out_channels % o.groups == 0,
        "Conv2d: in_channels (", o.in_channels, ") and out_channels (", o.out_channels, ") must be positive multiples of groups (",
        o.groups, ")");
    require(o.kernel_size.height > 0 && o.kernel_size.width > 0 && o.stride.height > 0 && o.stride.width > 0 && o.dilation.height > 0 &&
                o.dilation.width > 0,
        "Conv2d: kernel_size (", o.kernel_size, "), stride (", o.stride, ") and dilation (", o.dilation, ") must be positive");
    require(o.padding.top >= 0 && o.padding.left >= 0 && o.padding.bottom >= 0 && o.padding.right >= 0, "Conv2d: padding (", o.padding,
        ") must not be negative");
    weight_ = Parameter<T>({o.out_channels, o.in_channels / o.groups, o.kernel_size.height, o.kernel_size.width});
    initialize(weight_, Initializer::fan_in_uniform);
    if (!o.bias) return;
    bias_ = Parameter<T>({o.out_channels});
    initialize(bias_, Initializer::fan_in_uniform, {.fan_in = weight_.size() / o.out_channels});
  }

  Shape output_shape(const Shape& in) const {
    const auto& o = options_;
    require<ShapeError>(in.rank() == 4, "Conv2d: input ", in, " has ", in.rank(), " axes, (images, height, width, channels) are expected");
    require<ShapeError>(in[3] == o.in_channels, "Conv2d: input has ", in[3], " channels, weight expects ", o.in_channels, " (input ", in,
        ", weight ", weight_.shape(), ", groups ", o.groups, ")");
    const Index free_height = in[1] + o.padding.top + o.padding.bottom - o.dilation.height * (o.kernel_size.height - 1) - 1;
    const Index free_width = in[2] + o.padding.left + o.padding.right - o.dilation.width * (o.kernel_size.width - 1) - 1;
    require<ShapeError>(free_height >= 0 && free_width >= 0, "Conv2d: the kernel does not fit into the input (input ", in, ", padding ",
        o.padding, ", kernel_size ", o.kernel_size, ", dilation ", o.dilation, ")");
    return image_shape(in[0], free_height / o.stride.height + 1, free_width / o.stride.width + 1, o.out_channels);
  }

  Tensor<T, 4> forward(const TensorView<const T, 4>& x) const {
    auto y = Tensor<T, 4>::uninitialized(output_shape(x.shape()));
    const auto g = geometry(x.shape(), y.shape());
    const T* bias = options_.bias ? bias_.value() : nullptr;
    if (depthwise())
      kernels::depthwise_conv2d_forward(g, x.data(), weight_.value(), bias, y.data());
    else
      kernels::conv2d_forward(g, x.data(), weight_.value(), bias, y.data());
    return y;
  }

  Tensor<T, 4> forward(const TensorView<const T, 4>& x, Cache& cache) const {
    cache.x = x;
    return forward(x);
  }
  Tensor<T, 4> forward(Tensor<T, 4>&& x, Cache& cache) const = delete;  // x must outlive the cache

  /// Each product x · weight of the forward pass sends dy · weight to dx and dy · x to d_weight; d_bias += dy summed over pixels.
  Tensor<T, 4> backward(const TensorView<const T, 4>& dy, Cache& cache) {
    require_filled("Conv2d", cache.x);
    const Shape expected = output_shape(cache.x.shape());
    require_gradient_shape("Conv2d", dy.shape(), expected, expected.rows());
    const auto g = geometry(cache.x.shape(), dy.shape());
    Tensor<T, 4> dx;
    if (options_.input_gradient) {
      dx.resize(cache.x.shape());
      if (depthwise())
        kernels::depthwise_conv2d_input_gradient(g, dy.data(), weight_.value(), dx.data());
      else
        kernels::conv2d_input_gradient(g, dy.data(), weight_.value(), dx.data());
    }
    if (!weight_.frozen()) {
      if (depthwise())
        kernels::depthwise_conv2d_weight_gradient(g, cache.x.data(), dy.data(), weight_.gradient());
      else
        kernels::conv2d_weight_gradient(g, cache.x.data(), dy.data(), weight_.gradient());
    }
    if (options_.bias && !bias_.frozen()) kernels::add_column_sums(dy.rows(), dy.features(), dy.data(), dy.features(), bias_.gradient());
    return dx;
  }

  const Conv2dOptions& options() const { return options_; }
  Parameter<T>& weight() { return weight_; }
  const Parameter<T>& weight() const { return weight_; }
  /// Empty without a bias.
  Parameter<T>& bias() { return bias_; }
  const Parameter<T>& bias() const { return bias_; }

  /// The same layer over another scalar.
  template <class U>
  Conv2d<U> rebind() const {
    return this->template rebound<Conv2d<U>>(options_);
  }

  template <class Self, class V>
  static void describe_members(Self& self, V& visitor) {
    const auto& o = self.options_;
    visitor.kind("Conv2d");
    visitor.option("in_channels", o.in_channels);
    visitor.option("out_channels", o.out_channels);
    visitor.option("kernel_size", o.kernel_size);
    visitor.option("stride", o.stride);
    visitor.option("padding", o.padding);
    visitor.option("dilation", o.dilation);
    visitor.option("groups", o.groups);
    visitor.option("bias", o.bias);
    visitor.option("input_gradient", o.input_gradient);
    visitor.parameter("weight", self.weight_);
    if (o.bias) visitor.parameter("bias", self.bias_);
  }

 private:
  bool depthwise() const {
    return options_.groups == options_.in_channels && options_.groups == options_.out_channels && options_.groups > 1;
  }
  kernels::Conv2dGeometry geometry(const Shape& x, const Shape& y) const {
    const auto& o = options_;
    return {x[0], {x[1], x[2]}, x[3], {y[1], y[2]}, y[3], {o.kernel_size.height, o.kernel_size.width}, {o.stride.height, o.stride.width},
        {o.dilation.height, o.dilation.width}, {o.padding.top, o.padding.left}, o.groups};
  }

  Conv2dOptions options_;
  Parameter<T> weight_, bias_;
};

static_assert(Layer<Conv2d<float>>);

}  // namespace heed
