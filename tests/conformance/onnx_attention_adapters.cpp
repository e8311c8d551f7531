// SPDX-License-Identifier: MIT
// ONNX: attention and rotary embedding.
#include "adapters.hpp"

namespace conformance {

void add_onnx_attention_adapters(Adapters&) {}

}  // namespace conformance
