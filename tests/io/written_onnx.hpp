// SPDX-License-Identifier: MIT
#pragma once

#include <vector>

#include <heed/io/onnx.hpp>

#include "reference/onnx_reference.hpp"

/// The ONNX file of `model`, read again.
template <class Model>
reference::OnnxFile written_onnx(const Model& model, const std::vector<heed::Shape>& in, heed::io::OnnxOptions options = {}) {
  if (in.size() == 2) options.input_names = {"context", "input"};
  if (in.size() == 3) options.input_names = {"q", "k", "v"};
  return reference::OnnxFile(heed::io::onnx_bytes(model, in, options));
}

using Integers = std::vector<std::int64_t>;
using Words = std::vector<std::string>;
