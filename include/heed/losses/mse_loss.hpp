// SPDX-License-Identifier: MIT
#pragma once

#include <heed/losses/loss_base.hpp>

namespace heed::inline HEED_ABI {

struct MSELossOptions {
  Reduction reduction = Reduction::mean;  ///< mean divides by the number of elements
};

/// Mean squared error of tensors of any rank: value and gradient in one call.
///
///     loss_i = (x_i - target_i)^2,   d loss_i / d x_i = 2 (x_i - target_i)
///
/// `torch.nn.MSELoss`, except that the mean of no elements is 0 (torch: NaN). The gradient of the targets is the negative one of x.
///
///     Value operator()(x, target, dx) const    Value value(x, target) const     (see LossBase)
///
/// Both throw ShapeError for shapes that differ: nothing is broadcast. Derivation: docs/losses/mse_loss.md.
template <class T>
class MSELoss : public LossBase<T, MSELoss<T>> {
  using Base = LossBase<T, MSELoss<T>>;

 public:
  using typename Base::Value;

  /// Every option is right.
  explicit MSELoss(const MSELossOptions& options = {}) : options_(options) {}

  const MSELossOptions& options() const { return options_; }

  /// Every element's own loss (torch's reduction "none"), and in `dx` its derivative. `losses` takes the shape of x.
  template <int Rank>
  void elements(
      const TensorView<const T, Rank>& x, const TensorView<const T, Rank>& target, Tensor<T, Rank>& losses, Tensor<T, Rank>& dx) const {
    Base::unreduced(x, target, x.shape(), losses, dx);
  }

 private:
  friend Base;

  /// A term is an element.
  struct Terms {
    const T *x, *target;
    Index count, width;
    double divisor;

    Value operator()(Index i, double scale, T* dx) const {
      const Value difference = Value(x[i]) - Value(target[i]);
      if (dx) dx[i] = static_cast<T>(Value(2 * scale) * difference);
      return difference * difference;
    }
  };

  template <int Rank>
  Terms terms(const TensorView<const T, Rank>& x, const TensorView<const T, Rank>& target) const {
    detail::require_target_shape("MSELoss", x.shape(), target.shape());
    return {x.data(), target.data(), x.size(), 1, static_cast<double>(x.size())};
  }

  MSELossOptions options_;
};

}  // namespace heed::inline HEED_ABI
