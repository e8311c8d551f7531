// SPDX-License-Identifier: MIT
#pragma once

#include <heed/core/layer.hpp>
#include <heed/kernels/softmax.hpp>

namespace heed::inline HEED_ABI {

/// What Softmax and LogSoftmax share: an axis, along which elements compete. Derived gives `static constexpr const char* kKind` and
/// `static constexpr bool kLog`. The cache is a view of x and no memory: backward computes y again, row by row.
template <class Derived, class T>
class SoftmaxLayer : public LayerBase<Derived> {
 public:
  using scalar = T;
  static constexpr int input_rank = kAnyRank;

  struct Cache {
    const T* x = nullptr;  ///< the caller's
    Shape shape;           ///< of x
  };

  Shape output_shape(const Shape& in) const {
    require<ShapeError>(
        dim_ >= -in.rank() && dim_ < in.rank(), Derived::kKind, ": dim is ", dim_, ", the input ", in, " has ", in.rank(), " axes");
    return in;
  }

  /// Whether tokens (N, T, C) compete with each other: decode refuses it.
  bool mixes(const Shape& in) const { return in.rank() > 2 && (dim_ < 0 ? dim_ + in.rank() : dim_) == in.rank() - 2; }

  using LayerBase<Derived>::forward;  // what it says to other tensors
  template <int Rank>
  Tensor<T, Rank> forward(const TensorView<const T, Rank>& x) const {
    auto y = Tensor<T, Rank>::uninitialized(output_shape(x.shape()));
    run(x.shape(), x.data(), y.data());
    return y;
  }

  template <int Rank>
  Tensor<T, Rank> forward(const TensorView<const T, Rank>& x, Cache& cache) const {
    cache.x = x.data(), cache.shape = x.shape();
    return forward(x);
  }
  template <int Rank>
  HEED_REFUSED("the cache looks at the input until backward has run, and a temporary is gone by then: give it a name")
  Tensor<T, Rank> forward(Tensor<T, Rank>&& x, Cache& cache) const;

  /// Along the axis: dx = y (dy - Σ y dy) of a softmax y, dx = dy - e^y Σ dy of its logarithm.
  template <int Rank>
  Tensor<T, Rank> backward(const TensorView<const T, Rank>& dy, Cache& cache) {
    require_filled(Derived::kKind, cache.shape);
    require_gradient_shape(Derived::kKind, dy.shape(), cache.shape, cache.shape.rows());
    auto dx = Tensor<T, Rank>::uninitialized(dy.shape());
    if constexpr (Derived::kLog)
      kernels::log_softmax_backward_again(kernel_shape(cache.shape), cache.x, dy.data(), dx.data());
    else
      kernels::softmax_backward_again(kernel_shape(cache.shape), cache.x, dy.data(), dx.data());
    return dx;
  }

 protected:
  /// `dim` is the axis; negative ones count from the end.
  explicit SoftmaxLayer(int dim) : dim_(dim) {}

 private:
  kernels::SoftmaxShape kernel_shape(const Shape& shape) const {
    const int axis = dim_ < 0 ? dim_ + shape.rank() : dim_;
    kernels::SoftmaxShape result{1, shape[axis], 1};
    for (int i = 0; i < axis; ++i) result.outer *= shape[i];
    for (int i = axis + 1; i < shape.rank(); ++i) result.inner *= shape[i];
    return result;
  }
  void run(const Shape& shape, const T* x, T* y) const {
    if constexpr (Derived::kLog)
      kernels::log_softmax_forward(kernel_shape(shape), x, y);
    else
      kernels::softmax_forward(kernel_shape(shape), x, y);
  }

  int dim_;
};

}  // namespace heed::inline HEED_ABI
