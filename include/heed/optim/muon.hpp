// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <optional>

#include <heed/kernels/orthogonalize.hpp>
#include <heed/optim/optimizer.hpp>

namespace heed::inline HEED_ABI {

/// How Muon's learning rate follows the shape (rows, cols) of a weight.
enum class AdjustLr {
  original,           ///< sqrt(max(1, rows / cols)), Jordan
  match_rms_adamw,    ///< 0.2 sqrt(max(rows, cols)): steps as large as AdamW's, whose learning rate and weight decay then fit (Liu et al.)
  spectral_unclamped  ///< sqrt(rows / cols), Bernstein
};

/// Options of Muon, with torch's defaults.
struct MuonOptions {
  double learning_rate = 1e-3;  ///< per step, at factor 1, before `adjust_lr`
  double weight_decay = 0.1;    ///< decoupled: times the learning rate before `adjust_lr`
  double momentum = 0.95;       ///< share of the old direction, [0, 1)
  bool nesterov = true;         ///< look ahead along the direction
  /// a, b and c of p(s) = a s + b s^3 + c s^5, which the iteration applies to the singular values.
  std::array<double, 3> ns_coefficients = kernels::NewtonSchulz{}.coefficients;
  double eps = 1e-7;                        ///< the least that the norm of a direction counts as
  int ns_steps = 5;                         ///< of the iteration of Newton and Schulz
  AdjustLr adjust_lr = AdjustLr::original;  ///< how a step's length follows from the size of a weight
};

/// What a parameter rule may change.
struct MuonChanges {
  /// In place of the option of this name; empty: the optimiser's own.
  /// @{
  std::optional<double> learning_rate = {}, weight_decay = {}, momentum = {};
  std::optional<bool> nesterov = {};
  std::optional<std::array<double, 3>> ns_coefficients = {};
  std::optional<double> eps = {};
  std::optional<int> ns_steps = {};
  std::optional<AdjustLr> adjust_lr = {};
  /// @}

  /// `own` with these changes.
  MuonOptions applied_to(const MuonOptions& own) const {
    return {.learning_rate = learning_rate.value_or(own.learning_rate),
        .weight_decay = weight_decay.value_or(own.weight_decay),
        .momentum = momentum.value_or(own.momentum),
        .nesterov = nesterov.value_or(own.nesterov),
        .ns_coefficients = ns_coefficients.value_or(own.ns_coefficients),
        .eps = eps.value_or(own.eps),
        .ns_steps = ns_steps.value_or(own.ns_steps),
        .adjust_lr = adjust_lr.value_or(own.adjust_lr)};
  }
};

namespace detail {

/// first a + second b
template <class T>
struct Blend {
  T first, second;

  template <class P>
  HEED_INLINE P operator()(const P& a, const P& b) const {
    return P::fma(P::broadcast(first), a, P::broadcast(second) * b);
  }
};

}  // namespace detail

/// Muon (Jordan et al. 2024; Liu et al. 2025, "Muon is scalable for LLM training") for the weights of hidden layers: momentum whose
/// direction is made orthogonal, so that no singular direction of a weight waits for the others. With gradient G and weight W (rows, cols):
///
///     B = momentum B + (1 - momentum) G
///     O = orthogonalize(momentum B + (1 - momentum) G)   with nesterov;   O = orthogonalize(B)   without
///     W = (1 - learning_rate weight_decay) W - learning_rate adjusted(rows, cols) O
///
/// The rule and the options of `torch.optim.Muon`, which iterates in bfloat16; here the iteration is in T. (B is a mean, as in torch's
/// program. Its documents write a sum, which differs by a factor that the orthogonalisation takes out.) A weight with more than two axes
/// is read as (out, rest): Jordan's rule for convolutions.
///
/// Vectors (biases, scales) have no such rule, and embeddings and the last layer do better without: they belong to a second optimiser,
/// AdamW for example (docs/optim.md). State: `momentum_buffer` B.
/// Throws std::invalid_argument for options out of range, for parameters of one axis and for rules that no parameter follows.
template <class T>
class Muon final : public ParameterOptimizer<T> {
 public:
  using Options = MuonOptions;
  using Rules = std::vector<ParameterRule<MuonChanges>>;

  /// The model behind `parameters` must outlive the optimiser and stay where it is.
  explicit Muon(const std::vector<NamedParameter<T>>& parameters, const Options& options = {}, const Rules& rules = {});

  std::string_view kind() const override { return "Muon"; }
  /// The options that the parameter called `name` follows.
  const Options& options_of(std::string_view name) const { return options_[this->group_of(name)]; }

 protected:
  using typename ParameterOptimizer<T>::Piece;

  std::span<const std::string_view> state_keys(std::size_t) const override {
    static constexpr std::string_view keys[] = {"momentum_buffer"};
    return keys;
  }
  bool elementwise() const override { return false; }
  void check_parameter(std::string_view name, const Shape& shape) const override {
    require(shape.rank() >= 2, "Muon: ", name, " is a vector (", shape,
        "), the rule is for matrices and convolutions; give vectors to a second optimiser, AdamW for example");
  }

  void update(const Piece& weight) const override;

 private:
  static double adjusted(AdjustLr rule, Index rows, Index cols) {
    const double ratio = static_cast<double>(rows) / static_cast<double>(cols);
    if (rule == AdjustLr::match_rms_adamw) return 0.2 * std::sqrt(static_cast<double>(std::max(rows, cols)));
    return std::sqrt(rule == AdjustLr::original ? std::max(1.0, ratio) : ratio);
  }

  static void check(const Options& o) {
    require(o.learning_rate >= 0 && std::isfinite(o.learning_rate), "Muon: learning_rate must be finite and not negative, is ",
        o.learning_rate);
    require(
        o.weight_decay >= 0 && std::isfinite(o.weight_decay), "Muon: weight_decay must be finite and not negative, is ", o.weight_decay);
    require(o.momentum >= 0 && o.momentum < 1, "Muon: momentum must lie in [0, 1), is ", o.momentum);
    require(o.eps > 0, "Muon: eps must be positive, is ", o.eps);
    require(o.ns_steps >= 0, "Muon: ns_steps must not be negative, is ", o.ns_steps);
  }

  std::vector<Options> options_;
};

template <class T>
Muon<T>::Muon(const std::vector<NamedParameter<T>>& parameters, const Options& options, const Rules& rules)
    : ParameterOptimizer<T>(parameters, rules), options_(group_options(options, rules)) {
  for (const Options& o : options_) check(o);
  this->each_trainable([&](const std::string& name, const Parameter<T>& parameter) { Muon::check_parameter(name, parameter.shape()); });
}

template <class T>
void Muon<T>::update(const Piece& weight) const {
  const Options& o = options_[weight.group];
  const Index rows = (*weight.shape)[0], cols = weight.count / rows;
  T* buffer = weight.state[0];
  const detail::Blend<T> follow{T(o.momentum), T(1 - o.momentum)};
  kernels::elementwise(follow, weight.count, buffer, buffer, weight.gradient);
  auto direction = Tensor<T, 2>::uninitialized({rows, cols});
  if (o.nesterov)
    kernels::elementwise(follow, weight.count, direction.data(), buffer, weight.gradient);
  else
    std::copy_n(buffer, weight.count, direction.data());
  kernels::orthogonalize({.coefficients = o.ns_coefficients, .steps = o.ns_steps, .eps = o.eps}, direction);
  const double rate = o.learning_rate * weight.learning_rate_factor;
  const detail::Blend<T> move{T(1 - rate * o.weight_decay), T(-rate * adjusted(o.adjust_lr, rows, cols))};
  kernels::elementwise(move, weight.count, weight.value, weight.value, direction.data());
}

HEED_COMPILE_CLASS_ONCE(Muon);

}  // namespace heed::inline HEED_ABI
