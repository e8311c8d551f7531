// SPDX-License-Identifier: MIT
#pragma once

#include <cmath>
#include <string>
#include <vector>

#include <heed/core/layer.hpp>

#include <reference/random_tensor.hpp>

#include "naive.hpp"
#include "timed_case.hpp"

namespace bench {

/// How far from plain sums in double a number may be, as a part of the largest one expected. Sums in float come within 1e-5 and fast convolutions
/// within 1e-4; a mistake is of the order of 1. Operands are of the order of 1, too: where all that is expected is smaller than kLeast, as the
/// gradient through a softmax over one key is, rounding is all there is.
inline constexpr double kTolerance = 3e-4, kLeast = 0.01;

/// What is wrong with `got`, which should be `want`; empty if nothing is.
template <class Number>
std::string difference(const std::string& what, const float* got, const std::vector<Number>& want) {
  double largest = kLeast;
  for (const Number x : want) largest = std::max(largest, std::abs(static_cast<double>(x)));
  for (std::size_t i = 0; i < want.size(); ++i) {
    const double x = static_cast<double>(got[i]), expected = static_cast<double>(want[i]);
    if (!(std::abs(x - expected) <= kTolerance * largest))
      return text(what, " has ", got[i], " at ", i, ", the reference ", static_cast<float>(expected), " (largest ",
          static_cast<float>(largest), ")");
  }
  return {};
}

/// The first fault of several.
inline std::string first_fault(std::initializer_list<std::string> faults) {
  for (const std::string& fault : faults)
    if (!fault.empty()) return fault;
  return {};
}

/// Numbers of mean 0 and deviation 1.
template <int Rank>
Tensor<float, Rank> operand(const Shape& shape, std::uint64_t seed) {
  return ::reference::random_tensor<float, Rank>(shape, seed, -1.7320508, 1.7320508);
}

/// Up to `most` of `count` items: the first, the last, and some between.
inline std::vector<Index> samples_of(Index count, Index most = 3) {
  std::vector<Index> samples;
  for (Index i = 0; i < most; ++i) {
    const Index item = most == 1 ? count - 1 : i * (count - 1) / (most - 1);
    if (samples.empty() || samples.back() != item) samples.push_back(item);
  }
  return samples;
}

/// The items (positions of the first axis) of a tensor, one behind the other.
template <class T, int Rank>
Tensor<T, Rank> gather(const TensorView<const T, Rank>& all, const std::vector<Index>& items) {
  Shape shape = all.shape();
  shape[0] = static_cast<Index>(items.size());
  auto part = Tensor<T, Rank>::uninitialized(shape);
  T* to = part.data();
  for (const Index item : items) to = std::copy_n(all.slice(item, item + 1).data(), part.size() / shape[0], to);
  return part;
}

/// A tensor of that shape that is zero but for those items. As a gradient it makes every sum over items one over a few, so that a plain reference
/// sees all of it.
template <int Rank>
Tensor<float, Rank> scatter(const Shape& shape, const std::vector<Index>& items, const Tensor<float, Rank>& part) {
  Tensor<float, Rank> all(shape);
  const Index size = part.size() / part.size(0);
  for (std::size_t i = 0; i < items.size(); ++i)
    std::copy_n(part.data() + static_cast<Index>(i) * size, size, all.data() + items[i] * size);
  return all;
}

template <class To, class T, int Rank>
Tensor<To, Rank> converted(const TensorView<const T, Rank>& x) {
  auto result = Tensor<To, Rank>::uninitialized(x.shape());
  std::transform(x.data(), x.data() + x.size(), result.data(), [](T value) { return static_cast<To>(value); });
  return result;
}

template <class T, int Rank>
std::vector<long double> numbers(const TensorView<const T, Rank>& x) {
  return {x.data(), x.data() + x.size()};
}

/// What a reference says about some items alone.
struct Expected {
  std::vector<long double> y, dx;                      ///< dx may be left out
  std::vector<std::vector<long double>> d_parameters;  ///< in the order of `named_parameters`
};

/// Models are judged by themselves in double; their parts by plain loops.
template <class Twin, class X, class Dy>
Expected in_double(Twin twin, const X& x, const Dy& dy) {
  const auto wide = converted<double>(x);
  typename Twin::Cache cache;
  twin.zero_gradients();
  Expected result{numbers(twin.forward(wide, cache)), {}, {}};
  result.dx = numbers(twin.backward(converted<double>(dy), cache));
  for (auto& [name, parameter] : named_parameters(twin))
    result.d_parameters.emplace_back(parameter->gradient(), parameter->gradient() + parameter->size());
  return result;
}

/// Of layers without plain loops to be held against.
struct NoNaive {};

/// A layer as the subject of `add_case`: inference, or with `training` forward and backward. `expected(layer, x, dy)` is what a reference says
/// about a batch of `most` sampled items, `naive_loops(layer, x, dy or null, result)` the same pass by plain loops.
template <class Layer, class Input, class Reference, class Naive>
class LayerCase {
  static constexpr int kOutRank = std::remove_cvref_t<decltype(std::declval<const Layer&>().forward(std::declval<const Input&>()))>::rank;

 public:
  LayerCase(Layer layer, Input x, bool training, Index most, const Reference& expected, const Naive& naive_loops)
      : layer_(std::move(layer)), x_(std::move(x)), training_(training), most_(most), expected_(expected), naive_loops_(naive_loops) {
    dy_ = operand<kOutRank>(layer_.output_shape(x_.shape()), 17);
  }

  void run() {
    if (!training_) return benchmark::DoNotOptimize(layer_.forward(x_).data());
    const auto y = layer_.forward(x_, cache_);
    benchmark::DoNotOptimize(y.data());
    benchmark::DoNotOptimize(layer_.backward(dy_, cache_).data());
  }

  std::string check() {
    const auto items = samples_of(x_.size(0), most_);
    const auto part = gather(x_, items);
    const auto dy = gather(dy_, items);
    const Expected expected = expected_(std::as_const(layer_), part, dy);
    if (!training_) return difference("y", gather(layer_.forward(x_), items).data(), expected.y);
    layer_.zero_gradients();
    const auto y = layer_.forward(x_, cache_);
    const auto dx = layer_.backward(scatter(dy_.shape(), items, dy), cache_);
    std::string fault = difference("y", gather(y, items).data(), expected.y);
    if (!expected.dx.empty()) fault = first_fault({fault, difference("dx", gather(dx, items).data(), expected.dx)});
    const auto parameters = named_parameters(layer_);
    for (std::size_t i = 0; i < expected.d_parameters.size(); ++i)
      fault = first_fault(
          {fault, difference("the gradient of " + parameters[i].name, parameters[i].parameter->gradient(), expected.d_parameters[i])});
    return fault;
  }

  void run_naive() requires(!std::is_same_v<Naive, NoNaive>) {
    naive_loops_(std::as_const(layer_), x_, training_ ? dy_.data() : nullptr, naive_);
    benchmark::DoNotOptimize(naive_.y.data());
    benchmark::DoNotOptimize(naive_.dx.data());
  }
  std::string check_naive() {
    const auto parameters = named_parameters(layer_);
    naive::Floats* const sums[] = {&naive_.d_weight, &naive_.d_bias};
    for (std::size_t i = 0; i < parameters.size(); ++i) *sums[i] = naive::zeros(parameters[i].parameter->size());
    run_naive();
    if (!training_) return difference("y", layer_.forward(x_).data(), naive_.y);
    layer_.zero_gradients();
    const auto y = layer_.forward(x_, cache_);
    const auto dx = layer_.backward(dy_, cache_);
    std::string fault = first_fault({difference("y", y.data(), naive_.y), difference("dx", dx.data(), naive_.dx)});
    for (std::size_t i = 0; i < parameters.size(); ++i)
      fault = first_fault({fault, difference("the gradient of " + parameters[i].name, parameters[i].parameter->gradient(), *sums[i])});
    return fault;
  }

 private:
  Layer layer_;
  Input x_;
  Tensor<float, kOutRank> dy_;
  typename Layer::Cache cache_;
  bool training_;
  Index most_;
  Reference expected_;
  [[no_unique_address]] Naive naive_loops_;
  naive::Result naive_;
};

/// Work of an inference pass, and of a training pass with backward.
struct Passes {
  Work forward, training;
};
/// Products count once forward and, for the gradients of both factors, twice backward.
inline Passes products(double flops) { return {{.flops = flops}, {.flops = 3 * flops}}; }
/// `count` floats, so many times read or written (forward; forward and backward), in so many arrays.
inline Passes streams(double count, double forward, double training, double forward_arrays, double training_arrays) {
  const double bytes = sizeof(float) * count;
  return {
      {.bytes = bytes * forward, .footprint = bytes * forward_arrays}, {.bytes = bytes * training, .footprint = bytes * training_arrays}};
}

/// Registers <name>/forward and <name>/forward_backward of a layer: `make()` makes it, `input()` its x.
template <class Make, class Input, class Reference, class Naive = NoNaive>
void add_layer(const std::string& name, const Passes& work, const Make& make, const Input& input, Reference expected,
    Naive naive_loops = {}, Index most = 3) {
  for (const bool training : {false, true})
    add_case(name + (training ? "/forward_backward" : "/forward"), training ? work.training : work.forward,
        [=] { return LayerCase(make(), input(), training, most, expected, naive_loops); });
}

}  // namespace bench
