// SPDX-License-Identifier: MIT
// ONNX: losses.
#include "adapters.hpp"

namespace conformance {

void add_onnx_loss_adapters(Adapters&) {}

}  // namespace conformance
