// SPDX-License-Identifier: MIT
#pragma once

#include <memory>
#include <string>
#include <vector>

#include <heed/core/layer.hpp>
#include <heed/core/random.hpp>
#include <heed/core/simd.hpp>

namespace heed::reference {

/// A model of nothing but named parameters with random values and gradients, for the tests of optimisers.
template <class T>
struct ParameterSet {
  std::vector<std::string> names;
  std::vector<std::unique_ptr<Parameter<T>>> parameters;

  ParameterSet() = default;
  /// "p0", "p1", ... of the given sizes.
  explicit ParameterSet(const std::vector<Index>& sizes) {
    for (Index size : sizes) add("p" + std::to_string(names.size()), size);
  }

  Parameter<T>& add(const std::string& name, Index size) {
    names.push_back(name);
    parameters.push_back(std::make_unique<Parameter<T>>(Shape{size}));
    Parameter<T>& p = *parameters.back();
    const CounterRandom random{7, names.size()};
    for (Index i = 0; i < size; ++i) p.value()[i] = static_cast<T>(random.normal(static_cast<std::uint64_t>(i)));
    return p;
  }
  Parameter<T>& operator[](std::size_t k) { return *parameters[k]; }

  /// New gradients, the same for every type and every set.
  void draw_gradients(int step, double scale = 1) {
    for (std::size_t k = 0; k < parameters.size(); ++k) {
      const CounterRandom random{11, static_cast<std::uint64_t>(step), k};
      for (Index i = 0; i < parameters[k]->size(); ++i)
        parameters[k]->gradient()[i] = static_cast<T>(scale * random.normal(static_cast<std::uint64_t>(i)));
    }
  }

  std::vector<NamedParameter<T>> named() const {
    std::vector<NamedParameter<T>> result;
    for (std::size_t k = 0; k < names.size(); ++k) result.push_back({names[k], parameters[k].get()});
    return result;
  }
  std::vector<T> value(std::size_t k) const {
    const T* v = std::as_const(*parameters[k]).value();
    return {v, v + parameters[k]->size()};
  }
  std::vector<T> gradient(std::size_t k) const {
    const T* g = std::as_const(*parameters[k]).gradient();
    return {g, g + parameters[k]->size()};
  }
};

/// Sizes where loops over registers, cache lines and pieces break, for every instruction set: 16, 8 or 4 lanes, 64 elements a line of
/// the walk, 16384 a piece.
inline std::vector<Index> awkward_sizes() { return {1, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 63, 64, 65, 16383, 16384, 16385, 40000}; }

}  // namespace heed::reference
