// SPDX-License-Identifier: MIT
#pragma once

// Everything: heed.hpp, and what reads data, writes files, runs the training loop and certifies gradients.
#include <heed/heed.hpp>

#include <heed/data/augment.hpp>
#include <heed/data/batches.hpp>
#include <heed/data/cifar.hpp>
#include <heed/data/corruptions.hpp>
#include <heed/data/dataset.hpp>
#include <heed/data/dataset_hash.hpp>
#include <heed/data/epoch_range.hpp>
#include <heed/data/generated.hpp>
#include <heed/data/hsv.hpp>
#include <heed/data/normalize.hpp>
#include <heed/data/raster.hpp>
#include <heed/data/shuffle.hpp>
#include <heed/data/tensor_batches.hpp>
#include <heed/data/views.hpp>
#include <heed/distributed/communicator.hpp>
#include <heed/distributed/sharded_gradients.hpp>
#include <heed/distributed/tree_sum.hpp>
#include <heed/io/atomic_file.hpp>
#include <heed/io/checkpoint.hpp>
#include <heed/io/dtype.hpp>
#include <heed/io/json.hpp>
#include <heed/io/model_file.hpp>
#include <heed/io/npy.hpp>
#include <heed/io/onnx.hpp>
#include <heed/io/safetensors.hpp>
#include <heed/io/utf8.hpp>
#include <heed/testing/check_gradients.hpp>
#include <heed/train/attention_map.hpp>
#include <heed/train/calibration.hpp>
#include <heed/train/deletion.hpp>
#include <heed/train/evaluate.hpp>
#include <heed/train/metrics.hpp>
#include <heed/train/robustness.hpp>
#include <heed/train/summary.hpp>
#include <heed/train/trainer.hpp>
