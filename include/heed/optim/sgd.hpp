// SPDX-License-Identifier: MIT
#pragma once

#include <cmath>
#include <optional>

#include <heed/optim/optimizer.hpp>

namespace heed::inline HEED_ABI {

/// Options of Sgd, with torch's defaults.
struct SgdOptions {
  double learning_rate = 1e-3;  ///< per step, at factor 1
  double momentum = 0;          ///< share of the old direction
  double dampening = 0;         ///< share of the gradient that the direction leaves out, from the second step on, [0, 1]
  double weight_decay = 0;      ///< times the value, added to the gradient
  bool nesterov = false;        ///< look ahead along the direction; needs momentum and no dampening
  bool maximize = false;        ///< walk up
};

/// What a parameter rule may change.
struct SgdChanges {
  /// In place of the option of this name; empty: the optimiser's own.
  /// @{
  std::optional<double> learning_rate = {}, momentum = {}, dampening = {}, weight_decay = {};
  std::optional<bool> nesterov = {}, maximize = {};
  /// @}

  /// `own` with these changes.
  SgdOptions applied_to(const SgdOptions& own) const {
    return {.learning_rate = learning_rate.value_or(own.learning_rate),
        .momentum = momentum.value_or(own.momentum),
        .dampening = dampening.value_or(own.dampening),
        .weight_decay = weight_decay.value_or(own.weight_decay),
        .nesterov = nesterov.value_or(own.nesterov),
        .maximize = maximize.value_or(own.maximize)};
  }
};

namespace detail {

enum class SgdForm { plain, momentum, nesterov };

/// The numbers of one step, and the rule for a register full of elements.
template <class T, SgdForm form>
struct SgdRule {
  static constexpr int kStates = form == SgdForm::plain ? 0 : 1;
  T sign, weight_decay, momentum, keep, take, learning_rate;

  template <class P>
  HEED_INLINE void operator()(P& value, const P& gradient, P* state) const {
    P direction = P::fma(P::broadcast(weight_decay), value, P::broadcast(sign) * gradient);
    if constexpr (form != SgdForm::plain) {
      P& buffer = state[0];
      buffer = P::fma(P::broadcast(keep), buffer, P::broadcast(take) * direction);
      direction = form == SgdForm::nesterov ? P::fma(P::broadcast(momentum), buffer, direction) : buffer;
    }
    value = value - P::broadcast(learning_rate) * direction;
  }
};

template <class T, SgdForm form>
void run_sgd(SgdRule<T, form> rule, OptimizerPiece<T> piece) {
  dispatch<RulePass<SgdRule<T, form>, T>, T>(rule, piece);
}
HEED_COMPILE_ONCE(run_sgd, SgdForm::plain);
HEED_COMPILE_ONCE(run_sgd, SgdForm::momentum);
HEED_COMPILE_ONCE(run_sgd, SgdForm::nesterov);

}  // namespace detail

/// Stochastic gradient descent with momentum (Polyak 1964; Nesterov 1983 in the form of Sutskever et al. 2013) as torch computes it.
/// With gradient g and value p:
///
///     g += weight_decay p
///     b  = g at the first step, then momentum b + (1 - dampening) g
///     p -= learning_rate (g + momentum b)   with nesterov;   p -= learning_rate b   without;   p -= learning_rate g   without momentum
///
/// The learning rate stands outside of the buffer, so that a schedule acts at once. State: `momentum_buffer` b, none without momentum.
/// Throws std::invalid_argument for options out of range and for rules that no parameter follows.
template <class T>
class Sgd final : public ParameterOptimizer<T> {
 public:
  using Options = SgdOptions;
  using Rules = std::vector<ParameterRule<SgdChanges>>;

  /// The model behind `parameters` must outlive the optimiser and stay where it is.
  explicit Sgd(const std::vector<NamedParameter<T>>& parameters, const Options& options = {}, const Rules& rules = {});

  std::string_view kind() const override { return "SGD"; }
  /// The options that the parameter called `name` follows.
  const Options& options_of(std::string_view name) const { return options_[this->group_of(name)]; }

 protected:
  using typename ParameterOptimizer<T>::Piece;
  using Form = detail::SgdForm;  ///< with momentum, with Nesterov's, or without

  std::span<const std::string_view> state_keys(std::size_t group) const override {
    static constexpr std::string_view keys[] = {"momentum_buffer"};
    return std::span(keys).first(options_[group].momentum != 0 ? 1 : 0);
  }

  void update(const Piece& piece) const override;

 private:
  template <Form form>
  detail::SgdRule<T, form> rule(const Piece& piece) const {
    const Options& o = options_[piece.group];
    const bool first = piece.step == 1;
    return {.sign = T(o.maximize ? -1 : 1),
        .weight_decay = T(o.weight_decay),
        .momentum = T(o.momentum),
        .keep = T(first ? 0 : o.momentum),
        .take = T(first ? 1 : 1 - o.dampening),
        .learning_rate = T(o.learning_rate * piece.learning_rate_factor)};
  }

  static void check(const Options& o) {
    require(
        o.learning_rate >= 0 && std::isfinite(o.learning_rate), "SGD: learning_rate must be finite and not negative, is ", o.learning_rate);
    require(o.momentum >= 0, "SGD: momentum must not be negative, is ", o.momentum);
    require(o.dampening >= 0 && o.dampening <= 1, "SGD: dampening must lie in [0, 1], is ", o.dampening);
    require(o.weight_decay >= 0 && std::isfinite(o.weight_decay), "SGD: weight_decay must be finite and not negative, is ", o.weight_decay);
    require(!o.nesterov || (o.momentum > 0 && o.dampening == 0), "SGD: nesterov needs momentum and no dampening, they are ", o.momentum,
        " and ", o.dampening);
  }

  std::vector<Options> options_;
};

template <class T>
Sgd<T>::Sgd(const std::vector<NamedParameter<T>>& parameters, const Options& options, const Rules& rules)
    : ParameterOptimizer<T>(parameters, rules), options_(group_options(options, rules)) {
  for (const Options& o : options_) check(o);
}

template <class T>
void Sgd<T>::update(const Piece& piece) const {
  const Options& o = options_[piece.group];
  if (o.momentum == 0) return detail::run_sgd<T, Form::plain>(rule<Form::plain>(piece), piece);
  if (o.nesterov) return detail::run_sgd<T, Form::nesterov>(rule<Form::nesterov>(piece), piece);
  detail::run_sgd<T, Form::momentum>(rule<Form::momentum>(piece), piece);
}

HEED_COMPILE_CLASS_ONCE(Sgd);

}  // namespace heed::inline HEED_ABI
