// SPDX-License-Identifier: MIT
// Gradients need a scalar with a fraction.
// expect: heed: layers compute in float or double
#include <heed/layers/linear.hpp>

void build() {
#ifdef RIGHT
  heed::Linear<double> layer({.in_features = 4, .out_features = 2});
#else
  heed::Linear<int> layer({.in_features = 4, .out_features = 2});
#endif
}
