// SPDX-License-Identifier: MIT
#pragma once

#include <cmath>
#include <optional>

#include <heed/optim/optimizer.hpp>

namespace heed::inline HEED_ABI {

/// Options of Adam (decoupled = false) and AdamW (true), with torch's defaults.
template <bool decoupled>
struct BasicAdamOptions {
  double learning_rate = 1e-3;                   ///< per step, at factor 1
  double beta1 = 0.9;                            ///< share of the old mean of the gradients, [0, 1)
  double beta2 = 0.999;                          ///< share of the old mean of their squares, [0, 1)
  double eps = 1e-8;                             ///< added to the corrected root
  double weight_decay = decoupled ? 0.01 : 0.0;  ///< see BasicAdam
  bool amsgrad = false;                          ///< divide by the largest mean square so far
  bool maximize = false;                         ///< walk up
};
/// Options with the defaults of torch.optim.Adam and AdamW.
/// @{
using AdamOptions = BasicAdamOptions<false>;
using AdamWOptions = BasicAdamOptions<true>;
/// @}

/// What a parameter rule may change.
struct AdamChanges {
  /// In place of the option of this name; empty: the optimiser's own.
  /// @{
  std::optional<double> learning_rate = {}, beta1 = {}, beta2 = {}, eps = {}, weight_decay = {};
  std::optional<bool> amsgrad = {}, maximize = {};
  /// @}

  /// `own` with these changes.
  template <bool decoupled>
  BasicAdamOptions<decoupled> applied_to(const BasicAdamOptions<decoupled>& own) const {
    return {.learning_rate = learning_rate.value_or(own.learning_rate),
        .beta1 = beta1.value_or(own.beta1),
        .beta2 = beta2.value_or(own.beta2),
        .eps = eps.value_or(own.eps),
        .weight_decay = weight_decay.value_or(own.weight_decay),
        .amsgrad = amsgrad.value_or(own.amsgrad),
        .maximize = maximize.value_or(own.maximize)};
  }
};

namespace detail {

/// The numbers of one step, and the rule for a register full of elements.
template <class T, bool amsgrad>
struct AdamRule {
  static constexpr int kStates = amsgrad ? 3 : 2;
  T sign, l2, keep, beta1, rest1, beta2, rest2, inv_root_correction, eps, step_size;

  template <class P>
  HEED_INLINE void operator()(P& value, const P& gradient, P* state) const {
    P &mean = state[0], &mean_square = state[1];
    const P g = P::fma(P::broadcast(l2), value, P::broadcast(sign) * gradient);
    mean = P::fma(P::broadcast(beta1), mean, P::broadcast(rest1) * g);
    mean_square = P::fma(P::broadcast(beta2), mean_square, P::broadcast(rest2) * g * g);
    P second = mean_square;
    if constexpr (amsgrad) second = state[2] = P::max(state[2], mean_square);
    const P root = P::fma(P::sqrt(second), P::broadcast(inv_root_correction), P::broadcast(eps));
    value = P::broadcast(keep) * value - P::broadcast(step_size) * (mean / root);
  }
};

template <class T, bool amsgrad>
void run_adam(AdamRule<T, amsgrad> rule, OptimizerPiece<T> piece) {
  dispatch<RulePass<AdamRule<T, amsgrad>, T>, T>(rule, piece);
}
HEED_COMPILE_ONCE(run_adam, true);
HEED_COMPILE_ONCE(run_adam, false);

}  // namespace detail

/// Adam (Kingma and Ba 2015) and AdamW (Loshchilov and Hutter 2019) as torch computes them. With gradient g, value p, step t = 1, 2, ...:
///
///     Adam:   g += weight_decay p                            AdamW:  p *= 1 - learning_rate weight_decay
///     m  = beta1 m + (1 - beta1) g                           v = beta2 v + (1 - beta2) g^2
///     p -= learning_rate / (1 - beta1^t) m / (sqrt(v) / sqrt(1 - beta2^t) + eps)
///
/// The paper's algorithm 1 adds eps at the same place; its "efficient" form, used by others, does not. AMSGrad (Reddi et al. 2018) takes
/// the largest v so far (before the correction, as torch does). State: `exp_avg` m, `exp_avg_sq` v, `max_exp_avg_sq`.
///
/// ```cpp
/// AdamW<float> optimizer(named_parameters(model), {.learning_rate = 6e-3, .weight_decay = 0.5},
///                        {{"*.bias", {.learning_rate = 2e-2, .weight_decay = 0}}, {"*attention*", {.learning_rate = 2e-3}}});
/// optimizer.step(schedule(step));
/// ```
///
/// Throws std::invalid_argument for options out of range and for rules that no parameter follows.
template <class T, bool decoupled>
class BasicAdam final : public ParameterOptimizer<T> {
 public:
  using Options = BasicAdamOptions<decoupled>;
  using Rules = std::vector<ParameterRule<AdamChanges>>;

  /// The model behind `parameters` must outlive the optimiser and stay where it is.
  explicit BasicAdam(const std::vector<NamedParameter<T>>& parameters, const Options& options = {}, const Rules& rules = {});

  std::string_view kind() const override { return decoupled ? "AdamW" : "Adam"; }
  /// The options that the parameter called `name` follows.
  const Options& options_of(std::string_view name) const { return options_[this->group_of(name)]; }

 protected:
  using typename ParameterOptimizer<T>::Piece;

  std::span<const std::string_view> state_keys(std::size_t group) const override {
    static constexpr std::string_view keys[] = {"exp_avg", "exp_avg_sq", "max_exp_avg_sq"};
    return std::span(keys).first(options_[group].amsgrad ? 3 : 2);
  }

  void update(const Piece& piece) const override;

 private:
  template <bool amsgrad>
  detail::AdamRule<T, amsgrad> rule(const Piece& piece) const {
    const Options& o = options_[piece.group];
    const double t = static_cast<double>(piece.step), rate = o.learning_rate * piece.learning_rate_factor;
    return {.sign = T(o.maximize ? -1 : 1),
        .l2 = T(decoupled ? 0 : o.weight_decay),
        .keep = T(decoupled ? 1 - rate * o.weight_decay : 1),
        .beta1 = T(o.beta1),
        .rest1 = T(1 - o.beta1),
        .beta2 = T(o.beta2),
        .rest2 = T(1 - o.beta2),
        .inv_root_correction = T(1 / std::sqrt(1 - std::pow(o.beta2, t))),
        .eps = T(o.eps),
        .step_size = T(rate / (1 - std::pow(o.beta1, t)))};
  }

  void check(const Options& o) const {
    require(o.learning_rate >= 0 && std::isfinite(o.learning_rate), kind(), ": learning_rate must be finite and not negative, is ",
        o.learning_rate);
    require(o.beta1 >= 0 && o.beta1 < 1, kind(), ": beta1 must lie in [0, 1), is ", o.beta1);
    require(o.beta2 >= 0 && o.beta2 < 1, kind(), ": beta2 must lie in [0, 1), is ", o.beta2);
    require(o.eps >= 0, kind(), ": eps must not be negative, is ", o.eps);
    require(o.weight_decay >= 0 && std::isfinite(o.weight_decay), kind(), ": weight_decay must be finite and not negative, is ",
        o.weight_decay);
  }

  std::vector<Options> options_;
};

template <class T, bool decoupled>
BasicAdam<T, decoupled>::BasicAdam(const std::vector<NamedParameter<T>>& parameters, const Options& options, const Rules& rules)
    : ParameterOptimizer<T>(parameters, rules), options_(group_options(options, rules)) {
  for (const Options& o : options_) check(o);
}

template <class T, bool decoupled>
void BasicAdam<T, decoupled>::update(const Piece& piece) const {
  if (options_[piece.group].amsgrad)
    detail::run_adam<T, true>(rule<true>(piece), piece);
  else
    detail::run_adam<T, false>(rule<false>(piece), piece);
}

/// Adam: weight decay is added to the gradient (L2).
template <class T>
using Adam = BasicAdam<T, false>;
/// AdamW: weight decay shrinks the value before the step (decoupled).
template <class T>
using AdamW = BasicAdam<T, true>;

HEED_COMPILE_CLASS_ONCE(BasicAdam, true);
HEED_COMPILE_CLASS_ONCE(BasicAdam, false);

}  // namespace heed::inline HEED_ABI
