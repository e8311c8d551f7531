// SPDX-License-Identifier: MIT
#pragma once

// All that a model is made of and trained with. Data, files, the training loop and the certificate are included by name, or by all.hpp.

/// @namespace heed
/// Tensors, layers and attention with hand-written gradients. Layers keep the contract of the concept heed::Layer; the folders of `heed/` are its rooms.
/// @namespace heed::kernels
/// What layers call: free functions on memory, forward and backward side by side, which check nothing but in debug builds. Sizes are the caller's promise.
/// @namespace heed::io
/// Models, checkpoints and tensors in files. Readers throw FileError with path, offset, what was expected and what was found.

#include <heed/compose/any_layer.hpp>
#include <heed/compose/predictor.hpp>
#include <heed/compose/residual.hpp>
#include <heed/compose/sequential.hpp>
#include <heed/compose/stack.hpp>
#include <heed/core/buffer_pool.hpp>
#include <heed/core/config.hpp>
#include <heed/core/context.hpp>
#include <heed/core/error.hpp>
#include <heed/core/fingerprint.hpp>
#include <heed/core/initialize.hpp>
#include <heed/core/isa.hpp>
#include <heed/core/layer.hpp>
#include <heed/core/parallel.hpp>
#include <heed/core/parameter.hpp>
#include <heed/core/random.hpp>
#include <heed/core/shape.hpp>
#include <heed/core/simd.hpp>
#include <heed/core/tensor.hpp>
#include <heed/layers/activation_layer.hpp>
#include <heed/layers/alibi.hpp>
#include <heed/layers/attention_fusion.hpp>
#include <heed/layers/attention_mask.hpp>
#include <heed/layers/attention_observer.hpp>
#include <heed/layers/avg_pool1d.hpp>
#include <heed/layers/avg_pool2d.hpp>
#include <heed/layers/batch_norm1d.hpp>
#include <heed/layers/batch_norm2d.hpp>
#include <heed/layers/batch_norm_layer.hpp>
#include <heed/layers/conv1d.hpp>
#include <heed/layers/conv2d.hpp>
#include <heed/layers/dropout.hpp>
#include <heed/layers/elu.hpp>
#include <heed/layers/embedding.hpp>
#include <heed/layers/flatten.hpp>
#include <heed/layers/gelu.hpp>
#include <heed/layers/global_avg_pool1d.hpp>
#include <heed/layers/global_avg_pool2d.hpp>
#include <heed/layers/global_max_pool1d.hpp>
#include <heed/layers/global_max_pool2d.hpp>
#include <heed/layers/group_norm.hpp>
#include <heed/layers/layer_norm.hpp>
#include <heed/layers/leaky_relu.hpp>
#include <heed/layers/linear.hpp>
#include <heed/layers/linear_layer.hpp>
#include <heed/layers/log_softmax.hpp>
#include <heed/layers/max_pool1d.hpp>
#include <heed/layers/max_pool2d.hpp>
#include <heed/layers/multi_head_attention.hpp>
#include <heed/layers/output_projection.hpp>
#include <heed/layers/positional_encoding.hpp>
#include <heed/layers/qkv_projection.hpp>
#include <heed/layers/relative_position_bias.hpp>
#include <heed/layers/relu.hpp>
#include <heed/layers/rms_norm.hpp>
#include <heed/layers/rotary_embedding.hpp>
#include <heed/layers/row_norm_layer.hpp>
#include <heed/layers/scaled_dot_product_attention.hpp>
#include <heed/layers/sequence_pool.hpp>
#include <heed/layers/sigmoid.hpp>
#include <heed/layers/silu.hpp>
#include <heed/layers/size2d.hpp>
#include <heed/layers/softmax.hpp>
#include <heed/layers/softmax_layer.hpp>
#include <heed/layers/tanh.hpp>
#include <heed/layers/transformer_encoder_layer.hpp>
#include <heed/losses/bce_with_logits_loss.hpp>
#include <heed/losses/class_targets.hpp>
#include <heed/losses/cross_entropy.hpp>
#include <heed/losses/loss_base.hpp>
#include <heed/losses/loss_share.hpp>
#include <heed/losses/mse_loss.hpp>
#include <heed/losses/nll_loss.hpp>
#include <heed/optim/adam.hpp>
#include <heed/optim/clip_gradient_norm.hpp>
#include <heed/optim/joint_optimizer.hpp>
#include <heed/optim/muon.hpp>
#include <heed/optim/optimizer.hpp>
#include <heed/optim/parameter_groups.hpp>
#include <heed/optim/schedule.hpp>
#include <heed/optim/sgd.hpp>
#include <heed/optim/weight_average.hpp>
