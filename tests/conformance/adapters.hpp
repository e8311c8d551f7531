// SPDX-License-Identifier: MIT
#pragma once

#include <map>
#include <string>

#include "run.hpp"

namespace conformance {

/// How an operator of the reference cases runs through the library: reads the inputs from the run, computes, hands the results to
/// `Run::expect`. Throws Unsupported for a feature that the library does not have; whatever else it throws makes the case fail.
struct Adapter {
  void (*in_float)(Run<float>&);
  void (*in_double)(Run<double>&);
};

/// By operator, as the files call it.
using Adapters = std::map<std::string, Adapter>;

// One function for each file of adapters.
void add_row_adapters(Adapters& adapters);
void add_image_adapters(Adapters& adapters);
void add_attention_adapters(Adapters& adapters);
void add_loss_adapters(Adapters& adapters);
void add_optimizer_adapters(Adapters& adapters);
void add_net_adapters(Adapters& adapters);
// ONNX's operators: their rules put on the library's.
void add_onnx_row_adapters(Adapters& adapters);
void add_onnx_image_adapters(Adapters& adapters);
void add_onnx_attention_adapters(Adapters& adapters);
void add_onnx_position_adapters(Adapters& adapters);
void add_onnx_loss_adapters(Adapters& adapters);
void add_onnx_optimizer_adapters(Adapters& adapters);

}  // namespace conformance

/// The entry of an operator whose adapter is the function template `function`.
#define CONFORMANCE_ADAPTER(function) \
  ::conformance::Adapter { &function<float>, &function<double> }
