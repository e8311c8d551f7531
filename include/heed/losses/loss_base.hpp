// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <string_view>
#include <type_traits>

#include <heed/core/parallel.hpp>
#include <heed/core/tensor.hpp>

namespace heed::inline HEED_ABI {

/// How the losses of the rows, or of the elements, become one number.
enum class Reduction { mean, sum };

namespace detail {
template <class T, int Rank>
void input_and_gradient(const TensorView<const T, Rank>&, Tensor<T, Rank>&);
template <class X, class DX, class T>
concept InputAndGradient = requires(const X& x, DX& dx) {
  input_and_gradient<T>(x, dx);
};
}  // namespace detail

/// What every loss gets for writing `terms(x, targets)`: its value and gradient in one call. `Derived` also has `options().reduction`.
///
/// Terms are what is added up: losses of rows, or of elements.
///
///     Index count, width;                                          // terms, and elements of x that each of them reads
///     double divisor;                                              // what a mean divides by
///     Value operator()(Index i, double scale, T* dx) const;        // loss i; writes scale times its gradient to dx unless that is null
///
/// Float losses are worked on in double (sums and cancelling differences would lose digits) and give a double. Terms are added in a fixed
/// order, so the value does not depend on the number of threads. The mean of nothing (a divisor of 0) is 0 with zero gradients.
template <class T, class Derived>
class LossBase {
 public:
  using scalar = T;
  /// What the loss is computed and returned in: double for float and double, else T.
  using Value = std::conditional_t<std::is_floating_point_v<T>, double, T>;

  /// The reduced loss; writes its gradient to `dx`, which takes the shape of x and must not share its memory. Throws ShapeError for sizes
  /// that differ.
  template <int Rank, class Targets>
  Value operator()(const TensorView<const T, Rank>& x, const Targets& targets, Tensor<T, Rank>& dx) const {
    const auto terms = terms_of(x, targets);
    dx.resize(x.shape());
    return reduce(terms, dx.data());
  }
  /// What the compiler says to other tensors.
  template <class X, class Targets, class DX>
    requires(!detail::InputAndGradient<X, DX, T>)
  HEED_REFUSED(
      "a loss and its gradient have one scalar and one number of axes, and dx is a Tensor: Tensor<T, 2> logits, Tensor<T, 2> d_logits")
  Value operator()(const X& x, const Targets& targets, DX&& dx) const;
  /// The reduced loss alone.
  template <int Rank, class Targets>
  Value value(const TensorView<const T, Rank>& x, const Targets& targets) const {
    return reduce(terms_of(x, targets), nullptr);
  }

 protected:
  /// The losses that are added up, see above.
  template <int Rank, class Targets>
  auto terms_of(const TensorView<const T, Rank>& x, const Targets& targets) const {
    static_assert(
        requires { self().terms(x, targets); },
        "heed: these targets do not belong to this loss: classes are whole numbers, a vector or span of them; others are a tensor of the "
        "input's scalar and rank");
    require<ShapeError>(x.shape().rank() == Rank, "the input of a loss is a tensor without a shape, expected ", Rank, " axes");
    return self().terms(x, targets);
  }

  /// Their sum or mean; writes the gradient to dx unless that is null.
  template <class Terms>
  Value reduce(const Terms& terms, T* dx) const {
    const bool mean = self().options().reduction == Reduction::mean;
    const double scale = !mean ? 1.0 : terms.divisor > 0 ? 1 / terms.divisor : 0.0;
    return terms.width == 0 ? Value(0) : Value(scale) * self().sum_terms(terms, scale, dx);
  }
  /// The sum of all terms, and scale times their gradients. A loss may have its own that calls this one, to be compiled once (HEED_COMPILE_CLASS_ONCE).
  template <class Terms>
  Value sum_terms(const Terms& terms, double scale, T* dx) const {
    Value sum(0);
    parallel_sum(terms.count, kShardElements / terms.width, 1, &sum, [&](Index begin, Index end, Value* partial) {
      for (Index i = begin; i < end; ++i) *partial += terms(i, scale, dx);
    });
    return sum;
  }

  /// Every term's own loss (torch's reduction "none") in `losses`, which takes `shape`, and in `dx` its gradient.
  template <int Rank, int LossRank, class Targets>
  void unreduced(const TensorView<const T, Rank>& x, const Targets& targets, const Shape& shape, Tensor<T, LossRank>& losses,
      Tensor<T, Rank>& dx) const {
    const auto terms = terms_of(x, targets);
    losses.resize(shape);
    dx.resize(x.shape());
    if (terms.width == 0) return losses.fill(T(0));
    parallel_for(terms.count, kShardElements / terms.width, [&](Index begin, Index end) {
      for (Index i = begin; i < end; ++i) losses[i] = static_cast<T>(terms(i, 1.0, dx.data()));
    });
  }

 private:
  static constexpr Index kShardElements = 2048;  // some 20 microseconds of exp: a thread is worth starting

  const Derived& self() const { return static_cast<const Derived&>(*this); }
};

namespace detail {

/// The check of the losses that compare x with targets of the same shape.
inline void require_target_shape(std::string_view loss, const Shape& x, const Shape& target) {
  require<ShapeError>(x == target, loss, ": the input is ", x, ", the targets ", target);
}

}  // namespace detail

}  // namespace heed::inline HEED_ABI
