// SPDX-License-Identifier: MIT
// A layer beside the program of main.cpp, so that there are kernels to look at.
#include <heed/layers/linear.hpp>

float first_output();
float first_output() {
  heed::Linear<float> layer({.in_features = 3, .out_features = 2});
  heed::Tensor<float, 2> x({1, 3});
  return layer.forward(x)(0, 0);
}
