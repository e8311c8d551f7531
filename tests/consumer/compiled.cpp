// SPDX-License-Identifier: MIT
// A program of two files that use layers and compile no kernels.
#include <heed/heed.hpp>

#include <cstdio>

#ifndef HEED_COMPILED
#error "heed::compiled must define HEED_COMPILED"
#endif

double mean_of_double();  // in the other file

int main() {
  heed::Linear<float> layer({.in_features = 3, .out_features = 2});
  heed::Tensor<float, 2> x({5, 3});
  x.fill(1);
  const auto y = layer.forward(x);
  const bool equal = y(0, 0) == y(4, 0) && y(0, 1) == y(4, 1);
  std::printf("rows are %s, mean of the other file %g\n", equal ? "equal" : "different", mean_of_double());
  return equal && mean_of_double() == 2 ? 0 : 1;
}
