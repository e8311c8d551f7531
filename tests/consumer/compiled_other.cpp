// SPDX-License-Identifier: MIT
#include <heed/heed.hpp>

double mean_of_double();

double mean_of_double() {
  heed::Tensor<double, 4> x({1, 2, 2, 1});
  x(0, 0, 0, 0) = 1, x(0, 0, 1, 0) = 2, x(0, 1, 0, 0) = 3, x(0, 1, 1, 0) = 2;
  return heed::GlobalAvgPool2d<double>().forward(x)(0, 0);
}
