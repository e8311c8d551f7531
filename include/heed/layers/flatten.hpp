// SPDX-License-Identifier: MIT
#pragma once

#include <heed/core/layer.hpp>
#include <heed/fwd.hpp>

namespace heed::inline HEED_ABI {

/// y = x with all axes but the first joined: (N, ...) to (N, features), in the order of memory (torch.nn.Flatten).
///
/// Of an image batch (N, H, W, C) the features lie pixel after pixel, channels innermost; PyTorch flattens channels first, so a Linear
/// behind it needs its columns permuted when weights come from there. No parameters; the output is a copy.
template <class T, int InputRank>
class Flatten : public LayerBase<Flatten<T, InputRank>> {
  static_assert(InputRank >= 2, "heed::Flatten: the input has a batch axis and at least one more");

 public:
  using scalar = T;
  static constexpr int input_rank = InputRank;

  struct Cache {
    Shape in;  ///< of x
  };

  Shape output_shape(const Shape& in) const {
    require<ShapeError>(in.rank() == InputRank, "Flatten: input ", in, " has rank ", in.rank(), ", the layer takes rank ", InputRank);
    Index features = 1;
    for (int axis = 1; axis < InputRank; ++axis) features *= in[axis];
    return {in[0], features};
  }

  using LayerBase<Flatten<T, InputRank>>::forward;  // what it says to other tensors
  Tensor<T, 2> forward(const TensorView<const T, InputRank>& x) const {
    return Tensor<T, 2>(TensorView<const T, 2>(x.data(), output_shape(x.shape())));
  }

  Tensor<T, 2> forward(const TensorView<const T, InputRank>& x, Cache& cache) const {
    cache.in = x.shape();
    return forward(x);
  }

  /// The same numbers in another shape: so is the gradient.
  Tensor<T, InputRank> backward(const TensorView<const T, 2>& dy, Cache& cache) {
    require_filled("Flatten", cache.in);
    require_gradient_shape("Flatten", dy.shape(), output_shape(cache.in), cache.in[0]);
    return Tensor<T, InputRank>(TensorView<const T, InputRank>(dy.data(), cache.in));
  }

  /// The same layer over another scalar.
  template <class U>
  Flatten<U, InputRank> rebind() const {
    return {};
  }

  template <class Self, class V>
  static void describe_members(Self&, V& visitor) {
    visitor.kind("Flatten");
  }
};

static_assert(Layer<Flatten<float>>);
HEED_COMPILE_CLASS_ONCE(Flatten);

}  // namespace heed::inline HEED_ABI
