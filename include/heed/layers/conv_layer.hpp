// SPDX-License-Identifier: MIT
#pragma once

#include <heed/core/initialize.hpp>
#include <heed/core/layer.hpp>
#include <heed/kernels/conv2d.hpp>
#include <heed/kernels/depthwise_conv2d.hpp>
#include <heed/layers/window2d.hpp>

namespace heed::inline HEED_ABI {

template <class T>
class MaxPool2d;

/// What Conv1d and Conv2d share, which is all but their options: a sequence (N, T, C) is an image (N, 1, T, C) to the kernels, and a weight
/// (out, in / groups, kernel) lies in memory as one of height 1.
///
/// Derived gives `static constexpr const char* kKind`, and a weight's axes are out, in / groups and those of the kernel.
template <class Derived, class T, int Rank, class Options>
class ConvLayer : public LayerBase<Derived> {
 public:
  using scalar = T;
  static constexpr int input_rank = Rank;

  struct Cache {
    TensorView<const T, Rank> x;  ///< (N, H, W, in_channels) or (N, T, in_channels), the caller's
  };

  explicit ConvLayer(const Options& options) : options_(options), window_(Derived::kKind, options) {
    const auto& o = options_;
    require(o.in_channels > 0 && o.out_channels > 0 && o.groups > 0 && o.in_channels % o.groups == 0 && o.out_channels % o.groups == 0,
        Derived::kKind, ": in_channels (", o.in_channels, ") and out_channels (", o.out_channels,
        ") must be positive multiples of groups (", o.groups, ")");
    if constexpr (Rank == 4)
      require(o.algorithm == kernels::Conv2dAlgorithm::automatic || o.algorithm == kernels::Conv2dAlgorithm::direct ||
                  (o.kernel_size == Size2d(3) && o.stride == Size2d(1) && o.dilation == Size2d(1) && o.groups == 1),
          Derived::kKind, ": a Winograd algorithm needs kernel_size 3, stride 1, dilation 1 and groups 1 (kernel_size ", o.kernel_size,
          ", stride ", o.stride, ", dilation ", o.dilation, ", groups ", o.groups, "); Conv2dAlgorithm::automatic takes what fits");
    Shape weight{o.out_channels, o.in_channels / o.groups};
    if constexpr (Rank == 4) weight.push_back(o.kernel_size.height), weight.push_back(o.kernel_size.width);
    if constexpr (Rank == 3) weight.push_back(o.kernel_size);
    weight_ = Parameter<T>(weight);
    initialize(weight_, Initializer::fan_in_uniform);
    if (!o.bias) return;
    bias_ = Parameter<T>({o.out_channels});
    initialize(bias_, Initializer::fan_in_uniform, {.fan_in = weight_.size() / o.out_channels});
  }

  Shape output_shape(const Shape& in) const {
    const Shape out = window_.output_shape(in, options_.out_channels);
    require<ShapeError>(in.features() == options_.in_channels, Derived::kKind, ": input has ", in.features(), " channels, weight expects ",
        options_.in_channels, " (input ", in, ", weight ", weight_.shape(), ", groups ", options_.groups, ")");
    return out;
  }

  using LayerBase<Derived>::forward;  // what it says to other tensors
  Tensor<T, Rank> forward(const TensorView<const T, Rank>& x) const {
    const Shape y = output_shape(x.shape());
    return forward(x, y, geometry(x.shape(), y));
  }

  Tensor<T, Rank> forward(const TensorView<const T, Rank>& x, Cache& cache) const {
    cache.x = x;
    return forward(x);
  }
  HEED_REFUSED("the cache looks at the input until backward has run, and a temporary is gone by then: give it a name")
  Tensor<T, Rank> forward(Tensor<T, Rank>&& x, Cache& cache) const;

  /// Each product x · weight of the forward pass sends dy · weight to dx and dy · x to d_weight; d_bias += dy summed over pixels.
  Tensor<T, Rank> backward(const TensorView<const T, Rank>& dy, Cache& cache) {
    require_filled(Derived::kKind, cache.x);
    const Shape expected = output_shape(cache.x.shape());
    require_gradient_shape(Derived::kKind, dy.shape(), expected, expected.rows());
    const auto g = geometry(cache.x.shape(), expected);
    return backward(dy, cache, g, g);
  }

  /// A MaxPool2d behind this layer whose windows of 2x2 lie side by side is run by it (see Sequential), with the same bits (gradients: of finite numbers). Where
  /// the convolution is Winograd's (F(4x4): of at most 128 input channels) both are one pass over memory, and what lies between is never written. A last row or
  /// column that no window reaches is not made there, nor by other convolutions of F(4x4) where that spares points (kernels::conv2d_reached); with a bias its
  /// gradient is, as the bias's sum counts it.
  template <class Self, class Next>
  static constexpr bool fuses_with = (std::is_same_v<Self, Derived> && Rank == 4 && std::is_same_v<Next, MaxPool2d<T>>);

  template <class Next>
  Tensor<T, Rank> forward_then(const Next& next, const TensorView<const T, Rank>& x) const {
    const Shape between = output_shape(x.shape());
    if (!next.halves(between)) return next.forward(forward(x));
    const auto g = geometry(x.shape(), between);
    if (kernels::conv2d_pools<T>(g)) return forward_pooled(g, x, next.output_shape(between), nullptr);
    const auto reached = kernels::conv2d_reached<T>(g);
    return next.forward(forward(x, shape_of(reached), reached));
  }
  template <class Next>
  Tensor<T, Rank> forward_then(const Next& next, const TensorView<const T, Rank>& x, Cache& cache, typename Next::Cache& next_cache) const {
    cache.x = x;
    const Shape between = output_shape(x.shape());
    if (!next.halves(between)) return next.forward(forward(x), next_cache);
    const auto g = geometry(x.shape(), between);
    Tensor<T, Rank> y;
    if (kernels::conv2d_pools<T>(g)) {
      next_cache.winner.resize(next.output_shape(between));
      y = forward_pooled(g, x, next_cache.winner.shape(), next_cache.winner.data());
    } else {
      const auto reached = kernels::conv2d_reached<T>(g);
      y = next.forward(forward(x, shape_of(reached), reached), next_cache);
    }
    next_cache.x = between;
    return y;
  }
  template <class Next>
  Tensor<T, Rank> backward_then(Next& next, const TensorView<const T, Rank>& dy, Cache& cache, typename Next::Cache& next_cache) {
    require_filled(Derived::kKind, cache.x);
    const Shape between = output_shape(cache.x.shape());
    if (!next.halves(between)) return backward(next.backward(dy, next_cache), cache);
    auto g = geometry(cache.x.shape(), between);
    const auto for_weight = options_.bias ? g : kernels::conv2d_reached<T>(g);
    std::copy_n(for_weight.out_size, 2, g.out_size);  // the input's gradient chooses its own algorithm
    return backward(next.backward_to(shape_of(g), dy, next_cache), cache, g, for_weight);
  }

  const Options& options() const { return options_; }
  Parameter<T>& weight() { return weight_; }
  const Parameter<T>& weight() const { return weight_; }
  /// Empty without a bias.
  Parameter<T>& bias() { return bias_; }
  const Parameter<T>& bias() const { return bias_; }

  template <class Self, class V>
  static void describe_members(Self& self, V& visitor) {
    const auto& o = self.options_;
    visitor.kind(Derived::kKind);
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
  const T* bias_or_null() const { return options_.bias ? bias_.value() : nullptr; }
  /// y of a shape that fits the geometry.
  Tensor<T, Rank> forward(const TensorView<const T, Rank>& x, const Shape& y_shape, const kernels::Conv2dGeometry& g) const {
    auto y = Tensor<T, Rank>::uninitialized(y_shape);
    if (depthwise())
      kernels::depthwise_conv2d_forward(g, x.data(), weight_.value(), bias_or_null(), y.data());
    else
      kernels::conv2d_forward(g, x.data(), weight_.value(), bias_or_null(), y.data());
    return y;
  }
  Tensor<T, Rank> backward(const TensorView<const T, Rank>& dy, Cache& cache, const kernels::Conv2dGeometry& for_input,
      const kernels::Conv2dGeometry& for_weight) {
    Tensor<T, Rank> dx;
    if (options_.input_gradient) {
      dx.resize(cache.x.shape());
      if (depthwise())
        kernels::depthwise_conv2d_input_gradient(for_input, dy.data(), weight_.value(), dx.data());
      else
        kernels::conv2d_input_gradient(for_input, dy.data(), weight_.value(), dx.data());
    }
    if (!weight_.frozen()) {
      if (depthwise())
        kernels::depthwise_conv2d_weight_gradient(for_weight, cache.x.data(), dy.data(), weight_.gradient());
      else
        kernels::conv2d_weight_gradient(for_weight, cache.x.data(), dy.data(), weight_.gradient());
    }
    if (options_.bias && !bias_.frozen()) kernels::add_column_sums(dy.rows(), dy.features(), dy.data(), dy.features(), bias_.gradient());
    return dx;
  }
  Tensor<T, Rank> forward_pooled(
      const kernels::Conv2dGeometry& g, const TensorView<const T, Rank>& x, const Shape& y_shape, std::uint8_t* winner) const {
    auto y = Tensor<T, Rank>::uninitialized(y_shape);
    kernels::conv2d_max_pool_forward(g, x.data(), weight_.value(), bias_or_null(), y.data(), winner);
    return y;
  }
  static Shape shape_of(const kernels::Conv2dGeometry& g) { return image_shape(g.images, g.out_size[0], g.out_size[1], g.out_channels); }
  kernels::Conv2dAlgorithm algorithm() const {
    if constexpr (requires { options_.algorithm; }) return options_.algorithm;
    return kernels::Conv2dAlgorithm::automatic;
  }
  kernels::Conv2dGeometry geometry(const Shape& x, const Shape& y) const {
    const auto g = window_.geometry(x, y);
    return {g.images, {g.size[0], g.size[1]}, x[-1], {g.out_size[0], g.out_size[1]}, y[-1], {g.kernel[0], g.kernel[1]},
        {g.stride[0], g.stride[1]}, {g.dilation[0], g.dilation[1]}, {g.padding[0], g.padding[1]}, options_.groups, algorithm()};
  }

  Options options_;
  Window2d window_;
  Parameter<T> weight_, bias_;
};

}  // namespace heed::inline HEED_ABI
