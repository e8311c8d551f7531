// SPDX-License-Identifier: MIT
// A model computes in one scalar type.
// expect: heed::Sequential: all layers must have the same scalar type
#include <heed/compose/sequential.hpp>
#include <heed/layers/relu.hpp>
#include <heed/layers/tanh.hpp>

void build() {
#ifdef RIGHT
  heed::Sequential net{heed::Relu<float>(), heed::Tanh<float>()};
#else
  heed::Sequential net{heed::Relu<float>(), heed::Tanh<double>()};
#endif
}
