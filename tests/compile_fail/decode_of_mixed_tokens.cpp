// SPDX-License-Identifier: MIT
// A convolution over tokens that is given the new tokens alone would be wrong without a word.
// expect: this one mixes tokens
#include <heed/compose/sequential.hpp>
#include <heed/layers/conv1d.hpp>
#include <heed/layers/linear.hpp>
#include <heed/layers/transformer_encoder_layer.hpp>

using Attention = heed::TransformerEncoderLayer<float>;
#ifdef RIGHT
using Model = heed::Sequential<heed::Linear<float>, Attention>;
#else
using Model = heed::Sequential<heed::Conv1d<float>, Attention>;
#endif

heed::Tensor<float, 3> next(const Model& model, const heed::Tensor<float, 3>& x, Model::DecodeState& state) {
  return model.decode(x, state);
}
