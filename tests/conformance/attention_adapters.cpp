// SPDX-License-Identifier: MIT
#include "adapters.hpp"

namespace conformance {
void add_attention_adapters(Adapters&) {}
}  // namespace conformance
