// SPDX-License-Identifier: MIT
// ONNX: convolution, pooling and batch norm.
#include "adapters.hpp"

namespace conformance {

void add_onnx_image_adapters(Adapters&) {}

}  // namespace conformance
