// SPDX-License-Identifier: MIT
#pragma once

#include <heed/core/layer.hpp>

namespace cifar10 {

/// y = factor · x: sets how sharp the softmax behind it can be. No parameters, no cache; the shape of x stays.
template <class T>
class Scale : public heed::LayerBase<Scale<T>> {
 public:
  using scalar = T;
  static constexpr int input_rank = heed::kAnyRank;
  struct Cache {};

  explicit Scale(double factor) : factor_(factor) {}

  heed::Shape output_shape(const heed::Shape& in) const { return in; }

  template <int Rank>
  heed::Tensor<T, Rank> forward(const heed::TensorView<const T, Rank>& x) const {
    auto y = heed::Tensor<T, Rank>::uninitialized(x.shape());
    for (heed::Index i = 0; i < x.size(); ++i) y[i] = T(factor_) * x[i];  // ten logits an image: nothing to share out
    return y;
  }
  template <int Rank>
  heed::Tensor<T, Rank> forward(const heed::TensorView<const T, Rank>& x, Cache&) const {
    return forward(x);
  }
  /// The derivative of a product with a constant is the constant.
  template <int Rank>
  heed::Tensor<T, Rank> backward(const heed::TensorView<const T, Rank>& dy, Cache&) {
    return forward(dy);
  }

  template <class U>
  Scale<U> rebind() const {
    return Scale<U>(factor_);
  }
  template <class Self, class V>
  static void describe_members(Self& self, V& visitor) {
    visitor.kind("Scale");
    visitor.option("factor", self.factor_);
  }

 private:
  double factor_;
};

static_assert(heed::Layer<Scale<float>>);

}  // namespace cifar10
