// SPDX-License-Identifier: MIT
#pragma once

#include <utility>

#include <heed/core/tensor.hpp>

namespace heed::inline HEED_ABI {

/// A trainable tensor: value and gradient, in PyTorch's layout (convolution weights are (out, in / groups, height, width), linear weights
/// (out, in)), which is also the layout of files. Kernels repack as they like.
///
/// The gradient rule of the library: `backward` **adds** to parameter gradients (several batches accumulate; `zero_gradient` starts over),
/// while input gradients are fresh tensors. A frozen parameter is passed over by optimisers; layers may skip its gradient. One that is part
/// of a layer's design and never trained is fixed: it is frozen for good, and the `freeze(false)` of a model passes it over.
template <class T>
class Parameter {
  static_assert(!std::is_integral_v<T>, "heed: layers compute in float or double; whole numbers have no gradients");

 public:
  using scalar = T;

  Parameter() = default;
  /// Zeros.
  explicit Parameter(const Shape& shape) : shape_(shape), value_({shape.size()}) {}

  /// In PyTorch's layout, see the layer.
  const Shape& shape() const { return shape_; }
  /// Number of elements.
  Index size() const { return value_.size(); }
  /// True where the layer has no such parameter (a bias that was not asked for).
  bool empty() const { return value_.empty(); }

  /// The elements, row-major.
  const T* value() const { return value_.data(); }
  T* value() { return value_.data(); }
  /// The gradient, zeros at first use. Models that only infer never allocate it.
  T* gradient() {
    if (gradient_.size() != size()) gradient_ = Tensor<T, 1>::lasting({size()});
    return gradient_.data();
  }
  /// Null as long as no gradient was asked for.
  const T* gradient() const { return gradient_.empty() ? nullptr : gradient_.data(); }
  /// Whether a gradient was asked for, which allocates it.
  bool has_gradient() const { return !gradient_.empty(); }
  /// Sets the gradient to zero, if there is one.
  void zero_gradient() {
    if (has_gradient()) gradient_.fill(T(0));
  }

  /// Passed over by optimisers; see `freeze` and `fix`.
  bool frozen() const { return frozen_ || fixed_; }
  /// Null if frozen or empty: what `backward` hands to kernels, which take null for a gradient that nobody wants.
  T* gradient_unless_frozen() { return frozen() ? nullptr : gradient(); }
  /// Keeps optimisers from changing it, or lets them again.
  void freeze(bool frozen = true) { frozen_ = frozen; }
  /// For layers: frozen for good, in copies, too.
  void fix() { fixed_ = true; }
  /// See `fix`.
  bool fixed() const { return fixed_; }

 private:
  Shape shape_;
  Tensor<T, 1> value_, gradient_;
  bool frozen_ = false, fixed_ = false;
};

HEED_COMPILE_CLASS_ONCE(Parameter);

}  // namespace heed::inline HEED_ABI
