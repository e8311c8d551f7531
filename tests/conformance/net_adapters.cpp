// SPDX-License-Identifier: MIT
#include "adapters.hpp"

namespace conformance {
void add_net_adapters(Adapters&) {}
}  // namespace conformance
