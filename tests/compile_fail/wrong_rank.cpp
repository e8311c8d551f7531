// SPDX-License-Identifier: MIT
// A layer of images is given a sequence.
// expect: heed: forward takes the layer's scalar and axes
#include <heed/layers/conv2d.hpp>

heed::Tensor<float, 4> features(const heed::Conv2d<float>& layer, const heed::Tensor<float, 3>& x) {
#ifdef RIGHT
  return layer.forward(x.reshaped<4>({1, x.shape()[0], x.shape()[1], x.features()}));
#else
  return layer.forward(x);
#endif
}
