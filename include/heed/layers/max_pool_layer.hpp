// SPDX-License-Identifier: MIT
#pragma once

#include <heed/core/layer.hpp>
#include <heed/layers/window2d.hpp>

namespace heed::inline HEED_ABI {

/// What MaxPool1d and MaxPool2d share, which is all but their options: a sequence (N, T, C) is an image (N, 1, T, C) to the kernels.
/// Derived gives `static constexpr const char* kKind`.
template <class Derived, class T, int Rank, class Options>
class MaxPoolLayer : public LayerBase<Derived> {
 public:
  using scalar = T;
  static constexpr int input_rank = Rank;

  struct Cache {
    Shape x;                                 ///< (N, H, W, C) or (N, T, C)
    Tensor<std::uint8_t, Rank> winner;       ///< the number of the winning tap, as y
    Tensor<std::int32_t, Rank> wide_winner;  ///< the same for kernels of more than 256 taps
  };

  explicit MaxPoolLayer(const Options& options) : options_(with_strides(options)), window_(Derived::kKind, options_) {
    window_.require_small_padding(options_);
  }

  Shape output_shape(const Shape& in) const { return window_.output_shape(in); }

  using LayerBase<Derived>::forward;  // what it says to other tensors
  Tensor<T, Rank> forward(const TensorView<const T, Rank>& x) const {
    auto y = Tensor<T, Rank>::uninitialized(output_shape(x.shape()));
    kernels::max_pool2d_forward(window_.geometry(x.shape(), y.shape()), x.data(), y.data(), static_cast<std::uint8_t*>(nullptr));
    return y;
  }

  /// For x of this shape: whether windows of 2 x 2 lie side by side, without padding, and none hangs over the edge (see ConvLayer::fuses_with).
  bool halves(const Shape& x) const {
    const Shape y = output_shape(x);
    const auto g = window_.geometry(x, y);
    const auto plain = [&](int axis) {
      return g.kernel[axis] == 2 && g.stride[axis] == 2 && g.dilation[axis] == 1 && g.padding[axis] == 0 &&
             g.out_size[axis] == g.size[axis] / 2;
    };
    return plain(0) && plain(1) && g.padding_end[0] == 0 && g.padding_end[1] == 0;
  }

  Tensor<T, Rank> forward(const TensorView<const T, Rank>& x, Cache& cache) const {
    auto y = Tensor<T, Rank>::uninitialized(output_shape(x.shape()));
    const auto g = window_.geometry(x.shape(), y.shape());
    cache.x = x.shape();
    if (narrow(g)) {
      cache.winner.resize(y.shape());
      kernels::max_pool2d_forward(g, x.data(), y.data(), cache.winner.data());
    } else {
      cache.wide_winner.resize(y.shape());
      kernels::max_pool2d_forward(g, x.data(), y.data(), cache.wide_winner.data());
    }
    return y;
  }

  /// Where each y of the forward pass of `cache` came from: its position in its image, row · W + column, or in its sequence (torch's
  /// return_indices); −1 for a window whose taps all lie in the padding. Before `backward`, which empties the cache.
  Tensor<std::int64_t, Rank> indices(const Cache& cache) const {
    const Shape y = filled(cache);
    auto result = Tensor<std::int64_t, Rank>::uninitialized(y);
    const auto g = window_.geometry(cache.x, y);
    if (narrow(g))
      kernels::max_pool2d_indices(g, cache.winner.data(), result.data());
    else
      kernels::max_pool2d_indices(g, cache.wide_winner.data(), result.data());
    return result;
  }

  /// y is x at the winner: dx there is the sum of the dy of the windows that it won, and 0 elsewhere.
  Tensor<T, Rank> backward(const TensorView<const T, Rank>& dy, Cache& cache) { return backward_to(cache.x, dy, cache); }

  /// The same for an x of this shape: that of the cache, or one without a last row or column that no window reaches (see ConvLayer::fuses_with).
  Tensor<T, Rank> backward_to(const Shape& x, const TensorView<const T, Rank>& dy, Cache& cache) {
    const Shape expected = filled(cache);
    require_gradient_shape(Derived::kKind, dy.shape(), expected, expected.rows());
    HEED_ASSERT(output_shape(x) == expected);
    auto dx = Tensor<T, Rank>::uninitialized(x);
    const auto g = window_.geometry(x, dy.shape());
    if (narrow(g))
      kernels::max_pool2d_backward(g, dy.data(), std::as_const(cache.winner).data(), dx.data());
    else
      kernels::max_pool2d_backward(g, dy.data(), std::as_const(cache.wide_winner).data(), dx.data());
    release(cache.winner, cache.wide_winner);
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
  }

 private:
  static bool narrow(const kernels::Pool2dGeometry& g) { return g.taps() <= 256; }
  /// The shape of y, if forward has filled the cache.
  Shape filled(const Cache& cache) const {
    cache.winner.shape().rank() > 0 ? require_filled(Derived::kKind, cache.winner) : require_filled(Derived::kKind, cache.wide_winner);
    return output_shape(cache.x);
  }

  Options options_;
  Window2d window_;
};

}  // namespace heed::inline HEED_ABI
