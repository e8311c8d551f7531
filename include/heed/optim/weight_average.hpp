// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include <heed/core/layer.hpp>
#include <heed/core/parallel.hpp>
#include <heed/core/simd.hpp>
#include <heed/optim/pieces.hpp>
#include <heed/optim/repeated_entries.hpp>

namespace heed::inline HEED_ABI {

struct WeightAverageOptions {
  double decay = 0.999;  ///< share of the old average that an update keeps, [0, 1)
  bool warm_up = false;  ///< the n-th update keeps at most n / (n + 9): short runs forget their start
};

namespace detail {
template <class T>
struct AverageKernel {
  template <class Isa>
  HEED_INLINE static void run(T* average, const T* weight, Index count, T rate) {
    using P = Packet<Isa, T>;
    for (Index left = count; left > 0; left -= P::lanes, average += P::lanes, weight += P::lanes) {
      const P a = P::load_partial(average, left), w = P::load_partial(weight, left);
      P::fma(P::broadcast(rate), w - a, a).store_partial(average, left);  // exact where weight and average agree
    }
  }
};
}  // namespace detail

/// An exponential moving average of a model's parameters and buffers: average += (1 - decay) (weight - average). It starts as a copy of
/// the weights. What appears under two names (tied weights) is averaged once, under the first. The model must outlive it and stay where
/// it is.
///
/// ```cpp
/// WeightAverage<float> average(named_parameters(model), named_buffers(model), {.decay = 0.999});
/// average.update();                                        // after every step
/// { AverageScope scope(average); evaluate(model, test); }  // with the averaged weights
/// average.copy_to_model();                                 // at the end
/// ```
template <class T>
class WeightAverage {
 public:
  /// Copies the weights. Throws std::invalid_argument for a decay outside of [0, 1).
  WeightAverage(
      const std::vector<NamedParameter<T>>& parameters, const std::vector<NamedBuffer<T>>& buffers, WeightAverageOptions options = {})
      : options_(options) {
    require(options.decay >= 0 && options.decay < 1, "WeightAverage: decay must lie in [0, 1), is ", options.decay);
    const Tensor<bool, 1> tied = repeated_entries(parameters, &NamedParameter<T>::parameter);
    for (std::size_t k = 0; k < parameters.size(); ++k)
      if (!tied[static_cast<Index>(k)]) add(parameters[k].name, parameters[k].parameter, nullptr, parameters[k].parameter->size());
    const Tensor<bool, 1> shared = repeated_entries(buffers, &NamedBuffer<T>::buffer);
    for (std::size_t k = 0; k < buffers.size(); ++k)
      if (!shared[static_cast<Index>(k)]) add(buffers[k].name, nullptr, buffers[k].buffer, buffers[k].buffer->size());
    for (Entry& e : entries_) std::copy_n(e.weight(), e.average.size(), e.average.data());
  }

  /// Moves the averages towards the model's weights.
  void update() {
    require(!swapped_, "WeightAverage: update() while the averages are in the model; call swap() first");
    ++updates_;
    const double n = static_cast<double>(updates_), decay = options_.warm_up ? std::min(options_.decay, n / (n + 9)) : options_.decay;
    const T rate = static_cast<T>(1 - decay);
    each_piece([&](Entry& e, Index from, Index to) {
      dispatch<detail::AverageKernel<T>, T>(e.average.data() + from, static_cast<const T*>(e.weight()) + from, to - from, rate);
    });
  }

  /// Exchanges the averages and the model's weights; a second call exchanges them back. See AverageScope.
  void swap() {
    each_piece([](Entry& e, Index from, Index to) { std::swap_ranges(e.weight() + from, e.weight() + to, e.average.data() + from); });
    swapped_ = !swapped_;
  }
  /// The averages are in the model, and its own weights here.
  bool swapped() const { return swapped_; }

  /// Overwrites the model's weights with the averages.
  void copy_to_model() {
    require(!swapped_, "WeightAverage: copy_to_model() while the averages are in the model; call swap() first");
    each_piece([](Entry& e, Index from, Index to) { std::copy(e.average.data() + from, e.average.data() + to, e.weight() + from); });
  }

  /// The averages under the names of what they average, and how many updates they have seen: what a checkpoint stores and restores.
  std::vector<NamedBuffer<T>> named_averages() {
    std::vector<NamedBuffer<T>> found;
    for (Entry& e : entries_) found.push_back({e.name, &e.average});
    return found;
  }
  /// The number of updates so far.
  Index updates() const { return updates_; }
  /// For checkpoints: where `warm_up` goes on.
  void set_updates(Index updates) { updates_ = updates; }

 private:
  struct Entry {
    std::string name;
    Parameter<T>* parameter;  // one of the two
    Tensor<T, 1>* buffer;
    Tensor<T, 1> average;
    T* weight() const { return parameter ? parameter->value() : buffer->data(); }
    Index size() const { return parameter ? parameter->size() : buffer->size(); }
  };

  void add(const std::string& name, Parameter<T>* parameter, Tensor<T, 1>* buffer, Index size) {
    entries_.push_back({name, parameter, buffer, Tensor<T, 1>::lasting({size})});
  }

  template <class Body>
  void each_piece(const Body& body) {
    for (const Entry& e : entries_)
      require<ShapeError>(
          e.size() == e.average.size(), "WeightAverage: ", e.name, " had ", e.average.size(), " elements and has ", e.size());
    const auto size_of = [&](std::size_t k) { return entries_[k].average.size(); };
    parallel_for(line_length(entries_.size(), size_of), kPieceElements, [&](Index begin, Index end) {
      for_each_piece(
          entries_.size(), size_of, begin, end, [&](std::size_t k, Index from, Index to, Index /*place*/) { body(entries_[k], from, to); });
    });
  }

  WeightAverageOptions options_;
  std::vector<Entry> entries_;
  Index updates_ = 0;
  bool swapped_ = false;
};

/// The model works with its averaged weights until the end of the scope. A scope inside of another changes nothing.
template <class T>
class AverageScope {
 public:
  /// Exchanges the weights for the averages; the end of the scope exchanges them back.
  explicit AverageScope(WeightAverage<T>& average) : average_(average.swapped() ? nullptr : &average) {
    if (average_) average_->swap();
  }
  ~AverageScope() {
    if (average_) average_->swap();
  }
  AverageScope(const AverageScope&) = delete;
  AverageScope& operator=(const AverageScope&) = delete;

 private:
  WeightAverage<T>* average_;  // null inside of another scope
};

}  // namespace heed::inline HEED_ABI
