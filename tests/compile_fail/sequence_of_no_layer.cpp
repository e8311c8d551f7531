// SPDX-License-Identifier: MIT
// A model is made of layers.
// expect: heed::Sequential: each argument is a layer
#include <heed/compose/sequential.hpp>
#include <heed/layers/relu.hpp>

void build() {
#ifdef RIGHT
  heed::Sequential net{heed::Relu<float>(), heed::Relu<float>()};
#else
  heed::Sequential net{3, heed::Relu<float>()};
#endif
}
