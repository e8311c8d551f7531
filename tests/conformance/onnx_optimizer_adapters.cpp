// SPDX-License-Identifier: MIT
// ONNX: optimisers.
#include "adapters.hpp"

namespace conformance {

void add_onnx_optimizer_adapters(Adapters&) {}

}  // namespace conformance
