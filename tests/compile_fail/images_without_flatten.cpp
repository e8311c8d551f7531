// SPDX-License-Identifier: MIT
// Within a model: what a convolution gives is no sequence.
// expect: heed: forward takes the layer's scalar and axes
#include <heed/compose/sequential.hpp>
#include <heed/layers/conv2d.hpp>
#include <heed/layers/transformer_encoder_layer.hpp>

#ifdef RIGHT
using Model = heed::Sequential<heed::Conv2d<float>, heed::Conv2d<float>>;
#else
using Model = heed::Sequential<heed::Conv2d<float>, heed::TransformerEncoderLayer<float>>;
#endif
auto answers(const Model& model, const heed::Tensor<float, 4>& x) { return model.forward(x); }
