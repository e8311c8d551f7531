// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <cmath>
#include <string>
#include <tuple>
#include <vector>

#include <heed/core/dual.hpp>
#include <heed/core/layer.hpp>
#include <heed/core/random.hpp>

namespace heed::inline HEED_ABI {

/// The scalar that certificates rebind layers to: eight directions a pass.
using CertificateDual = Dual<8>;

struct CheckGradientsOptions {
  std::uint64_t seed = 1;  ///< of inputs, dy and dropout
  /// Inputs are uniform in this range; whole numbers (of an Embedding) from 0 to below the higher end.
  /// @{
  double input_low = -1, input_high = 1;
  /// @}
  double value_tolerance = 1e-12;     ///< dual value against double value, relative to the largest output
  double gradient_tolerance = 1e-10;  ///< relative to the sum of absolute contributions Σ |dy · ∂y/∂entry|
  /// Entries whose contributions cancel inside the forward pass (a softmax over one token) are rounding noise on both sides: errors below
  /// gradient_tolerance times this, in units of dy, pass. 1e-3 makes that 1e-13.
  double contribution_floor = 1e-3;
  /// false: backward leaves out the gradients of inputs, that is, returns them empty (Conv2d with input_gradient = false).
  bool input_gradient = true;
};

/// What `check_gradients` found. `to_string()` names the entry that is wrong.
struct GradientReport {
  /// An entry of a tensor, and its two derivatives (of "y": its two values).
  struct Entry {
    std::string name;  ///< "x(0,2,1)", "weight(3,1)", "y(0,4)"
    double given = 0;  ///< what the layer's double code gave
    double exact = 0;  ///< what dual numbers gave
    double error = 0;  ///< in units of the tolerance: above 1 fails
  };
  std::string layer;                      ///< its kind
  Index checked = 0, failed = 0;          ///< entries
  Entry worst;                            ///< largest error of all
  std::vector<Entry> first_wrong;         ///< up to eight entries that failed, in order
  std::vector<std::string> broken_rules;  ///< sentences: what the layer does against the contract

  /// Whether all is well and something was checked.
  bool passed() const { return failed == 0 && broken_rules.empty() && checked > 0; }
  /// The sentences to show: sizes of errors, broken rules, the entries that are wrong.
  std::string to_string() const {
    std::string result = text(layer, ": ", checked, " entries checked, ", failed, " wrong; largest error ", worst.error,
        " of the tolerance at ", worst.name, " (given ", worst.given, ", exact ", worst.exact, ")");
    for (const std::string& rule : broken_rules) result += text("\n  ", rule);
    for (const Entry& e : first_wrong) result += text("\n  ", e.name, ": given ", e.given, ", exact ", e.exact);
    return result;
  }
};

namespace detail {

/// "name(2,0,1)" for element `index` of a tensor.
inline std::string element_name(std::string_view name, const Shape& shape, Index index) {
  std::string position;
  for (int axis = shape.rank() - 1; axis >= 0; --axis) {
    position = text(index % shape[axis], axis + 1 < shape.rank() ? "," : "", position);
    index /= shape[axis];
  }
  return text(name, "(", position, ")");
}

template <class Result>
auto as_tuple(Result&& result) {
  if constexpr (requires { std::tuple_size<std::remove_cvref_t<Result>>::value; })
    return std::forward<Result>(result);
  else
    return std::make_tuple(std::forward<Result>(result));
}

template <class L, class DualLayer, int Rank, std::size_t Inputs>
class GradientCheck {
 public:
  GradientCheck(const L& layer, const DualLayer& dual_layer, const std::array<Tensor<InputScalarOf<L>, Rank>, Inputs>& inputs,
      const CheckGradientsOptions& options)
      : options_(options), layer_(layer), dual_layer_(dual_layer), inputs_(inputs) {
    if (std::is_integral_v<InputScalarOf<L>>) options_.input_gradient = false;
  }

  GradientReport run() {
    StepScope same_dropout(options_.seed, 0);  // every pass draws the same numbers
    struct Kind : Visitor<double> {
      std::string name;
      void kind(std::string_view kind) override {
        if (name.empty()) name = kind;
      }
    } kind;
    std::as_const(layer_).describe(kind);
    report_.layer = kind.name;

    typename L::Cache cache;
    const auto y = call(layer_, inputs_, cache);
    y_ = y.span();
    check_values();  // before backward, which folds batch statistics into the running ones
    if (!report_.broken_rules.empty()) return report_;
    auto dy = y;
    const CounterRandom stream({options_.seed, 2});
    for (Index i = 0; i < dy.size(); ++i) dy[i] = stream.uniform(static_cast<std::uint64_t>(i), -1, 1);
    dy_ = dy.span();

    layer_.zero_gradients();
    const auto dx = as_tuple(layer_.backward(dy, cache));
    static_assert(std::tuple_size_v<std::remove_cvref_t<decltype(dx)>> == Inputs,
        "heed::check_gradients: backward must return one gradient for each input of forward");
    std::apply([&](const auto&... d) { (add_input_gradient(d), ...); }, dx);
    for (auto& [name, parameter] : named_parameters(layer_)) {
      const double* g = parameter->gradient();
      gradients_.push_back({name, parameter->shape(), {g, g + parameter->size()}});
      frozen_.push_back(parameter->frozen());
    }
    check_accumulation(dy);
    check_derivatives();
    return report_;
  }

 private:
  struct Gradient {
    std::string name;
    Shape shape;
    std::vector<double> given;
  };

  /// A gradient of another shape than its input is a broken rule, and its numbers are not looked at.
  template <class Dx>
  void add_input_gradient(const Dx& dx) {
    const std::size_t n = gradients_.size();
    const Shape& shape = inputs_[n].shape();
    const std::string name = Inputs == 1 ? "x" : text("input ", n);
    if (dx.shape() == shape && options_.input_gradient) return gradients_.push_back({name, shape, {dx.span().begin(), dx.span().end()}});
    gradients_.push_back({name, shape, {}});
    if (!options_.input_gradient && !dx.empty())
      report_.broken_rules.push_back(text("the gradient of ", name, " is ", dx.shape(), ", the option input_gradient = false says empty"));
    else if (options_.input_gradient)
      report_.broken_rules.push_back(text("the gradient of ", name, " is ", dx.shape(), ", ", name, " is ", shape));
  }

  template <class Model, class Xs, class... Cache>
  static auto call(const Model& model, const Xs& inputs, Cache&... cache) {
    return std::apply([&](const auto&... x) { return model.forward(x..., cache...); }, inputs);
  }

  /// The gradient rule: a second backward adds the same again to parameters, and input gradients are fresh.
  template <class Y>
  void check_accumulation(const Y& dy) {
    L copy = layer_;
    typename L::Cache cache;
    call(copy, inputs_, cache);
    const auto again = as_tuple(copy.backward(dy, cache));
    std::size_t g = 0;
    const auto compare = [&](const double* second, Index size, double times) {
      const Gradient& first = gradients_[g++];
      if (first.given.empty()) return;
      if (size != static_cast<Index>(first.given.size()))
        return report_.broken_rules.push_back(
            text("after a second backward, the gradient of ", first.name, " has ", size, " elements, before ", first.given.size()));
      for (std::size_t i = 0; i < first.given.size(); ++i) {
        const double expected = times * first.given[i];
        if (!(std::abs(second[i] - expected) <= 1e-9 * (1 + std::abs(expected))))
          return report_.broken_rules.push_back(
              text("after a second backward, ", element_name(first.name, first.shape, static_cast<Index>(i)), " has the gradient ",
                  second[i], ", the rule (parameters add, inputs are fresh) gives ", expected));
      }
    };
    std::apply([&](const auto&... d) { (compare(d.data(), d.size(), 1), ...); }, again);
    for (auto& [name, parameter] : named_parameters(copy)) compare(parameter->gradient(), parameter->size(), parameter->frozen() ? 1 : 2);
  }

  void check_values() {
    double largest = 0;
    for (double v : y_) largest = std::max(largest, std::abs(v));
    typename DualLayer::Cache cache;
    const auto inputs = dual_inputs();
    compare_values("y", y_, call(dual_layer_, inputs, cache), largest);
    const auto inference = call(layer_, inputs_);
    largest = 0;
    for (double v : inference.span()) largest = std::max(largest, std::abs(v));
    compare_values("inference y", inference.span(), call(dual_layer_, inputs), largest);
  }

  template <class DualY>
  void compare_values(std::string_view name, std::span<const double> y, const DualY& dual_y, double largest) {
    if (static_cast<Index>(y.size()) != dual_y.size())
      return report_.broken_rules.push_back(text(name, " has ", y.size(), " elements in double and ", dual_y.size(), " in dual numbers"));
    for (std::size_t i = 0; i < y.size(); ++i) {
      const double exact = dual_y[static_cast<Index>(i)].value;
      record(element_name(name, dual_y.shape(), static_cast<Index>(i)), y[i], exact, options_.value_tolerance * std::max(largest, 1e-300));
    }
  }

  std::array<Tensor<InputScalarOf<DualLayer>, Rank>, Inputs> dual_inputs() const {
    std::array<Tensor<InputScalarOf<DualLayer>, Rank>, Inputs> result;
    for (std::size_t n = 0; n < Inputs; ++n) {
      result[n].resize(inputs_[n].shape());
      for (Index i = 0; i < inputs_[n].size(); ++i) result[n][i] = inputs_[n][i];
    }
    return result;
  }

  void check_derivatives() {
    auto inputs = dual_inputs();
    if constexpr (!std::is_integral_v<InputScalarOf<L>>)
      for (std::size_t n = 0; n < Inputs; ++n) check_tensor(gradients_[n], inputs[n].data(), inputs);
    std::size_t p = 0;
    for (auto& [name, parameter] : named_parameters(dual_layer_)) {
      if (!frozen_[p]) check_tensor(gradients_[Inputs + p], parameter->value(), inputs);
      ++p;
    }
  }

  /// Seeds eight entries at a time with unit tangents, and holds Σ dy · ∂y/∂entry against the given gradient.
  template <class DualInputs>
  void check_tensor(const Gradient& gradient, CertificateDual* entries, const DualInputs& inputs) {
    constexpr Index lanes = std::extent_v<decltype(CertificateDual::tangent)>;
    double largest_dy = 0;
    for (double d : dy_) largest_dy = std::max(largest_dy, std::abs(d));
    const Index count = static_cast<Index>(gradient.given.size());
    for (Index begin = 0; begin < count; begin += lanes) {
      const Index end = std::min(count, begin + lanes);
      for (Index i = begin; i < end; ++i) entries[i].tangent[i - begin] = 1;
      typename DualLayer::Cache cache;
      const auto y = call(dual_layer_, inputs, cache);
      for (Index i = begin; i < end; ++i) {
        double exact = 0, contributions = 0;
        for (Index j = 0; j < y.size(); ++j) {
          const double term = dy_[static_cast<std::size_t>(j)] * y[j].tangent[i - begin];
          exact += term;
          contributions += std::abs(term);
        }
        record(element_name(gradient.name, gradient.shape, i), gradient.given[static_cast<std::size_t>(i)], exact,
            options_.gradient_tolerance * (contributions + options_.contribution_floor * largest_dy));
        entries[i].tangent[i - begin] = 0;
      }
    }
  }

  void record(const std::string& name, double given, double exact, double tolerance) {
    ++report_.checked;
    const double difference = std::abs(given - exact);
    const double error = given == exact ? 0 : std::isnan(difference) ? HUGE_VAL : difference / tolerance;
    const GradientReport::Entry entry{name, given, exact, error};
    if (error > report_.worst.error || report_.checked == 1) report_.worst = entry;
    if (error > 1) {
      ++report_.failed;
      if (report_.first_wrong.size() < 8) report_.first_wrong.push_back(entry);
    }
  }

  CheckGradientsOptions options_;
  L layer_;
  DualLayer dual_layer_;
  std::array<Tensor<InputScalarOf<L>, Rank>, Inputs> inputs_;
  std::span<const double> y_, dy_;
  std::vector<Gradient> gradients_;
  std::vector<bool> frozen_;
  GradientReport report_;
};

template <int Rank, std::size_t Inputs, class L, class DualLayer>
GradientReport check_with_rank(
    const L& layer, const DualLayer& dual_layer, const std::array<Shape, Inputs>& shapes, const CheckGradientsOptions& options) {
  using X = InputScalarOf<L>;
  std::array<Tensor<X, Rank>, Inputs> inputs;
  const double low = std::is_integral_v<X> ? 0 : options.input_low;
  for (std::size_t n = 0; n < Inputs; ++n) {
    inputs[n] = Tensor<X, Rank>(shapes[n]);
    const CounterRandom stream({options.seed, 1, n});
    for (Index i = 0; i < inputs[n].size(); ++i)
      inputs[n][i] = static_cast<X>(stream.uniform(static_cast<std::uint64_t>(i), low, options.input_high));
  }
  return GradientCheck<L, DualLayer, Rank, Inputs>(layer, dual_layer, inputs, options).run();
}

}  // namespace detail

/// The certificate with inputs of your choice and a twin of the layer in dual numbers (for layers without `rebind`, such as AnyLayer).
template <class L, class DualLayer, int Rank, std::size_t Inputs>
GradientReport check_gradients(const L& layer, const DualLayer& dual_layer,
    const std::array<Tensor<InputScalarOf<L>, Rank>, Inputs>& inputs, const CheckGradientsOptions& options = {}) {
  return detail::GradientCheck<L, DualLayer, Rank, Inputs>(layer, dual_layer, inputs, options).run();
}

/// Certifies a layer's hand-written gradients, for several inputs of the given shapes (attention: q, k, v).
///
/// The layer, a `Layer<double>`-like value with `rebind`, runs `forward(x..., cache)` and `backward(dy, cache)` in double. The same layer
/// rebound to dual numbers runs `forward` with one unit tangent an entry, which gives each derivative exactly. Checked: the dual value
/// against the double value (both passes), every derivative with respect to inputs and unfrozen parameters, the shapes of the gradients of inputs, and
/// the gradient rule.
/// The layer that is passed stays as it is. Throws what the layer throws for shapes that it refuses.
template <class L, std::size_t Inputs>
GradientReport check_gradients(const L& layer, const std::array<Shape, Inputs>& shapes, const CheckGradientsOptions& options = {}) {
  if constexpr (Inputs == 1) static_assert(detail::require_layer<L>());
  static_assert(std::is_same_v<typename L::scalar, double>, "heed::check_gradients: give the layer in double; it is rebound from there");
  static_assert(
      requires { layer.template rebind<CertificateDual>(); },
      "heed::check_gradients: rebind<U>(), the same layer over another scalar, is missing");
  const auto dual_layer = layer.template rebind<CertificateDual>();
  if constexpr (detail::kInputRankOf<L> != kAnyRank) {
    return detail::check_with_rank<detail::kInputRankOf<L>>(layer, dual_layer, shapes, options);
  } else {
    switch (shapes[0].rank()) {
      case 2:
        return detail::check_with_rank<2>(layer, dual_layer, shapes, options);
      case 3:
        return detail::check_with_rank<3>(layer, dual_layer, shapes, options);
      case 4:
        return detail::check_with_rank<4>(layer, dual_layer, shapes, options);
      default:
        fail<ShapeError>("check_gradients: inputs of rank 2 to 4 are drawn, ", shapes[0], " has another; pass tensors instead");
    }
  }
}

/// The same for one input.
template <class L>
GradientReport check_gradients(const L& layer, const Shape& shape, const CheckGradientsOptions& options = {}) {
  return check_gradients(layer, std::array<Shape, 1>{shape}, options);
}

}  // namespace heed::inline HEED_ABI
