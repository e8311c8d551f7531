// SPDX-License-Identifier: MIT
#pragma once

#include <heed/core/layer.hpp>
#include <heed/layers/window2d.hpp>

namespace heed::inline HEED_ABI {

/// What AvgPool1d and AvgPool2d share, which is all but their options: a sequence (N, T, C) is an image (N, 1, T, C) to the kernels.
/// Derived gives `static constexpr const char* kKind`.
template <class Derived, class T, int Rank, class Options>
class AvgPoolLayer : public LayerBase<Derived> {
 public:
  using scalar = T;
  static constexpr int input_rank = Rank;

  struct Cache {
    Shape x;  ///< (N, H, W, C) or (N, T, C)
  };

  explicit AvgPoolLayer(const Options& options) : options_(with_strides(options)), window_(Derived::kKind, options_) {
    window_.require_small_padding(options_);
  }

  Shape output_shape(const Shape& in) const { return window_.output_shape(in); }

  using LayerBase<Derived>::forward;  // what it says to other tensors
  Tensor<T, Rank> forward(const TensorView<const T, Rank>& x) const {
    auto y = Tensor<T, Rank>::uninitialized(output_shape(x.shape()));
    kernels::avg_pool2d_forward(window_.geometry(x.shape(), y.shape()), divisor(), x.data(), y.data());
    return y;
  }

  Tensor<T, Rank> forward(const TensorView<const T, Rank>& x, Cache& cache) const {
    cache.x = x.shape();
    return forward(x);
  }

  /// dx[i] = Σ of dy[o] / divisor(o) over the windows o that read pixel i.
  Tensor<T, Rank> backward(const TensorView<const T, Rank>& dy, Cache& cache) {
    require_filled(Derived::kKind, cache.x);
    const Shape expected = output_shape(cache.x);
    require_gradient_shape(Derived::kKind, dy.shape(), expected, expected.rows());
    auto dx = Tensor<T, Rank>::uninitialized(cache.x);
    kernels::avg_pool2d_backward(window_.geometry(cache.x, dy.shape()), divisor(), dy.data(), dx.data());
    return dx;
  }

  const Options& options() const { return options_; }

  template <class Self, class V>
  static void describe_members(Self& self, V& visitor) {
    visitor.kind(Derived::kKind);
    visitor.option("kernel_size", self.options_.kernel_size);
    visitor.option("stride", self.options_.stride);
    visitor.option("padding", self.options_.padding);
    visitor.option("dilation", self.options_.dilation);
    visitor.option("ceil_mode", self.options_.ceil_mode);
    visitor.option("count_include_pad", self.options_.count_include_pad);
    if constexpr (Rank == 4) visitor.option("divisor_override", self.options_.divisor_override);
  }

 private:
  kernels::PoolDivisor divisor() const {
    if constexpr (Rank == 4)
      return {options_.count_include_pad, options_.divisor_override};
    else
      return {options_.count_include_pad, 0};
  }

  Options options_;
  Window2d window_;
};

}  // namespace heed::inline HEED_ABI
