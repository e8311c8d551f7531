// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <heed/core/layer.hpp>

#include "reference_case.hpp"

namespace conformance {

using heed::Shape;
using heed::Tensor;
using heed::TensorView;

/// Thrown by an adapter for a case that asks for what the library does not have.
struct Unsupported {
  std::string reason;
};
template <class... Parts>
[[noreturn]] void unsupported(const Parts&... parts) {
  throw Unsupported{heed::text(parts...)};
}

/// Where the channels of a tensor in a file are: last, as heed has them, or on axis 1, as PyTorch and ONNX have them (N, C, ...). With
/// axis_1 a tensor of 2 to 4 axes becomes an image batch (N, height, width, C) whose missing axes are 1.
enum class Channels { last, axis_1 };

/// What a tensor may be off by, beyond 1e-10 of its largest element in double and a multiple of PyTorch's own error in float.
struct Allowance {
  /// The size of the terms whose sum or difference the tensor is. Where they cancel, the result is small and its error is theirs: a true
  /// zero comes out as the rounding of its terms.
  double contributions = 0;
  /// How many roundings follow one another in float, besides those that PyTorch's own error shows.
  double roundings = 4;
};

/// One tensor against the file.
struct Comparison {
  std::string tensor;
  double error = 0;      ///< largest difference of an element
  double magnitude = 0;  ///< largest element of the file's tensor
  double tolerance = 0;
  std::string fault;  ///< shapes that differ

  bool passed() const { return fault.empty() && error <= tolerance; }
  /// Share of the tolerance that is used; infinite for NaN and for shapes that differ.
  double use() const {
    if (!fault.empty() || std::isnan(error)) return std::numeric_limits<double>::infinity();
    return error == 0 ? 0 : error / tolerance;
  }
};

/// A case in one scalar type, as an adapter sees it: reads the inputs, compares the results, and remembers which tensors of the file it has
/// seen: a case whose tensors were not all used proves nothing.
template <class T>
class Run {
 public:
  using scalar = T;

  explicit Run(const ReferenceCase& reference) : reference_(reference) {}

  const ReferenceCase& reference() const { return reference_; }
  const std::vector<Comparison>& comparisons() const { return comparisons_; }
  Shape shape(const std::string& name) const { return reference_.file().at(name).shape; }

  /// The elements of a tensor of any shape.
  template <class U = T>
  std::vector<U> values(const std::string& name) {
    used_.insert(name);
    return reference_.file().values<U>(name);
  }
  template <int Rank, class U = T>
  Tensor<U, Rank> read(const std::string& name) {
    used_.insert(name);
    return reference_.file().tensor<U, Rank>(name);
  }
  /// With its leading axes as one, or with axes of size 1 before its own: a layer that works along the last axes takes the rest as they come.
  template <int Rank, class U = T>
  Tensor<U, Rank> read_folded(const std::string& name) {
    auto result = Tensor<U, Rank>::uninitialized(folded(shape(name), Rank));
    used_.insert(name);
    reference_.file().copy(reference_.file().at(name), result.data());
    return result;
  }
  /// From (N, C, ...) to (N, height, width, C).
  Tensor<T, 4> read_image(const std::string& name) {
    const auto elements = values(name);
    const Shape target = image_shape(name);
    const Index channels = target[3], pixels = target[1] * target[2];
    auto result = Tensor<T, 4>::uninitialized(target);
    for (Index n = 0; n < target[0]; ++n)
      for (Index c = 0; c < channels; ++c)
        for (Index p = 0; p < pixels; ++p)
          result[(n * pixels + p) * channels + c] = elements[static_cast<std::size_t>((n * channels + c) * pixels + p)];
    return result;
  }

  /// The file's tensor `name` must equal `elements` within the tolerance.
  void expect(const std::string& name, const T* elements, const Shape& shape, const Allowance& allowance = {}) {
    Comparison& c = add(name, shape, this->shape(name));
    if (c.fault.empty()) compare(c, elements, allowance);
  }
  template <int Rank>
  void expect(const std::string& name, const TensorView<const T, Rank>& tensor, const Allowance& allowance = {}) {
    expect(name, tensor.data(), tensor.shape(), allowance);
  }
  template <int Rank>
  void expect(const std::string& name, const Tensor<T, Rank>& tensor, const Allowance& allowance = {}) {
    expect(name, tensor.data(), tensor.shape(), allowance);
  }
  /// The same for a tensor whose leading axes are one here.
  template <int Rank>
  void expect_folded(const std::string& name, const Tensor<T, Rank>& tensor, const Allowance& allowance = {}) {
    Comparison& c = add(name, tensor.shape(), folded(shape(name), Rank));
    if (c.fault.empty()) compare(c, tensor.data(), allowance);
  }
  /// The same for (N, height, width, C) of a tensor that is (N, C, ...) in the file.
  void expect_image(const std::string& name, const TensorView<const T, 4>& image, const Allowance& allowance = {}) {
    Comparison& c = add(name, image.shape(), image_shape(name));
    if (!c.fault.empty()) return;
    const Index channels = image.size(3), pixels = image.size(1) * image.size(2);
    std::vector<T> elements(static_cast<std::size_t>(image.size()));
    for (Index n = 0; n < image.size(0); ++n)
      for (Index ch = 0; ch < channels; ++ch)
        for (Index p = 0; p < pixels; ++p)
          elements[static_cast<std::size_t>((n * channels + ch) * pixels + p)] = image[(n * pixels + p) * channels + ch];
    compare(c, elements.data(), allowance);
  }
  /// The same for a single number.
  template <class Value>
  void expect_number(const std::string& name, const Value& value, const Allowance& allowance = {}) {
    const T number = static_cast<T>(value);
    expect(name, &number, Shape{}, allowance);
  }

  /// The same for whole numbers, which must be equal.
  void expect_whole(const std::string& name, const std::vector<std::int64_t>& numbers) {
    Comparison& c = add(name, Shape{static_cast<Index>(numbers.size())}, Shape{shape(name).size()});
    if (c.fault.empty() && numbers != reference_.file().values<std::int64_t>(name)) c.fault = "other numbers";
  }

  /// Gives each parameter of `model` the file's `param.` + its name; every parameter must be there.
  template <class Model>
  void set_parameters(Model& model) {
    for (auto& [name, parameter] : heed::named_parameters(model)) set_parameter("param." + name, *parameter);
  }
  void set_parameter(const std::string& tensor, heed::Parameter<T>& parameter) {
    used_.insert(tensor);
    const auto& entry = reference_.file().at(tensor);
    heed::require<heed::ShapeError>(
        entry.shape == parameter.shape(), tensor, ": the library's parameter is ", parameter.shape(), ", the file's ", entry.shape);
    reference_.file().copy(entry, parameter.value());
  }
  /// Compares the gradient of each parameter of `model` with the file's `grad.param.` + its name.
  template <class Model>
  void expect_parameter_gradients(Model& model, const Allowance& allowance = {}) {
    for (auto& [name, parameter] : heed::named_parameters(model))
      expect("grad.param." + name, std::as_const(*parameter).gradient(), parameter->shape(), allowance);
  }

  /// Notes that the adapter has taken care of a tensor in a way of its own.
  void mark_used(const std::string& name) { used_.insert(name); }
  /// Tensors of the file that were neither read nor compared.
  std::vector<std::string> unused() const {
    std::vector<std::string> result;
    for (const auto& entry : reference_.file().entries())
      if (!used_.contains(entry.name)) result.push_back(entry.name);
    return result;
  }

 private:
  /// (N, height, width, C) of (N, C, ...); of more than two axes of space all but the last are the height.
  Shape image_shape(const std::string& name) const {
    const Shape s = shape(name);
    heed::require<heed::ShapeError>(s.rank() >= 2, name, ": an image has items and channels in a file, not ", s);
    Index height = 1;
    for (int axis = 2; axis + 1 < s.rank(); ++axis) height *= s[axis];
    return {s[0], height, s.rank() == 2 ? 1 : s[-1], s[1]};
  }
  /// The last rank - 1 axes of `whole`, those that it does not have as 1, behind the product of the others.
  static Shape folded(const Shape& whole, int rank) {
    Shape result{1};
    for (int axis = 0; axis <= whole.rank() - rank; ++axis) result[0] *= whole[axis];
    for (int axis = 1 - rank; axis < 0; ++axis) result.push_back(-axis <= whole.rank() ? whole[axis] : 1);
    return result;
  }

  Comparison& add(const std::string& name, const Shape& found, const Shape& expected) {
    used_.insert(name);
    Comparison c;
    c.tensor = name;
    if (found != expected) c.fault = heed::text("shape ", found, " instead of ", expected);
    return comparisons_.emplace_back(std::move(c));
  }

  void compare(Comparison& c, const T* elements, const Allowance& allowance) {
    if (!elements) {
      c.fault = "no values: the library has not computed them";
      return;
    }
    const auto expected = reference_.file().values<double>(c.tensor);
    if (reference_.onnx()) return compare_as_onnx(c, elements, expected);
    for (std::size_t i = 0; i < expected.size(); ++i) {
      const double found = static_cast<double>(elements[i]);
      if (std::isfinite(expected[i])) c.magnitude = std::max(c.magnitude, std::abs(expected[i]));
      if (found == expected[i] || (std::isnan(found) && std::isnan(expected[i]))) continue;  // infinities, and NaN where the file says so
      const double difference = std::abs(found - expected[i]);
      if (!std::isnan(c.error) && !(difference <= c.error)) c.error = difference;  // a NaN stays
    }
    constexpr double kEpsilon = static_cast<double>(std::numeric_limits<T>::epsilon());
    if constexpr (std::is_same_v<T, double>)
      // 1e-10: the bound, a million roundings. Cancelling terms: the few roundings of each.
      c.tolerance = 1e-10 * c.magnitude + 16 * kEpsilon * allowance.contributions;
    else
      // PyTorch's own float32 error is one draw of what rounding does; another order of summation is another draw. The floor is a few
      // units in the last place of the largest element (or term), for tensors in which PyTorch was lucky.
      c.tolerance =
          4 * reference_.torch_float_error(c.tensor) + allowance.roundings * kEpsilon * std::max(c.magnitude, allowance.contributions);
  }

  /// ONNX's own rule, |found - expected| <= atol + rtol |expected| for each element, in both types: the file's numbers are float32.
  /// Of all elements the one that uses the most of its tolerance is kept.
  void compare_as_onnx(Comparison& c, const T* elements, const std::vector<double>& expected) {
    double worst = -1;
    for (std::size_t i = 0; i < expected.size(); ++i) {
      const double found = static_cast<double>(elements[i]);
      if (std::isfinite(expected[i])) c.magnitude = std::max(c.magnitude, std::abs(expected[i]));
      const bool same = found == expected[i] || (std::isnan(found) && std::isnan(expected[i]));
      const double error = same ? 0 : std::abs(found - expected[i]);
      const double tolerance = reference_.absolute_tolerance() + reference_.relative_tolerance() * std::abs(expected[i]);
      const double use = std::isnan(error) || std::isinf(error) ? std::numeric_limits<double>::infinity() : error / tolerance;
      if (use > worst) worst = use, c.error = error, c.tolerance = std::isfinite(tolerance) ? tolerance : 0;
    }
  }

  const ReferenceCase& reference_;
  std::vector<Comparison> comparisons_;
  std::set<std::string> used_;
};

/// The largest magnitude in a tensor, for contributions.
template <class Elements>
double largest(const Elements& elements) {
  double result = 0;
  for (Index i = 0; i < static_cast<Index>(std::size(elements)); ++i)
    result = std::max(result, std::abs(static_cast<double>(std::data(elements)[i])));
  return result;
}

/// The size of the terms of a norm's input gradient: it is what is left of dy weight / std when the mean of that and its share along x are taken
/// off, next to nothing where a norm sees two elements, of which it makes -1 and 1.
template <class T, class Cache>
double norm_terms(Run<T>& run, const Cache& cache) {
  const double weight = run.reference().has("param.weight") ? largest(run.values("param.weight")) : 1;
  return largest(run.values("grad.out.y")) * weight * largest(cache.inv_std.span());
}

/// Runs a layer of one input, from tensors of rank In to rank Out: inference and training pass against `out.y`, gradients against the file.
/// A file with more axes has the leading ones folded into one.
template <int In, int Out, class T, class L>
void check_layer(Run<T>& run, L& layer, Channels channels = Channels::last, const Allowance& input_gradient = {},
    const Allowance& parameter_gradients = {}) {
  run.set_parameters(layer);
  const auto read = [&]<int Rank>(const std::string& name, std::integral_constant<int, Rank>) {
    if constexpr (Rank == 4)
      if (channels == Channels::axis_1) return run.read_image(name);
    return run.template read_folded<Rank>(name);
  };
  const auto expect = [&]<int Rank>(const std::string& name, const Tensor<T, Rank>& tensor, const Allowance& allowance = {}) {
    if constexpr (Rank == 4)
      if (channels == Channels::axis_1) return run.expect_image(name, tensor, allowance);
    run.expect_folded(name, tensor, allowance);
  };
  const auto x = read("in.x", std::integral_constant<int, In>());
  typename L::Cache cache;
  expect("out.y", std::as_const(layer).forward(x));
  expect("out.y", std::as_const(layer).forward(x, cache));
  const auto dy = read("grad.out.y", std::integral_constant<int, Out>());
  Allowance allowance = input_gradient;
  if constexpr (requires { cache.inv_std; }) allowance.contributions = std::max(allowance.contributions, norm_terms(run, cache));
  expect("grad.in.x", layer.backward(dy, cache), allowance);
  run.expect_parameter_gradients(layer, parameter_gradients);
}

/// An ONNX axis, which may count from the end.
inline Index axis_from_start(Index axis, const Shape& shape) { return axis < 0 ? axis + shape.rank() : axis; }

/// Calls `use` with the rank of `shape` as a constant, if it is one of `Ranks`.
template <int... Ranks, class Use>
void with_rank(const Shape& shape, const Use& use) {
  const bool found = ((shape.rank() == Ranks && (use(std::integral_constant<int, Ranks>()), true)) || ...);
  if (!found) unsupported("tensors of ", shape.rank(), " axes");
}

}  // namespace conformance
