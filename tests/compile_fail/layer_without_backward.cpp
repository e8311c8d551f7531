// SPDX-License-Identifier: MIT
// The static_assert at the end of a layer's file fails in that file, and the concept says which requirement is open.
// expect: static assertion failed|static_assert failed
// expect: backward
#include <heed/core/layer.hpp>

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

static_assert(heed::Layer<Twice<float>>);
