// SPDX-License-Identifier: MIT
// Only what has forward and backward can be certified.
// expect: heed: this is no layer: it has no struct Cache
#include <heed/layers/linear.hpp>
#include <heed/testing/check_gradients.hpp>

struct Weights {
  using scalar = double;
};

bool certify() {
#ifdef RIGHT
  const heed::Linear<double> layer({.in_features = 4, .out_features = 2});
#else
  const Weights layer;
#endif
  return heed::check_gradients(layer, heed::Shape{2, 4}).passed();
}
