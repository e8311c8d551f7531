// SPDX-License-Identifier: MIT
// ONNX: attention.
#include "adapters.hpp"

namespace conformance {

void add_onnx_attention_adapters(Adapters&) {}

}  // namespace conformance
