// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <vector>

#include <heed/core/tensor.hpp>

namespace heed::inline HEED_ABI {

/// Tied weights are one Parameter under two names. For each entry of a list of names and pointers: does an earlier entry point to the same
/// object? `repeated_entries(parameters, &NamedParameter<T>::parameter)`; what changes parameters passes over those.
template <class Named, class Object>
Tensor<bool, 1> repeated_entries(const std::vector<Named>& list, Object* Named::*pointer) {
  const Index count = static_cast<Index>(list.size());
  const auto object = [&](Index k) { return list[static_cast<std::size_t>(k)].*pointer; };
  Tensor<bool, 1> repeated({count});
  auto order = Tensor<Index, 1>::uninitialized({count});  // from the pool: clipping asks at every step
  std::iota(order.data(), order.data() + count, Index{0});
  std::sort(order.data(), order.data() + count, [&](Index a, Index b) {
    const auto place = [&](Index k) { return reinterpret_cast<std::uintptr_t>(object(k)); };
    return object(a) == object(b) ? a < b : place(a) < place(b);  // the first of equals in front
  });
  for (Index i = 1; i < count; ++i) repeated[order[i]] = object(order[i]) == object(order[i - 1]);
  return repeated;
}

}  // namespace heed::inline HEED_ABI
