// SPDX-License-Identifier: MIT
#pragma once

#include <heed/layers/elu.hpp>
#include <heed/layers/gelu.hpp>
#include <heed/layers/leaky_relu.hpp>
#include <heed/layers/relu.hpp>
#include <heed/layers/sigmoid.hpp>
#include <heed/layers/silu.hpp>
#include <heed/layers/tanh.hpp>

#include "adapters.hpp"

namespace conformance {

/// Activations under the names of PyTorch and of ONNX, whose attributes agree but for one name: calls `use` with the layer of the case.
template <class T, class Use>
void with_activation(const ReferenceCase& reference, const Use& use) {
  const std::string& name = reference.operation();
  if (name == "relu" || name == "Relu") return use(heed::Relu<T>());
  if (name == "silu") return use(heed::Silu<T>());
  if (name == "Swish") return use(heed::Silu<T>({.alpha = reference.number("alpha", 1)}));
  if (name == "elu" || name == "Elu") return use(heed::Elu<T>({.alpha = reference.number("alpha", 1)}));
  if (name == "leaky_relu") return use(heed::LeakyRelu<T>({.negative_slope = reference.number("negative_slope", 0.01)}));
  if (name == "LeakyRelu") return use(heed::LeakyRelu<T>({.negative_slope = reference.number("alpha", 0.01)}));
  if (name == "sigmoid" || name == "Sigmoid") return use(heed::Sigmoid<T>());
  if (name == "tanh" || name == "Tanh") return use(heed::Tanh<T>());
  if (name == "gelu" || name == "Gelu") {
    const bool tanh = reference.word("approximate", "none") == "tanh";
    return use(heed::Gelu<T>({.approximate = tanh ? heed::GeluApproximation::tanh : heed::GeluApproximation::none}));
  }
  unsupported("no activation ", name);
}

}  // namespace conformance
