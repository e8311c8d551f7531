// SPDX-License-Identifier: MIT
// The certificate says in words what a layer lacks. (static_assert(heed::Layer<Twice<float>>) fails in the layer's own file.)
// expect: heed: this is no layer: backward\(dy, cache\) is missing
#include <heed/testing/check_gradients.hpp>

template <class T>
class Twice : public heed::LayerBase<Twice<T>> {
 public:
  using scalar = T;
  static constexpr int input_rank = 2;
  struct Cache {};

  heed::Shape output_shape(const heed::Shape& in) const { return in; }
  heed::Tensor<T, 2> forward(const heed::Tensor<T, 2>& x) const { return x; }
  heed::Tensor<T, 2> forward(const heed::Tensor<T, 2>& x, Cache&) const { return x; }
#ifdef RIGHT
  heed::Tensor<T, 2> backward(const heed::Tensor<T, 2>& dy, Cache&) { return dy; }
#endif
  template <class U>
  Twice<U> rebind() const {
    return {};
  }
  template <class Self, class V>
  static void describe_members(Self&, V& visitor) {
    visitor.kind("Twice");
  }
};

bool certify() { return heed::check_gradients(Twice<double>(), heed::Shape{2, 4}).passed(); }
