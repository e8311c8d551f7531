// SPDX-License-Identifier: MIT
#pragma once

#include <string>
#include <vector>

#include "catch.hpp"
#include "reference/random_tensor.hpp"

#include <heed/core/parallel.hpp>

// What every layer promises beside its gradients (docs/architecture.md): the same bits for any number of threads, and for an item alone or among a few.
namespace reference {

/// Output, input gradient and parameter gradients of one training step, one after the other.
template <class L, int Rank>
std::vector<typename L::scalar> training_step(L layer, const heed::Tensor<typename L::scalar, Rank>& x, int threads) {
  using T = typename L::scalar;
  heed::ThreadScope limit(threads);
  heed::StepScope step(7, 3);
  typename L::Cache cache;
  const auto y = layer.forward(x, cache);
  const auto dx = layer.backward(random_tensor<T, std::remove_cvref_t<decltype(y)>::rank>(y.shape(), 99), cache);
  std::vector<T> all(y.data(), y.data() + y.size());
  all.insert(all.end(), dx.data(), dx.data() + dx.size());
  for (auto& [name, parameter] : heed::named_parameters(layer)) {
    const T* gradient = parameter->gradient();
    all.insert(all.end(), gradient, gradient + parameter->size());
  }
  return all;
}

/// Fails the test when the layer breaks a rule for inputs of this shape, whose first axis is the batch.
template <int Rank, class L>
void check_layer_rules(const L& layer, const heed::Shape& shape) {
  using T = typename L::scalar;
  const auto x = random_tensor<T, Rank>(shape, 5);
  INFO("input " << shape.to_string());
  CHECK(training_step(layer, x, 1) == training_step(layer, x, 2));
  CHECK(training_step(layer, x, 1) == training_step(layer, x, 5));

  const auto batch = layer.forward(x);
  CHECK(batch.shape() == layer.output_shape(shape));
  for (heed::Index count : {1, 2, 3, 4})  // products of up to four rows have a kernel of their own
    for (heed::Index item = 0; item + count <= shape[0]; ++item) {
      INFO("items " << item << " to " << item + count - 1);
      CHECK(same_bits(layer.forward(x.slice(item, item + count)), batch.slice(item, item + count)));
    }
}

}  // namespace reference
